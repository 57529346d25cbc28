use super::*;

fn config() -> BridgeConfig {
    let subscription = Subscription {
        filter: "plants/+/+/telemetry".to_owned(),
        share: None,
        topic_template: "plants/{site}/{device_id}/telemetry".to_owned(),
        format: Format::Auto,
    };
    BridgeConfig { subscriptions: vec![subscription], ..BridgeConfig::default() }
}

#[test]
fn brokers_are_found_by_their_url() {
    let found = |url: &str| parse_url(url).map(|address| (address.host, address.port, address.tls));
    assert_eq!(found("mqtt://broker"), Some(("broker".to_owned(), 1883, false)));
    assert_eq!(found("mqtts://broker"), Some(("broker".to_owned(), 8883, true)));
    assert_eq!(found("mqtt://[::1]:1884"), Some(("::1".to_owned(), 1884, false)));
    assert_eq!(found("mqtts://[::1]"), Some(("::1".to_owned(), 8883, true)));
    for wrong in [
        "broker:1883",
        "http://broker",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://broker:",
        "mqtt://broker:0",
        "mqtt://broker:70000",
        "mqtt://user@broker",
        "mqtt://broker/a",
        "mqtt://[::1",
        "mqtt://[::1]1883",
    ] {
        assert_eq!(found(wrong), None, "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_value_and_what_was_expected() {
    assert_eq!(config().check(), Ok(()));
    let error = |change: fn(&mut BridgeConfig)| {
        let mut config = config();
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    for (found, wanted) in [
        (error(|config| config.url = "tcp://x".to_owned()), "url is `tcp://x`: expected mqtt://host:port"),
        (error(|config| config.in_flight = 0), "in_flight is `0`: expected at least 1"),
        (error(|config| config.subscriptions.clear()), "subscriptions is `0`: expected 1 to 64"),
        (error(|config| config.client_id.clear()), "client_id is ``: expected 1 to 128 bytes"),
        (error(|config| config.keep_alive = Duration::from_millis(999)), "keep_alive is `999ms`: expected 1 s"),
        (error(|config| config.backoff = Duration::from_secs(11)), "backoff is `11s`: expected 1 ms"),
        (error(|config| config.payload_bytes = 0), "payload_bytes is `0`: expected 1 byte"),
        (error(|config| config.tls.ca = Some("ca.pem".into())), "expected mqtts://"),
        (
            error(|config| config.subscriptions[0].filter = "a/#/b".to_owned()),
            "subscriptions[0].filter is `a/#/b`: expected an MQTT topic filter",
        ),
        (error(|config| config.subscriptions[0].filter = "$share/g/a".to_owned()), "without `$share`"),
        (error(|config| config.subscriptions[0].share = Some("a/b".to_owned())), "subscriptions[0].share is `a/b`"),
        (error(|config| config.subscriptions[0].topic_template = "{x}".to_owned()), "unknown place `{x}`"),
    ] {
        assert!(found.contains(wanted), "`{found}` should say `{wanted}`");
    }
}

#[test]
fn a_shared_filter_names_its_group() {
    let mut subscription = config().subscriptions.remove(0);
    assert_eq!(subscription.path(), "plants/+/+/telemetry");
    subscription.share = Some("weir".to_owned());
    assert_eq!(subscription.path(), "$share/weir/plants/+/+/telemetry");
}
