use crate::formats::decode;
use crate::formats::tests::{NOW, bare, d1, refused};
use crate::limits;
use crate::message::{Identity, Value};
use crate::rejection::Reason;
use crate::topic::TopicFields;

#[test]
fn every_field_that_is_not_reserved_is_a_reading() {
    let message = bare(
        r#"{"device_id":"press-7","site":"plant","time":1600000000.25,"boot":2,"seq":9007199254740993,
            "temperature":21.5,"open":false,"state":"idle\n","count":-3,"unit":"Cel"}"#,
    )
    .unwrap();
    assert_eq!((&*message.device_id, message.site.as_deref()), ("press-7", Some("plant")));
    assert_eq!(message.identity, Some(Identity { boot: 2, seq: 9_007_199_254_740_993 }));
    assert_eq!(message.ignored_fields, 0);
    let rows: Vec<_> = message.readings.iter().map(|reading| (&*reading.metric, reading.value.clone())).collect();
    assert_eq!(
        rows,
        [
            ("temperature", Value::Number(21.5)),
            ("open", Value::Bool(false)),
            ("state", Value::Text("idle\n".into())),
            ("count", Value::Number(-3.0)),
            ("unit", Value::Text("Cel".into())),
        ]
    );
    for reading in &message.readings {
        assert_eq!((reading.time.as_micros(), reading.unit.as_deref()), (1_600_000_000_250_000, None));
    }
}

#[test]
fn times_are_seconds_or_rfc_3339() {
    for (time, micros) in [
        ("1600000000", 1_600_000_000_000_000),
        ("1600000000.000001", 1_600_000_000_000_001),
        ("120", 120_000_000),
        ("\"2020-09-13T12:26:40Z\"", 1_600_000_000_000_000),
        ("\"2020-09-13T14:26:40.000001+02:00\"", 1_600_000_000_000_001),
        ("\"2020-09-13T12:26:40.9999996Z\"", 1_600_000_001_000_000),
        ("\"1969-12-31T23:59:59.5Z\"", -500_000),
    ] {
        let payload = format!("{{\"a\":1,\"time\":{time}}}");
        assert_eq!(d1(&payload).unwrap().readings[0].time.as_micros(), micros, "{time}");
    }
    assert_eq!(d1("{\"a\":1}").unwrap().readings[0].time, NOW);
}

#[test]
fn the_topic_wins_and_what_it_overrules_is_counted() {
    let topic = TopicFields { device_id: Some("t1"), site: Some("plant"), metric: Some("temperature") };
    let of = |payload: &str| {
        let message = decode(payload.as_bytes(), &topic, NOW).unwrap();
        assert_eq!((&*message.device_id, message.site.as_deref()), ("t1", Some("plant")));
        let metrics: Vec<_> = message.readings.iter().map(|reading| reading.metric.to_string()).collect();
        (metrics.join(" "), message.ignored_fields)
    };
    assert_eq!(of(r#"{"value":1,"quality":2}"#), ("temperature quality".into(), 0));
    assert_eq!(of(r#"{"value":1,"device":"t1","site":"plant"}"#), ("temperature".into(), 0));
    assert_eq!(of(r#"{"value":1,"device":"other","site":"else"}"#), ("temperature".into(), 2));
}

#[test]
fn half_an_identity_is_none_and_is_counted() {
    for payload in [r#"{"a":1,"boot":1}"#, r#"{"a":1,"seq":1}"#] {
        let message = d1(payload).unwrap();
        assert_eq!((message.identity, message.ignored_fields), (None, 1));
    }
}

#[test]
fn what_is_wrong_is_named() {
    use Reason::{InvalidField as Invalid, MissingField as Missing};
    let value = "expected a number, true, false or a text";
    let counter = "expected a whole number from 0 to 2^63 - 1";
    let time = "expected seconds since 1970 within 292,000 years, or RFC 3339 text";
    refused(&[
        ("{}", Missing, "no readings: expected at least one field besides the reserved ones"),
        (r#"{"time":1}"#, Missing, "no readings: expected at least one field besides the reserved ones"),
        (r#"{"a":null}"#, Invalid, &format!("field `a`: found null, {value}")),
        (r#"{"a":[1,2]}"#, Invalid, &format!("field `a`: found an array, {value}")),
        (r#"{"a":{"b":{}}}"#, Invalid, &format!("field `a`: found an object, {value}")),
        (r#"{"a\n":null}"#, Invalid, &format!(r"field `a\n`: found null, {value}")),
        (r#"{"":1}"#, Invalid, r#"field `metric`: found "", expected a name that is not empty"#),
        (r#"{"\t":1}"#, Invalid, r#"field `metric`: found "\t", expected a name without control characters"#),
        (r#"{"a":1,"device_id":7}"#, Invalid, "field `device_id`: found 7, expected a text"),
        (r#"{"a":1,"device":""}"#, Invalid, r#"field `device`: found "", expected a name that is not empty"#),
        (r#"{"a":1,"device":"x","device_id":"x"}"#, Invalid, "field `device_id`: found twice, expected once"),
        (r#"{"a":1,"b":2,"a":3}"#, Invalid, "field `a`: found twice, expected once"),
        (r#"{"a":1,"seq":-1}"#, Invalid, &format!("field `seq`: found -1, {counter}")),
        (r#"{"a":1,"boot":"1"}"#, Invalid, r#"field `boot`: found "1", expected a number"#),
        (r#"{"a":1,"time":true}"#, Invalid, &format!("field `time`: found true, {time}")),
        (r#"{"a":1,"time":"yesterday"}"#, Invalid, &format!(r#"field `time`: found "yesterday", {time}"#)),
        (r#"{"a":1,"time":9300000000000}"#, Invalid, &format!("field `time`: found 9300000000000, {time}")),
        (r#"{"a":1,"b":}"#, Reason::Undecodable, "field `b`: expected value at line 1 column 12"),
        (r#"{"a":1"#, Reason::Undecodable, "object: EOF while parsing an object at line 1 column 6"),
        (r#"{"a":1}{"#, Reason::Undecodable, "object: trailing characters at line 1 column 8"),
    ]);
    let refused = bare(r#"{"a":1}"#).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "missing_field: field `device_id` is missing: expected the device in the topic or in the payload"
    );
}

#[test]
fn limits_hold() {
    let of = |field: &str, bytes: usize| {
        let text = "x".repeat(bytes);
        let payload = match field {
            "" => format!(r#"{{"{text}":1}}"#),
            field => format!(r#"{{"a":1,"{field}":"{text}"}}"#),
        };
        d1(&payload).map(|_| ()).map_err(|refused| refused.reason)
    };
    for (field, limit) in [
        ("", limits::METRIC_BYTES),
        ("device_id", limits::DEVICE_ID_BYTES),
        ("site", limits::SITE_BYTES),
        ("text", limits::TEXT_VALUE_BYTES),
    ] {
        assert_eq!(of(field, limit), Ok(()), "{field}");
        assert_eq!(of(field, limit + 1), Err(Reason::TooLong), "{field}");
    }
}

#[test]
fn large_objects_are_bounded_and_searched_for_repeated_keys() {
    let object = |keys: &mut dyn Iterator<Item = usize>| {
        let fields: Vec<_> = keys.map(|key| format!("\"m{key}\":{key}")).collect();
        format!("{{{}}}", fields.join(","))
    };
    assert_eq!(d1(&object(&mut (0..limits::READINGS_PER_MESSAGE))).unwrap().readings.len(), 10_000);
    let over = object(&mut (0..=limits::READINGS_PER_MESSAGE));
    assert_eq!(d1(&over).unwrap_err().to_string(), "too_many_readings: more than 10000 readings in one message");
    for few in [3, 16, 17, 1000] {
        let twice = object(&mut (0..few).chain([1]));
        assert_eq!(d1(&twice).unwrap_err().detail, "field `m1`: found twice, expected once", "{few}");
    }
}
