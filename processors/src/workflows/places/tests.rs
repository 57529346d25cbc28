use super::*;
use crate::workflows::outside::testing::firing;

fn of_device(device: &str) -> Firing {
    Firing { device_id: device.to_owned(), ..firing() }
}

#[test]
fn places_of_urls_are_percent_encoded() {
    let firing = of_device("a/b?c#d &é%");
    let url = url("https://x.example:8443/hook/{device_id}?d={device_id}&v={value}&t={time}", &firing).unwrap();
    let encoded = "a%2Fb%3Fc%23d%20%26%C3%A9%25";
    let expected = format!("https://x.example:8443/hook/{encoded}?d={encoded}&v=81.5&t=2026-01-01T00%3A00%3A00Z");
    assert_eq!(url.as_str(), expected);
}

#[test]
fn a_value_cannot_lead_to_another_host_or_folder() {
    for device in ["..", ".", ""] {
        assert!(url("https://x.example/a/{device_id}/b", &of_device(device)).is_err(), "{device:?}");
    }
    assert!(url("https://x.example/a/.{device_id}", &of_device(".")).is_err());
    assert!(url("https://x.example/a/%2e{device_id}", &of_device(".")).is_err());
    assert!(url("https://x.example/a\\{device_id}", &of_device("b")).is_err());
    for device in ["@evil.example", "//evil.example", "\\evil.example", "%2e%2e"] {
        let url = url("https://x.example/{device_id}", &of_device(device)).unwrap();
        assert_eq!(url.host_str(), Some("x.example"), "{device}");
        assert_eq!(url.path_segments().unwrap().count(), 1, "{device}");
    }
    assert!(url("https://{device_id}.example/", &firing()).is_err(), "no place in the host");
}

#[test]
fn places_of_topics_take_no_separators_and_wildcards() {
    assert_eq!(topic("{site}/{device_id}/{{x}}/{seq}", &firing()).unwrap(), "hall-1/oven-1/{x}/17");
    for device in ["a/b", "a+", "#", "a\0", "", "$SYS"] {
        assert!(topic("{device_id}", &of_device(device)).is_err(), "{device:?}");
    }
    let problem = topic("{site}/x", &Firing { site: None, ..firing() }).unwrap_err();
    assert_eq!(problem, "place `{site}` has no value in this firing");
    let problem = topic("{place}/x", &firing()).unwrap_err();
    assert!(problem.contains("unknown place `{place}`; the places are device_id, "), "{problem}");
    assert!(topic("a/{device_id", &firing()).is_err());
    assert!(topic("a/+/b", &firing()).is_err());
    assert!(topic(&"x".repeat(limits::TOPIC_BYTES + 1), &firing()).is_err());
}

#[test]
fn each_place_has_the_value_of_its_column() {
    let all = "{device_id},{metric},{time},{value},{unit},{site},{boot},{seq},{received_at}";
    let expected = "oven-1,temperature,2026-01-01T00:00:00Z,81.5,Cel,hall-1,3,17,2026-01-01T00:00:01.500Z";
    assert_eq!(topic(all, &firing()).unwrap(), expected);
    let of = |value: &str| Firing { data: format!(r#"{{"value":{value}}}"#), ..firing() };
    assert_eq!(topic("{value}-{value_bool}", &of("true")).unwrap(), "true-true");
    assert_eq!(topic("{value}-{value_text}", &of("\"on\"")).unwrap(), "on-on");
    assert_eq!(topic("{value}", &of("80.0")).unwrap(), "80");
    assert_eq!(topic("{value}", &of("0.0")).unwrap(), "0");
    assert!(topic("{value_text}", &of("80.0")).is_err());
}
