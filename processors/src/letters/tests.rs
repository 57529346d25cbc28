use arrow::array::AsArray;
use telemetry::Value;
use telemetry::schema::{self, dead_letter};

use super::*;
use crate::rules::RuleSet;
use crate::testing::{batch, message, reading, rule, texts};

fn failing(ids: &[&str]) -> RuleSet {
    let rules: Vec<_> = ids.iter().map(|id| rule(id, "CAST(value_text AS INT) > 0", "m")).collect();
    RuleSet::parse(&rules.join("\n"), "f").unwrap()
}

fn text(value: &str) -> telemetry::Reading<'_> {
    reading("state", Value::Text(value.into()))
}

#[test]
fn a_letter_tells_rule_error_and_reading() {
    let (rules, batch) = (failing(&["a"]), batch(&[message("d", Some((3, 4)), vec![text("1"), text("x"), text("y")])]));
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let records: Vec<_> = evaluation.letters(usize::MAX).collect();
    assert_eq!(records.len(), 1);
    let letters = &records[0];
    assert_eq!(letters.schema(), schema::dead_letters());
    assert_eq!(texts(letters, dead_letter::REASON), ["rule_error"]);
    assert_eq!(texts(letters, dead_letter::TOPIC), ["rules/a"]);
    assert_eq!(texts(letters, dead_letter::CLIENT_ID), ["d"]);
    assert_eq!(
        (texts(letters, dead_letter::BOOT), texts(letters, dead_letter::SEQ)),
        (vec!["3".to_owned()], vec!["4".to_owned()])
    );
    let detail = &texts(letters, dead_letter::DETAIL)[0];
    assert!(detail.starts_with("rule `a` version 1 failed on 2 readings of a record, on the first: "), "{detail}");
    assert!(detail.contains("'x'") && !detail.contains("'y'"), "{detail}");
    let payload = letters.column(dead_letter::PAYLOAD).as_binary::<i32>().value(0);
    let expected = r#"{"device_id":"d","site":"hall-1","metric":"state","value":"x","unit":"Cel","time":"2026-01-01T00:00:01.500Z","boot":3,"seq":4,"received_at":"2026-01-01T00:00:02Z"}"#;
    assert_eq!(std::str::from_utf8(payload).unwrap(), expected);
    let good = rules.evaluate(0, 0, &batch.slice(0, 1)).unwrap().letters(usize::MAX).count();
    assert_eq!(good, 0);
}

#[test]
fn letters_are_one_a_rule_and_keep_the_limit_of_records() {
    let long = "ä".repeat(4_000);
    let ids: Vec<_> = (0..40).map(|at| format!("r{at}")).collect();
    let rules = failing(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let batch = batch(&[message("d", None, vec![text(&long); 50])]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    for limit in [0, 30_000, 100_000, usize::MAX] {
        let records: Vec<_> = evaluation.letters(limit).collect();
        let mut encoder = telemetry::ipc::Encoder::new(schema::dead_letters()).unwrap();
        for one in &records {
            assert!(encoder.encode(one).unwrap().len() <= limit || one.num_rows() == 1, "{limit}");
        }
        let topics: Vec<_> = records.iter().flat_map(|one| texts(one, dead_letter::TOPIC)).collect();
        assert_eq!(topics, ids.iter().map(|id| format!("rules/{id}")).collect::<Vec<_>>());
        let details: Vec<_> = records.iter().flat_map(|one| texts(one, dead_letter::DETAIL)).collect();
        assert!(details.iter().all(|detail| detail.len() < limits::ERROR_BYTES + 100), "{}", details[0].len());
    }
}
