use proptest::prelude::*;
use telemetry::formats::decode;
use telemetry::topic::{Filter, TopicFields, TopicTemplate};
use telemetry::{Identity, Message, Reading, Timestamp, Value, limits};

use crate::encode::{seconds, senml};

/// 2023-11-14T22:13:20Z
const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
/// 2^28 seconds: earlier times are relative in SenML.
const ABSOLUTE_FROM: i64 = 268_435_456_000_000;
/// 2201-01-01T00:00:00Z
const YEAR_2201: i64 = 7_289_654_400_000_000;

fn topic() -> TopicFields<'static> {
    TopicFields { device_id: Some("d1"), ..TopicFields::default() }
}

fn name() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,8}".prop_filter("the identity has names of its own", |name| name != "boot" && name != "seq")
}

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        finite().prop_map(Value::Number),
        any::<bool>().prop_map(Value::Bool),
        ".{0,12}".prop_map(|text| Value::Text(text.into())),
        any::<String>().prop_map(|text| Value::Text(text.into())),
    ]
}

/// Every finite double, evenly by its bits: also -0, subnormals and the largest.
fn finite() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("JSON has no others", |number| number.is_finite())
}

fn reading() -> impl Strategy<Value = Reading<'static>> {
    let unit = proptest::option::of("[^\\p{Cc}]{1,8}");
    (name(), ABSOLUTE_FROM..YEAR_2201, value(), unit).prop_map(|(metric, micros, value, unit)| Reading {
        metric: metric.into(),
        time: Timestamp::from_micros(micros),
        value,
        unit: unit.map(Into::into),
    })
}

fn message() -> impl Strategy<Value = Message<'static>> {
    let identity = proptest::option::of((0..=i64::MAX, 0..=i64::MAX));
    let readings = proptest::collection::vec(reading(), 1..12);
    (name(), identity, readings).prop_map(|(device_id, identity, readings)| Message {
        device_id: device_id.into(),
        site: None,
        identity: identity.map(|(boot, seq)| Identity { boot, seq }),
        readings,
        ignored_fields: 0,
    })
}

/// Whatever is accepted keeps the promises of [`Message`]; whatever is refused says so briefly.
fn check(payload: &[u8], topic: &TopicFields<'_>) {
    match decode(payload, topic, NOW) {
        Ok(message) => {
            assert!((1..=limits::DEVICE_ID_BYTES).contains(&message.device_id.len()));
            assert!((1..=limits::READINGS_PER_MESSAGE).contains(&message.readings.len()));
            assert!(message.identity.is_none_or(|identity| identity.boot >= 0 && identity.seq >= 0));
            for reading in &message.readings {
                assert!((1..=limits::METRIC_BYTES).contains(&reading.metric.len()));
                assert!(!reading.metric.contains(char::is_control));
                if let Value::Number(number) = reading.value {
                    assert!(number.is_finite());
                }
            }
        }
        Err(rejection) => {
            assert!((1..1500).contains(&rejection.detail.len()), "{rejection}");
            assert!(!rejection.detail.contains(char::is_control), "{rejection}");
        }
    }
}

proptest! {
    #[test]
    fn what_a_device_encodes_is_what_is_decoded(message in message(), based in any::<bool>()) {
        let payload = senml(&message, based);
        let decoded = decode(payload.as_bytes(), &TopicFields::default(), NOW).unwrap();
        for (sent, got) in message.readings.iter().zip(&decoded.readings) {
            if let (Value::Number(sent), Value::Number(got)) = (&sent.value, &got.value) {
                prop_assert_eq!(sent.to_bits(), got.to_bits());
            }
        }
        prop_assert_eq!(decoded, message);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes, &topic());
        check(&bytes, &TopicFields::default());
    }

    #[test]
    fn arbitrary_json_like_text_never_panics(
        // The tokens of both formats, in any order.
        tokens in proptest::collection::vec(
            proptest::sample::select(vec![
                "[", "]", "{", "}", ",", ":", "\"n\"", "\"v\"", "\"vb\"", "\"vs\"", "\"u\"", "\"t\"", "\"bn\"",
                "\"bt\"", "\"bv\"", "\"bu\"", "\"bver\"", "\"vd\"", "\"x_\"", "\"boot\"", "\"seq\"", "\"time\"", "\"\"",
                "\"\\u0000\"", "1", "-1", "1e999", "NaN", "-", "true", "null", "1.5e-3", "9223372036854775808", "\n",
                "\"é\"", "\\", "\"",
            ]),
            0..40,
        ),
        array in any::<bool>(),
    ) {
        let payload = format!("{}{}", if array { "[{" } else { "{" }, tokens.concat());
        check(payload.as_bytes(), &topic());
        check(payload.as_bytes(), &TopicFields::default());
    }

    #[test]
    fn damaged_payloads_never_panic(message in message(), damage in proptest::collection::vec(any::<(u16, u8)>(), 1..6)) {
        let mut payload = senml(&message, true).into_bytes();
        for (at, byte) in damage {
            let at = usize::from(at) % payload.len();
            payload[at] = byte;
        }
        check(&payload, &TopicFields::default());
    }

    #[test]
    fn every_number_survives_as_text(number in finite()) {
        for text in [number.to_string(), format!("{number:e}"), serde_json::to_string(&number).unwrap()] {
            for payload in [format!("[{{\"n\":\"a\",\"v\":{text}}}]"), format!("{{\"a\":{text}}}")] {
                let message = decode(payload.as_bytes(), &topic(), NOW).unwrap();
                let Value::Number(decoded) = message.readings[0].value else { panic!("{payload}") };
                prop_assert_eq!(decoded.to_bits(), number.to_bits(), "{}", payload);
            }
        }
    }

    #[test]
    fn every_microsecond_until_2200_survives_as_seconds(micros in 0..YEAR_2201, base in ABSOLUTE_FROM..YEAR_2201) {
        let time_of = |payload: String| decode(payload.as_bytes(), &topic(), NOW).unwrap().readings[0].time.as_micros();
        prop_assert_eq!(time_of(format!("{{\"a\":1,\"time\":{}}}", seconds(micros))), micros);
        let offset = micros.max(ABSOLUTE_FROM) - base;
        let based = format!("[{{\"n\":\"a\",\"v\":1,\"bt\":{},\"t\":{}}}]", seconds(base), seconds(offset));
        prop_assert_eq!(time_of(based), micros.max(ABSOLUTE_FROM));
    }

    #[test]
    fn templates_and_filters_never_panic(pattern in "[a{}+#/$_ç]{0,20}|\\PC{0,20}", topic in "[a/$ç]{0,20}") {
        if let Ok(template) = TopicTemplate::parse(&pattern) {
            let fields = template.fields(&topic);
            prop_assert!(fields.device_id.is_none_or(|device| topic.contains(device)));
        }
        if let Some(filter) = Filter::parse(&pattern) {
            prop_assert!(filter.matches(&pattern), "as a topic, a filter matches itself");
            prop_assert!(pattern.contains(['+', '#']) || filter.matches(&topic) == (topic == pattern));
        }
    }
}
