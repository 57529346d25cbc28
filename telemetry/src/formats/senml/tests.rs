use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::formats::decode;
use crate::formats::tests::{NOW, bare, d1, of_device, refused};
use crate::limits;
use crate::message::{Identity, Message, Value};
use crate::rejection::Reason;
use crate::topic::TopicFields;

/// Metric, unit, microseconds and number of each reading.
fn rows<'m>(message: &'m Message<'_>) -> Vec<(&'m str, Option<&'m str>, i64, f64)> {
    let row = |reading: &'m crate::Reading<'_>| {
        let Value::Number(number) = reading.value else { panic!("{reading:?} is no number") };
        (&*reading.metric, reading.unit.as_deref(), reading.time.as_micros(), number)
    };
    message.readings.iter().map(row).collect()
}

const NOW_MICROS: i64 = NOW.as_micros();

#[test]
fn rfc_8428_5_1_1_a_single_data_point() {
    let payload = r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]"#;
    let message = d1(payload).unwrap();
    assert_eq!(rows(&message), [("urn:dev:ow:10e2073a01080063", Some("Cel"), NOW_MICROS, 23.1)]);
    let refused = bare(payload).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "missing_field: record 0, field `bn` is missing: expected the device in the topic or in the base name"
    );
}

#[test]
fn rfc_8428_5_1_2_multiple_data_points() {
    let message = bare(
        r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]"#,
    )
    .unwrap();
    assert_eq!(message.device_id, "urn:dev:ow:10e2073a01080063");
    assert_eq!((message.site.as_deref(), message.identity, message.ignored_fields), (None, None, 0));
    assert_eq!(rows(&message), [("voltage", Some("V"), NOW_MICROS, 120.1), ("current", Some("A"), NOW_MICROS, 1.2)]);
    assert!(matches!(message.readings[0].metric, Cow::Borrowed(_)), "text without escapes is not copied");
}

#[test]
fn rfc_8428_5_1_2_times_before_a_base_time() {
    let message = bare(
        r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,
             "n":"voltage","u":"V","v":120.1},
            {"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","t":-3,"v":1.4},
            {"n":"current","t":-2,"v":1.5},{"n":"current","t":-1,"v":1.6},{"n":"current","v":1.7}]"#,
    )
    .unwrap();
    let base = 1_276_020_076_001_000;
    let mut expected = vec![("voltage", Some("V"), base, 120.1)];
    for (back, value) in [(5, 1.2), (4, 1.3), (3, 1.4), (2, 1.5), (1, 1.6), (0, 1.7)] {
        expected.push(("current", Some("A"), base - back * 1_000_000, value));
    }
    assert_eq!(rows(&message), expected);
}

#[test]
fn rfc_8428_5_1_3_one_sensor_of_many_units_is_named_by_its_base_name() {
    let payload = r#"[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},
        {"u":"lon","v":24.30621},{"u":"lat","v":60.07965},{"t":60,"v":20.3},
        {"u":"lon","t":60,"v":24.30622},{"u":"%EL","t":150,"v":98}]"#;
    let message = d1(payload).unwrap();
    let name = "urn:dev:ow:10e2073a01080063";
    let base = 1_320_067_464_000_000;
    assert_eq!(
        rows(&message),
        [
            (name, Some("%RH"), base, 20.0),
            (name, Some("lon"), base, 24.30621),
            (name, Some("lat"), base, 60.07965),
            (name, Some("%RH"), base + 60_000_000, 20.3),
            (name, Some("lon"), base + 60_000_000, 24.30622),
            (name, Some("%EL"), base + 150_000_000, 98.0),
        ]
    );
    // Without a device from the topic the base name cannot be device and metric at once.
    let refused = bare(payload).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "missing_field: record 0, field `n` is missing: expected the name of what was measured"
    );
}

#[test]
fn rfc_8428_5_1_5_values_of_each_kind() {
    let message = bare(
        r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
            {"n":"label","vs":"Machine Room"},{"n":"open","vb":false}]"#,
    )
    .unwrap();
    let values: Vec<_> = message.readings.iter().map(|reading| reading.value.clone()).collect();
    assert_eq!(values, [Value::Number(23.1), Value::Text("Machine Room".into()), Value::Bool(false)]);
    refused(&[(
        r#"[{"n":"temp","v":23.1},{"n":"nfc-reader","vd":"aGkgCg"}]"#,
        Reason::Unsupported,
        "record 1, field `vd` is not supported: data values cannot be stored",
    )]);
}

#[test]
fn base_fields_hold_from_their_record_on_until_replaced() {
    let message = bare(
        r#"[{"bn":"d1:","bt":1600000000,"bu":"Cel","bv":20,"n":"a","v":1},{"n":"b","v":2.5,"t":1.5},
            {"n":"c","v":3,"bv":-1,"bu":"V","bt":1600000100},{"n":"d","v":4,"u":"A"},
            {"bn":"d1/","bu":"","n":"e","v":5,"bv":0}]"#,
    )
    .unwrap();
    assert_eq!(message.device_id, "d1");
    assert_eq!(
        rows(&message),
        [
            ("a", Some("Cel"), 1_600_000_000_000_000, 21.0),
            ("b", Some("Cel"), 1_600_000_001_500_000, 22.5),
            ("c", Some("V"), 1_600_000_100_000_000, 2.0),
            ("d", Some("A"), 1_600_000_100_000_000, 3.0),
            ("e", None, 1_600_000_100_000_000, 5.0),
        ]
    );
}

#[test]
fn times_below_two_to_the_28th_are_relative_to_receipt() {
    let payload = r#"[{"n":"a","v":1},{"n":"a","v":2,"t":-0.25},{"n":"a","v":3,"t":268435455.999999},
        {"n":"a","v":4,"t":268435456},{"n":"a","v":5,"bt":268435400,"t":56},{"n":"a","v":6,"bt":-10,"t":3}]"#;
    let times: Vec<_> = rows(&d1(payload).unwrap()).into_iter().map(|row| row.2).collect();
    let limit = 268_435_456_000_000;
    assert_eq!(times, [NOW_MICROS, NOW_MICROS - 250_000, NOW_MICROS + limit - 1, limit, limit, NOW_MICROS - 7_000_000]);
}

#[test]
fn a_header_record_is_no_reading() {
    let message = bare(r#"[{"bn":"d1:","bt":1600000000},{"n":"a","v":1}]"#).unwrap();
    assert_eq!(rows(&message), [("a", None, 1_600_000_000_000_000, 1.0)]);
}

#[test]
fn boot_and_seq_are_the_identity_to_the_last_bit() {
    let message =
        bare(r#"[{"bn":"d1:","n":"boot","v":3},{"n":"a","v":1},{"n":"seq","v":9223372036854775807}]"#).unwrap();
    assert_eq!(message.identity, Some(Identity { boot: 3, seq: i64::MAX }));
    assert_eq!((rows(&message).len(), message.ignored_fields), (1, 0));
    let sums = d1(r#"[{"bv":10,"n":"boot","v":3.0},{"n":"seq","v":-10},{"n":"a","v":1}]"#).unwrap();
    assert_eq!(sums.identity, Some(Identity { boot: 13, seq: 0 }));
}

#[test]
fn half_an_identity_is_none_and_is_counted() {
    for half in ["boot", "seq"] {
        let payload = format!(r#"[{{"n":"{half}","v":3}},{{"n":"a","v":1}}]"#);
        let message = d1(&payload).unwrap();
        assert_eq!((message.identity, message.ignored_fields), (None, 1));
    }
}

#[test]
fn what_is_not_kept_is_counted() {
    let message = d1(r#"[{"n":"boot","v":1,"u":"x","t":5},{"n":"seq","v":2},
            {"n":"a","v":1,"ut":30,"room":{"floor":[1,2]},"x":null}]"#)
    .unwrap();
    assert_eq!(message.ignored_fields, 5);
}

#[test]
fn the_topic_gives_device_site_and_metric() {
    let topic = TopicFields { device_id: Some("t1"), site: Some("plant"), metric: Some("temperature") };
    let payload = br#"[{"bn":"urn:x:","v":1},{"n":"own","v":2}]"#;
    let message = decode(payload, &topic, NOW).unwrap();
    assert_eq!((&*message.device_id, message.site.as_deref()), ("t1", Some("plant")));
    let metrics: Vec<_> = message.readings.iter().map(|reading| &*reading.metric).collect();
    assert_eq!(metrics, ["temperature", "own"]);
}

#[test]
fn escapes_are_resolved() {
    let message =
        bare("[{\"\\u0062n\":\"d\\u00e9:\",\"n\":\"a\\u002fb\",\"vs\":\"one\\ntwo\",\"u\":\"\\u0056\"}]").unwrap();
    assert_eq!(message.device_id, "dé");
    assert_eq!(message.readings[0].metric, "a/b");
    assert_eq!(message.readings[0].unit.as_deref(), Some("V"));
    assert_eq!(message.readings[0].value, Value::Text("one\ntwo".into()));
}

#[test]
fn rfc_8428_5_1_6_a_collection_of_two_devices_is_refused() {
    let payload = r#"[{"bn":"2001:db8::2/","bt":1.320078429e+09,"n":"temperature","u":"Cel","v":25.2},
        {"n":"humidity","u":"%RH","v":30},
        {"bn":"2001:db8::1/","n":"temperature","u":"Cel","v":12.3},{"n":"humidity","u":"%RH","v":67}]"#;
    let expected = "invalid_field: record 2, field `bn`: found \"2001:db8::1/\", \
                    expected that of the readings before, \"2001:db8::2\"";
    assert_eq!(bare(payload).unwrap_err().to_string(), expected);
    assert_eq!(d1(payload).unwrap_err().to_string(), expected);
}

#[test]
fn readings_of_two_devices_do_not_fall_together() {
    let detail = "record 1, field `bn`: found \"b:\", expected that of the readings before, \"a\"";
    refused(&[(r#"[{"bn":"a:","n":"x","v":1},{"bn":"b:","n":"x","v":2}]"#, Reason::InvalidField, detail)]);
    // Readings that are told apart by their metric may have any base name.
    let message = d1(r#"[{"bn":"temperature","v":1},{"bn":"humidity","v":2}]"#).unwrap();
    assert_eq!(rows(&message).iter().map(|row| row.0).collect::<Vec<_>>(), ["temperature", "humidity"]);
}

#[test]
fn wrong_types_are_named() {
    use Reason::InvalidField as Invalid;
    refused(&[
        (r#"[{"n":"a","v":"21"}]"#, Invalid, r#"record 0, field `v`: found "21", expected a number"#),
        (r#"[{"n":"a","v":null}]"#, Invalid, "record 0, field `v`: found null, expected a number"),
        (r#"[{"n":"a","v":[1,[2]]}]"#, Invalid, "record 0, field `v`: found an array, expected a number"),
        (r#"[{"n":"a","v":{"x":1}}]"#, Invalid, "record 0, field `v`: found an object, expected a number"),
        (r#"[{"n":"a","vb":1}]"#, Invalid, "record 0, field `vb`: found 1, expected true or false"),
        (r#"[{"n":"a","vs":true}]"#, Invalid, "record 0, field `vs`: found true, expected a text"),
        (r#"[{"n":"a","v":1},{"n":-7,"v":1}]"#, Invalid, "record 1, field `n`: found -7, expected a text"),
        (r#"[{"bn":1.5}]"#, Invalid, "record 0, field `bn`: found 1.5, expected a text"),
        (r#"[{"u":1}]"#, Invalid, "record 0, field `u`: found 1, expected a text"),
        (r#"[{"t":"now"}]"#, Invalid, r#"record 0, field `t`: found "now", expected a number"#),
        (r#"[{"bver":2.5}]"#, Invalid, "record 0, field `bver`: found 2.5, expected a whole number from 1 on"),
        (r#"[{"bver":0}]"#, Invalid, "record 0, field `bver`: found 0, expected a whole number from 1 on"),
    ]);
}

#[test]
fn records_that_cannot_be_resolved_are_named() {
    use Reason::{InvalidField as Invalid, MissingField as Missing};
    let counter = "expected a whole number from 0 to 2^63 - 1";
    refused(&[
        ("[]", Missing, "no readings: expected at least one record besides `boot` and `seq`"),
        (
            r#"[{"n":"boot","v":1},{"n":"seq","v":1}]"#,
            Missing,
            "no readings: expected at least one record besides `boot` and `seq`",
        ),
        (r#"[{"n":"a"}]"#, Missing, "record 0, field `v` is missing: expected one of `v`, `vb`, `vs`"),
        (r#"[{"v":1}]"#, Missing, "record 0, field `n` is missing: expected the name of what was measured"),
        (r#"[{"n":"","v":1}]"#, Missing, "record 0, field `n` is missing: expected the name of what was measured"),
        (r#"[{"n":"a","v":1,"vb":true}]"#, Invalid, "record 0, more than one value, expected one of `v`, `vb`, `vs`"),
        (
            r#"[{"n":"a","vs":"x","vb":true}]"#,
            Invalid,
            "record 0, more than one value, expected one of `v`, `vb`, `vs`",
        ),
        (r#"[{"n":"a","v":1,"n":"b"}]"#, Invalid, "record 0, field `n`: found twice, expected once"),
        (r#"[{"n":"a","v":1,"v":1}]"#, Invalid, "record 0, field `v`: found twice, expected once"),
        (r#"[{"n":"seq","v":-1}]"#, Invalid, &format!("record 0, field `v`: found -1, {counter}")),
        (r#"[{"bv":0.5,"n":"seq","v":1}]"#, Invalid, &format!("record 0, field `v`: found 1, {counter}")),
        (
            r#"[{"bv":1,"n":"seq","v":9223372036854775807}]"#,
            Invalid,
            &format!("record 0, field `v`: found 9223372036854775807, {counter}"),
        ),
        (r#"[{"n":"seq","v":1.5}]"#, Invalid, &format!("record 0, field `v`: found 1.5, {counter}")),
        (
            r#"[{"n":"boot","v":9223372036854775808}]"#,
            Invalid,
            &format!("record 0, field `v`: found 9223372036854775808, {counter}"),
        ),
        (r#"[{"n":"boot","vs":"1"}]"#, Missing, &format!("record 0, field `v` is missing: {counter}")),
        (
            r#"[{"n":"seq","v":1},{"n":"seq","v":2}]"#,
            Invalid,
            r#"record 1, field `n`: found "seq", expected one record of this name in a message"#,
        ),
        (
            r#"[{"n":"a\u0000","v":1}]"#,
            Invalid,
            r#"record 0, field `n`: found "a\0", expected a name without control characters"#,
        ),
        (
            r#"[{"n":"a","v":1,"t":1e300}]"#,
            Invalid,
            "record 0, field `t`: found 1e300, expected seconds within 292,000 years",
        ),
        (
            r#"[{"bt":9000000000000,"n":"a","v":1,"t":9000000000000}]"#,
            Invalid,
            "record 0, field `t`: base time plus time is out of range, expected a time within 292,000 years",
        ),
    ]);
}

#[test]
fn what_must_be_understood_and_is_not_is_unsupported() {
    use Reason::Unsupported;
    refused(&[
        (r#"[{"n":"a","s":1}]"#, Unsupported, "record 0, field `s` is not supported: sums cannot be stored"),
        (r#"[{"bs":1,"n":"a","v":1}]"#, Unsupported, "record 0, field `bs` is not supported: sums cannot be stored"),
        (
            r#"[{"n":"a","v":1,"secret_":1}]"#,
            Unsupported,
            "record 0, field `secret_` is not supported: it is unknown and must be understood",
        ),
        (
            r#"[{"bver":11}]"#,
            Unsupported,
            "record 0, field `bver` is not supported: found version 11, expected at most 10",
        ),
    ]);
}

#[test]
fn sums_past_the_range_of_a_double_are_not_finite() {
    refused(&[(
        r#"[{"bv":1.7e308,"n":"a","v":1e308}]"#,
        Reason::NonFinite,
        "record 0, field `v`: 1e308 plus `bv` is inf, expected a finite number",
    )]);
}

#[test]
fn broken_json_is_located() {
    use Reason::Undecodable;
    refused(&[
        (r#"[{"n":"a","v":1},{"n":tru}]"#, Undecodable, "record 1, field `n`: expected ident at line 1 column 26"),
        (r#"[{"n":"a","v":1}"#, Undecodable, "record 1: EOF while parsing a list at line 1 column 16"),
        (r#"[{"n":"a","v":1}]]"#, Undecodable, "record 1: trailing characters at line 1 column 18"),
        (r#"[{"n":"a","v":1},]"#, Undecodable, "record 1: trailing comma at line 1 column 18"),
        (r#"[{"n":"a","v":01}]"#, Undecodable, "record 0, field `v`: invalid number at line 1 column 16"),
        (
            "[7]",
            Undecodable,
            "record 0: invalid type: integer `7`, expected an object, the SenML record at line 1 column 2",
        ),
        (
            r#"[{"n":"\ud800","v":1}]"#,
            Undecodable,
            "record 0, field `n`: unexpected end of hex escape at line 1 column 14",
        ),
    ]);
}

#[test]
fn every_limit_holds_at_its_last_byte() {
    let of = |field: &str, bytes: usize| {
        let text = "x".repeat(bytes);
        match field {
            "bn" => bare(&format!(r#"[{{"bn":"{text}:","n":"a","v":1}}]"#)).map(|_| ()),
            "n" => d1(&format!(r#"[{{"n":"{text}","v":1}}]"#)).map(|_| ()),
            "vs" => d1(&format!(r#"[{{"n":"a","vs":"{text}"}}]"#)).map(|_| ()),
            unit => d1(&format!(r#"[{{"n":"a","v":1,"{unit}":"{text}"}}]"#)).map(|_| ()),
        }
    };
    for (field, limit) in [
        ("bn", limits::DEVICE_ID_BYTES),
        ("n", limits::METRIC_BYTES),
        ("u", limits::UNIT_BYTES),
        ("bu", limits::UNIT_BYTES),
        ("vs", limits::TEXT_VALUE_BYTES),
    ] {
        assert_eq!(of(field, limit), Ok(()), "{field}");
        let refused = of(field, limit + 1).unwrap_err();
        assert_eq!(refused.reason, Reason::TooLong, "{field}");
        assert!(refused.detail.contains(&format!("field `{field}`: found {} bytes", limit + 1)), "{refused}");
        assert!(refused.detail.len() < 200, "{refused}");
    }
}

#[test]
fn the_number_of_readings_is_bounded() {
    let records = |count: usize| format!("[{}]", vec![r#"{"n":"a","v":1}"#; count].join(","));
    assert_eq!(d1(&records(limits::READINGS_PER_MESSAGE)).unwrap().readings.len(), limits::READINGS_PER_MESSAGE);
    let payload = records(limits::READINGS_PER_MESSAGE + 1);
    let refused = d1(&payload).unwrap_err();
    assert_eq!(refused.to_string(), "too_many_readings: record 10000, more than 10000 readings in one message");
}

#[test]
fn relative_times_past_the_end_of_time_are_refused() {
    let late = Timestamp::from_micros(i64::MAX - 1);
    let payload = br#"[{"n":"a","v":1,"t":1}]"#;
    assert_eq!(decode(payload, &of_device("d1"), late).unwrap_err().reason, Reason::InvalidField);
}
