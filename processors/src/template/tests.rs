use std::borrow::Cow;

use telemetry::Value;

use super::*;
use crate::testing::{batch, message, numbers, reading};

fn filled(template: &str, batch: &arrow::array::RecordBatch) -> String {
    let mut out = "left over".to_owned();
    Template::parse(template).unwrap().fill(&Readings::of(batch).unwrap(), 0, &mut out);
    out
}

#[test]
fn every_column_is_a_place() {
    let batch = batch(&[message("dev", Some((3, 9)), vec![reading("temperature", Value::Number(85.25))])]);
    assert_eq!(
        filled(
            "{device_id}|{metric}|{time}|{value}|{value_bool}|{value_text}|{unit}|{site}|{boot}|{seq}|{received_at}",
            &batch
        ),
        "dev|temperature|2026-01-01T00:00:01.500Z|85.25|||Cel|hall-1|3|9|2026-01-01T00:00:02Z"
    );
}

#[test]
fn a_value_of_any_kind_is_shown_by_value() {
    let one = |value| batch(&[message("d", None, vec![reading("m", value)])]);
    assert_eq!(filled("{value}", &one(Value::Bool(true))), "true");
    assert_eq!(filled("{value}", &one(Value::Text(Cow::Borrowed("läuft")))), "läuft");
    assert_eq!(filled("<{boot}>", &one(Value::Bool(true))), "<>");
}

#[test]
fn numbers_are_short() {
    for (value, text) in [(80.0, "80"), (0.0, "0"), (-0.1, "-0.1"), (1e300, "1e300"), (2.5e-9, "2.5e-9")] {
        assert_eq!(filled("{value}", &numbers("m", &[value])), text);
    }
}

#[test]
fn braces_can_be_written() {
    let batch = numbers("m", &[1.0]);
    assert_eq!(filled("{{{value}}} {{x}} ü", &batch), "{1} {x} ü");
    assert_eq!(filled("", &batch), "");
}

#[test]
fn mistakes_are_placed() {
    for (text, at) in [("a {value", 2..3), ("a } b", 2..3), ("{nope}", 0..6), ("ü {} b", 3..5), ("{ value }", 0..9)] {
        assert_eq!(Template::parse(text).unwrap_err().1, at, "{text}");
    }
}

#[test]
fn a_message_is_cut_between_characters() {
    let text = "ä".repeat(4_000);
    let batch = batch(&[message("d", None, vec![reading("m", Value::Text(Cow::Borrowed(&text)))])]);
    for lead in ["", "x", "xy", "xyz"] {
        let out = filled(&format!("{lead}{{value_text}} {{device_id}}"), &batch);
        assert!(out.len() <= limits::ALERT_MESSAGE_BYTES && out.len() > limits::ALERT_MESSAGE_BYTES - 4);
        assert!(out.starts_with(lead) && out.ends_with("ä…"), "{}", out.len());
    }
}
