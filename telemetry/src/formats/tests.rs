use super::{Format, decode, decode_as};
use crate::clock::Timestamp;
use crate::limits;
use crate::message::Message;
use crate::rejection::{Reason, Rejection};
use crate::topic::TopicFields;

/// When the tests' payloads arrive: 2023-11-14T22:13:20Z.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

pub(super) fn of_device(device_id: &str) -> TopicFields<'_> {
    TopicFields { device_id: Some(device_id), ..TopicFields::default() }
}

/// Decodes what came on a topic that says nothing.
pub(super) fn bare(payload: &str) -> Result<Message<'_>, Rejection> {
    decode(payload.as_bytes(), &TopicFields::default(), NOW)
}

/// Decodes what came on a topic of device `d1`.
pub(super) fn d1(payload: &str) -> Result<Message<'_>, Rejection> {
    decode(payload.as_bytes(), &of_device("d1"), NOW)
}

/// Each payload is refused for its reason, with exactly its detail.
pub(super) fn refused(cases: &[(&str, Reason, &str)]) {
    for (payload, reason, detail) in cases {
        assert_eq!(d1(payload), Err(Rejection::new(*reason, *detail)), "{payload}");
    }
}

#[test]
fn the_first_character_chooses_the_format() {
    assert_eq!(d1(" \r\n\t[{\"n\":\"a\",\"v\":1}]\n").unwrap(), d1("{\"a\":1}").unwrap());
    refused(&[
        ("", Reason::Undecodable, "payload is empty"),
        (" \n", Reason::Undecodable, "payload is empty"),
        (
            "hello\u{7}",
            Reason::Undecodable,
            r#"payload "hello\u{7}": expected `[` (SenML JSON) or `{` (flat JSON object)"#,
        ),
        ("21.5", Reason::Undecodable, "payload \"21.5\": expected `[` (SenML JSON) or `{` (flat JSON object)"),
    ]);
}

#[test]
fn text_that_is_not_utf8_is_refused_wherever_it_stands() {
    let refused = decode(b"{\"a\":1,\"\xff\":2}", &of_device("d1"), NOW).unwrap_err();
    assert_eq!(refused.to_string(), "undecodable: payload: found 0xff at byte 8, expected UTF-8 text");
    let ignored = decode(b"[{\"n\":\"a\",\"v\":1,\"note\":\"\xff\"}]", &of_device("d1"), NOW).unwrap_err();
    assert_eq!(ignored.reason, Reason::Undecodable);
}

#[test]
fn a_payload_over_the_limit_is_not_looked_at() {
    let payload = "[".repeat(limits::PAYLOAD_BYTES + 1);
    let refused = d1(&payload).unwrap_err();
    assert_eq!(refused.to_string(), "too_large: payload has 1048577 bytes, at most 1048576 allowed");
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    for opening in ["[", "{\"a\":", "[{\"v\":[", "[{\"note\":{\"a\":", "{\"a\":[[", "[{\"bn\":"] {
        let payload = opening.repeat(limits::PAYLOAD_BYTES / opening.len());
        let refused = d1(&payload).unwrap_err();
        assert_eq!(refused.reason, Reason::Undecodable, "{opening}: {refused}");
        assert!(refused.detail.len() < 200, "{opening}: {refused}");
    }
}

#[test]
fn names_of_the_topic_obey_the_same_rules() {
    let long = "x".repeat(limits::DEVICE_ID_BYTES + 1);
    let fits = "x".repeat(limits::DEVICE_ID_BYTES);
    for payload in ["[{\"n\":\"a\",\"v\":1}]", "{\"a\":1}"] {
        let of = |topic: &TopicFields<'_>| decode(payload.as_bytes(), topic, NOW).map(|message| message.readings.len());
        assert_eq!(of(&of_device(&fits)), Ok(1));
        assert_eq!(of(&of_device(&long)).unwrap_err().reason, Reason::TooLong);
        assert_eq!(
            of(&of_device("a\nb")).unwrap_err().to_string(),
            "invalid_field: field `device_id of the topic`: found \"a\\nb\", expected a name without control characters"
        );
        let site = |site| TopicFields { site: Some(site), ..of_device("d1") };
        assert_eq!(of(&site("plant")), Ok(1));
        assert_eq!(of(&site(&long)).unwrap_err().reason, Reason::TooLong);
        assert_eq!(of(&site("\u{85}")).unwrap_err().reason, Reason::InvalidField);
    }
}

#[test]
fn numbers_that_are_not_finite_have_their_own_reason() {
    for number in ["NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "1e999", "-1e999", "123456e400"] {
        for payload in [format!("[{{\"n\":\"a\", \"v\": {number}}}]"), format!("{{\"a\":{number}}}")] {
            let refused = d1(&payload).unwrap_err();
            assert_eq!(refused.reason, Reason::NonFinite, "{payload}: {refused}");
            assert!(refused.detail.ends_with(&format!("found {number}, expected a finite number")), "{refused}");
        }
    }
    // Too small for a double is zero, not refused.
    assert!(d1("{\"a\":1e-999}").is_ok());
}

#[test]
fn a_format_that_was_chosen_takes_nothing_else() {
    let (senml, flat) = ("[{\"n\":\"a\",\"v\":1}]", "{\"a\":1}");
    let read = |format, payload: &str| {
        decode_as(format, payload.as_bytes(), &of_device("d1"), NOW).map(|message| message.readings.len())
    };
    for (format, taken, refused, expected) in
        [(Format::Senml, senml, flat, "expected `[` (SenML JSON)"), (Format::Json, flat, senml, "expected `{` (flat")]
    {
        assert_eq!(read(format, taken), Ok(1));
        let refusal = read(format, refused).unwrap_err();
        assert_eq!(refusal.reason, Reason::Undecodable);
        assert!(refusal.detail.contains(expected), "{refusal}");
        assert_eq!(read(Format::Auto, refused), Ok(1));
    }
}
