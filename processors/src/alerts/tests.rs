use telemetry::Value;
use telemetry::schema::alert;

use super::*;
use crate::limits;
use crate::rules::RuleSet;
use crate::testing::{alerts, batch, dictionary_len, message, numbers, reading, rules, texts};

#[test]
fn dictionaries_hold_only_what_fired() {
    let devices: Vec<String> = (0..100).map(|device| format!("d{device}")).collect();
    let messages: Vec<_> = (0_u32..)
        .zip(&devices)
        .map(|(at, device)| message(device, None, vec![reading("m", Value::Number(f64::from(at)))]))
        .collect();
    let (rules, batch) = (rules(&[("r", "value >= 98")]), batch(&messages));
    let alerts = alerts(&rules.evaluate(0, 0, &batch).unwrap()).unwrap();
    assert_eq!(texts(&alerts, alert::DEVICE_ID), ["d98", "d99"]);
    assert_eq!(dictionary_len(&alerts, alert::DEVICE_ID), 2);
}

#[test]
fn an_offset_that_no_column_can_hold_is_an_error() {
    let (rules, batch) = (rules(&[("r", "true")]), numbers("m", &[1.0]));
    let error = rules.evaluate(0, u64::MAX, &batch).unwrap_err();
    assert!(error.to_string().contains("out of range"), "{error}");
}

fn record_bytes(alerts: &RecordBatch) -> usize {
    telemetry::ipc::Encoder::new(schema::alerts_stream()).unwrap().encode(alerts).unwrap().len()
}

/// A message of one reading whose names are all `name`, the unit the beginning of it.
fn long_message(name: &str, text: &str) -> telemetry::Message<'static> {
    let text = Value::Text(std::borrow::Cow::Owned(text.to_owned()));
    let mut reading = reading("m", text);
    reading.metric = name.to_owned().into();
    reading.unit = Some(name[..telemetry::limits::UNIT_BYTES].to_owned().into());
    let mut message = message("d", None, vec![reading]);
    message.device_id = name.to_owned().into();
    message.site = Some(name.to_owned().into());
    message
}

#[test]
fn a_record_of_alerts_is_never_above_its_limit() {
    let messages: Vec<_> = (0..60)
        .map(|name| long_message(&format!("{name:0>256}"), &"x".repeat(if name % 2 == 0 { 0 } else { name * 100 })))
        .collect();
    let batch = batch(&messages);
    let file = |length| crate::testing::rule(&format!("r{length}"), "true", &"m".repeat(length));
    let rules = RuleSet::parse(&[file(1), file(100), file(1_000)].join("\n"), "f").unwrap();
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    for limit in [16 * 1024, 20_000, 64 * 1024, limits::APPEND_BYTES] {
        let records: Vec<_> = evaluation.alerts(limit).map(|alerts| record_bytes(&alerts.unwrap())).collect();
        assert!(records.iter().all(|bytes| *bytes <= limit), "{limit}: {records:?}");
        // Nor is it far below, so that a flood does not make more records than it must.
        let all: usize = records.iter().sum();
        assert!(records.len() <= 1 + 2 * all / limit, "{limit}: {records:?}");
    }
}

#[test]
fn the_longest_alert_fits_the_smallest_record() {
    let batch = batch(&[long_message(&"n".repeat(256), &"x".repeat(telemetry::limits::TEXT_VALUE_BYTES))]);
    let id = "r".repeat(limits::RULE_ID_BYTES);
    let rules = RuleSet::parse(&crate::testing::rule(&id, "true", "{value_text}"), "f").unwrap();
    let alerts = alerts(&rules.evaluate(0, 0, &batch).unwrap()).unwrap();
    assert!(texts(&alerts, alert::MESSAGE)[0].len() > limits::ALERT_MESSAGE_BYTES - 4);
    assert!(record_bytes(&alerts) <= limits::APPEND_BYTES / 32, "{}", record_bytes(&alerts));
}

#[test]
fn without_room_for_one_alert_a_record_still_has_one() {
    let (rules, batch) = (rules(&[("r", "true"), ("s", "value > 1")]), numbers("m", &[1.0, 2.0]));
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let rows: Vec<_> = evaluation.alerts(0).map(|alerts| alerts.unwrap().num_rows()).collect();
    assert_eq!(rows, [1, 1, 1]);
}
