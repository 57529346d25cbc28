use std::borrow::Cow;

use proptest::prelude::*;
use telemetry::schema::{self, alert};
use telemetry::{Message, Reading, Timestamp, Value};

use super::*;
use crate::testing::{NEW_YEAR, alerts, batch, fired, message, numbers, reading, rules, texts};

mod measure;

fn fires(when: &str, reading: Reading<'_>) -> bool {
    let rules = rules(&[("r", when)]);
    let batch = batch(&[message("machine-1", Some((7, 42)), vec![reading])]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    assert_eq!(evaluation.rules[0].errors, 0, "{when}: {:?}", evaluation.rules[0].first_error);
    alerts(&evaluation).is_some()
}

#[test]
fn expressions_mean_what_sql_means() {
    let hot = || reading("temperature", Value::Number(85.5));
    let open = || reading("door", Value::Bool(true));
    let state = || reading("state", Value::Text(Cow::Borrowed("Overload 17")));
    let cases: &[(&str, Reading<'_>, bool)] = &[
        ("metric = 'temperature' AND value > 80", hot(), true),
        ("METRIC = 'temperature' and VALUE > 80", hot(), true),
        ("metric = 'temperature' AND value > 85.5", hot(), false),
        ("metric = 'Temperature'", hot(), false),
        ("metric <> 'humidity' OR value < 0", hot(), true),
        ("NOT (value > 80)", hot(), false),
        ("true", hot(), true),
        ("false", hot(), false),
        ("1 = 1 AND value > 80", hot(), true),
        // NULL is not fired, and its negation neither.
        ("value > 80", open(), false),
        ("NOT (value > 80)", open(), false),
        ("value IS NULL", open(), true),
        ("value = NULL", hot(), false),
        ("value > 80 OR value_bool", open(), true),
        ("coalesce(value, 100) > 80", open(), true),
        ("value_bool", open(), true),
        ("value_bool = true", open(), true),
        ("value_bool IS NOT TRUE", open(), false),
        ("NOT value_bool", open(), false),
        ("value_bool", hot(), false),
        // Text.
        ("value_text = 'Overload 17'", state(), true),
        ("value_text LIKE 'Over%'", state(), true),
        ("value_text LIKE 'over%'", state(), false),
        ("value_text ILIKE 'over%'", state(), true),
        ("value_text NOT LIKE '%fault%'", state(), true),
        ("value_text ~ '^Overload [0-9]+$'", state(), true),
        ("regexp_like(value_text, 'load [0-9]{2}')", state(), true),
        ("lower(value_text) = 'overload 17'", state(), true),
        ("starts_with(value_text, 'Over')", state(), true),
        ("contains(value_text, 'load')", state(), true),
        ("value_text LIKE 'Over%'", hot(), false),
        ("value_text || '!' = 'Overload 17!'", state(), true),
        ("TRY_CAST(split_part(value_text, ' ', 2) AS INT) = 17", state(), true),
        ("TRY_CAST(value_text AS DOUBLE) > 0", state(), false),
        // Dictionary columns.
        ("device_id = 'machine-1'", hot(), true),
        ("'machine-1' = device_id", hot(), true),
        ("device_id LIKE 'machine-%'", hot(), true),
        ("device_id LIKE 'pump-%'", hot(), false),
        ("metric IN ('temperature', 'humidity')", hot(), true),
        ("metric IN ('a', 'b', 'c', 'd', 'e', 'temperature')", hot(), true),
        ("metric NOT IN ('temperature', 'humidity')", hot(), false),
        ("upper(metric) = 'TEMPERATURE'", hot(), true),
        ("site = 'hall-1' AND unit = 'Cel'", hot(), true),
        ("metric = device_id", hot(), false),
        ("concat(site, '/', device_id) = 'hall-1/machine-1'", hot(), true),
        ("CASE metric WHEN 'temperature' THEN value > 80 ELSE false END", hot(), true),
        ("metric BETWEEN 'a' AND 'z'", hot(), true),
        // Numbers.
        ("value BETWEEN 85.5 AND 90", hot(), true),
        ("value NOT BETWEEN 0 AND 80", hot(), true),
        ("value IN (85.5, 3)", hot(), true),
        ("abs(value - 100) < 15", hot(), true),
        ("round(value) = 86", hot(), true),
        ("floor(value) = 85 AND ceil(value) = 86", hot(), true),
        ("value * 9 / 5 + 32 > 185", hot(), true),
        ("power(value, 2) > 7310", hot(), true),
        ("seq % 2 = 0 AND boot = 7", hot(), true),
        ("value > -1e3", hot(), true),
        // Times.
        ("time > TIMESTAMP '2026-01-01'", hot(), true),
        ("time > TIMESTAMP '2026-01-01T00:00:01.5Z'", hot(), false),
        ("time >= TIMESTAMP '2026-01-01T00:00:01.5Z'", hot(), true),
        ("time < '2026-01-02T00:00:00Z'", hot(), true),
        ("time < DATE '2026-01-02'", hot(), true),
        ("time BETWEEN TIMESTAMP '2025-12-31' AND TIMESTAMP '2026-01-02'", hot(), true),
        ("received_at - time > INTERVAL '400 milliseconds'", hot(), true),
        ("received_at - time > INTERVAL '1 minute'", hot(), false),
        ("time + INTERVAL '1 hour' > received_at", hot(), true),
        ("date_part('hour', time) = 0", hot(), true),
        ("EXTRACT(YEAR FROM time) = 2026", hot(), true),
        ("date_trunc('day', time) = TIMESTAMP '2026-01-01T00:00:00Z'", hot(), true),
        ("to_timestamp('2026-01-01T00:00:01Z') < time", hot(), true),
    ];
    for (when, reading, expected) in cases {
        assert_eq!(fires(when, reading.clone()), *expected, "{when} on {reading:?}");
    }
}

#[test]
fn a_rule_that_fails_on_a_reading_goes_on_with_the_others() {
    let text = |text: &'static str| reading("state", Value::Text(Cow::Borrowed(text)));
    let readings = ["1", "x", "3", "4", "5", "y", "7"].map(text).to_vec();
    let batch = batch(&[message("d", Some((1, 1)), readings)]);
    let rules = rules(&[("cast", "CAST(value_text AS INT) > 2"), ("other", "value_text = 'x'")]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    assert_eq!((evaluation.rules[0].matches, evaluation.rules[0].errors), (4, 2));
    assert!(evaluation.rules[0].first_error.as_ref().unwrap().contains('x'), "{:?}", evaluation.rules[0]);
    let failed = evaluation.rules[0].failed.as_ref().unwrap();
    assert_eq!(failed.set_indices().collect::<Vec<_>>(), [1, 5]);
    assert_eq!(evaluation.rules[1], RuleOutcome { evaluated: 7, matches: 1, ..RuleOutcome::default() });
    let alerts = alerts(&evaluation).unwrap();
    assert_eq!(texts(&alerts, alert::MESSAGE), ["d x", "d 3", "d 4", "d 5", "d 7"]);
    assert_eq!(fired(Some(&alerts)), ["other", "cast", "cast", "cast", "cast"]);
}

#[test]
fn division_by_zero_is_an_error_of_its_reading() {
    let readings = (0..4).map(|seq| message("d", Some((1, seq)), vec![reading("m", Value::Number(1.0))]));
    let batch = batch(&readings.collect::<Vec<_>>());
    let rules = rules(&[("r", "10 / (seq - 2) < 0")]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    assert_eq!((evaluation.rules[0].matches, evaluation.rules[0].errors), (2, 1));
}

#[test]
fn alerts_carry_the_rule_the_reading_and_its_source() {
    let batch = batch(&[
        message("a", Some((1, 1)), vec![reading("m", Value::Number(1.0)), reading("m", Value::Number(9.0))]),
        message("b", None, vec![reading("m", Value::Number(8.0))]),
    ]);
    let rules = rules(&[("high", "value > 5"), ("all", "true")]);
    let evaluation = rules.evaluate(3, 77, &batch).unwrap();
    let alerts = alerts(&evaluation).unwrap();
    assert_eq!(alerts.schema(), schema::alerts_stream());
    assert_eq!(texts(&alerts, alert::RULE_ID), ["all", "high", "all", "high", "all"]);
    assert_eq!(texts(&alerts, alert::SEVERITY), ["warning"; 5]);
    assert_eq!(texts(&alerts, alert::MESSAGE), ["a 1", "a 9", "a 9", "b 8", "b 8"]);
    assert_eq!(texts(&alerts, alert::DEVICE_ID), ["a", "a", "a", "b", "b"]);
    let first = alert::FIRST_READING_COLUMN;
    assert_eq!(texts(&alerts, first + schema::reading::VALUE), ["1.0", "9.0", "9.0", "8.0", "8.0"]);
    assert_eq!(texts(&alerts, first + schema::reading::SEQ), ["1", "1", "1", "-", "-"]);
    assert_eq!(texts(&alerts, first + schema::reading::SITE), ["hall-1"; 5]);
    assert_eq!(texts(&alerts, alert::SOURCE_PARTITION), ["3"; 5]);
    assert_eq!(texts(&alerts, alert::SOURCE_OFFSET), ["77"; 5]);
    assert_eq!(texts(&alerts, alert::SOURCE_INDEX), ["0", "1", "2", "3", "4"]);
}

#[test]
fn nothing_fired_gives_no_record() {
    let (rules, empty) = (rules(&[("r", "value > 5")]), RuleSet::empty());
    let batch = numbers("m", &[1.0, 2.0]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    assert!(alerts(&evaluation).is_none());
    assert_eq!(evaluation.rules, [RuleOutcome { evaluated: 2, ..RuleOutcome::default() }]);
    assert!(alerts(&empty.evaluate(0, 0, &batch).unwrap()).is_none());
    let nothing = numbers("m", &[]);
    assert!(alerts(&rules.evaluate(0, 0, &nothing).unwrap()).is_none());
}

#[test]
fn another_schema_is_refused() {
    let readings = numbers("m", &[1.0]).project(&[0, 1, 2]).unwrap();
    let rules = RuleSet::empty();
    let error = rules.evaluate(0, 0, &readings).unwrap_err();
    assert!(error.to_string().contains("batch has schema"), "{error}");
}

#[test]
fn the_sample_rules_fire_on_spikes_only() {
    let rules = RuleSet::parse(crate::SAMPLE_RULES, "demo.toml").unwrap();
    let ordinary =
        [("temperature", 22.0), ("humidity", 45.0), ("vibration", 2.5), ("pressure", 1013.0), ("battery", 60.0)];
    let spikes = [("temperature", 95.5), ("vibration", 14.0), ("battery", 3.0)];
    let readings = |of: &[(&'static str, f64)]| {
        of.iter().map(|(metric, value)| reading(metric, Value::Number(*value))).collect::<Vec<_>>()
    };
    let quiet = batch(&[message("d-1", Some((1, 1)), readings(&ordinary))]);
    assert!(alerts(&rules.evaluate(0, 0, &quiet).unwrap()).is_none());
    let loud = batch(&[message("d-1", Some((1, 1)), readings(&spikes))]);
    let alerts = alerts(&rules.evaluate(0, 0, &loud).unwrap()).unwrap();
    assert_eq!(fired(Some(&alerts)), ["overheating", "strong-vibration", "battery-low"]);
    assert_eq!(texts(&alerts, alert::MESSAGE)[0], "d-1 in hall-1 is at 95.5 Cel");
}

#[test]
fn a_flood_of_alerts_is_cut_into_batches_and_nothing_else() {
    let long = "x".repeat(8 * 1024);
    // Without identity, so that ids count readings across the batches.
    let readings = vec![reading("state", Value::Text(Cow::Borrowed(&long))); 1_000];
    let batch = batch(&[message("d", None, readings)]);
    let rules = rules(&[("a", "true"), ("b", "true")]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    assert_eq!(evaluation.rules[0].matches, 1_000);
    let whole = alerts(&evaluation).unwrap();
    assert_eq!(texts(&whole, alert::SOURCE_INDEX), (0..2_000).map(|at| at.to_string()).collect::<Vec<_>>());
    for limit in [100_000, crate::limits::ALERT_BYTES_PER_RECORD] {
        let batches: Vec<_> = evaluation.alerts(limit).map(Result::unwrap).collect();
        assert!(batches.len() >= 2_000 * 8 * 1024 / limit, "{limit}: {}", batches.len());
        assert_eq!(
            columns(&batches, alert::SOURCE_INDEX + 1),
            columns(std::slice::from_ref(&whole), alert::SOURCE_INDEX + 1)
        );
        let again: Vec<_> = rules.evaluate(0, 0, &batch).unwrap().alerts(limit).map(Result::unwrap).collect();
        assert_eq!(batches, again);
    }
}

/// The first `count` columns of alerts as text.
fn columns(alerts: &[RecordBatch], count: usize) -> Vec<Vec<String>> {
    (0..count).map(|at| alerts.iter().flat_map(|one| texts(one, at)).collect()).collect()
}

const MANY: [(&str, &str); 6] = [
    ("hot", "metric = 'temperature' AND value > 80"),
    ("cast", "CAST(value_text AS DOUBLE) > 1"),
    ("guarded", "metric = 'state' AND CAST(value_text AS DOUBLE) > 1"),
    ("division", "100 / (seq - 3) > 20"),
    ("null", "value IS NULL OR NOT value_bool"),
    ("devices", "device_id IN ('a', 'c') OR site IS NULL"),
];

fn any_value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        (-100.0..100.0_f64).prop_map(Value::Number),
        any::<bool>().prop_map(Value::Bool),
        "[0-9]{1,2}|x".prop_map(|text| Value::Text(Cow::Owned(text))),
    ]
}

fn any_message() -> impl Strategy<Value = Message<'static>> {
    let readings = prop::collection::vec(
        (prop::sample::select(vec!["temperature", "state", "door"]), any_value(), any::<i32>()),
        1..4,
    );
    (prop::sample::select(vec!["a", "b", "c"]), any::<bool>(), 0..5_i64, readings).prop_map(
        |(device, site, seq, readings)| {
            let of = |(metric, value, time): (&'static str, Value<'static>, i32)| Reading {
                time: Timestamp::from_micros(NEW_YEAR + i64::from(time)),
                ..reading(metric, value)
            };
            let mut message = message(device, Some((1, seq)), readings.into_iter().map(of).collect());
            message.site = message.site.filter(|_| site);
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_gives_what_its_readings_give_alone(messages in prop::collection::vec(any_message(), 1..12)) {
        let rules = rules(&MANY);
        let batch = batch(&messages);
        let whole = rules.evaluate(1, 2, &batch).unwrap();
        let mut sums = vec![(0, 0); MANY.len()];
        let mut alone = Vec::new();
        for row in 0..batch.num_rows() {
            let one = batch.slice(row, 1);
            let evaluation = rules.evaluate(1, 2, &one).unwrap();
            for (sum, outcome) in sums.iter_mut().zip(&evaluation.rules) {
                sum.0 += outcome.matches;
                sum.1 += outcome.errors;
            }
            alone.extend(alerts(&evaluation));
        }
        let counts: Vec<_> = whole.rules.iter().map(|outcome| (outcome.matches, outcome.errors)).collect();
        prop_assert_eq!(counts, sums);
        let whole = Vec::from_iter(alerts(&whole));
        // All but the index: alone, each reading begins at 0.
        prop_assert_eq!(columns(&whole, alert::SOURCE_INDEX), columns(&alone, alert::SOURCE_INDEX));
        let indexes: Vec<String> = whole.iter().flat_map(|alerts| texts(alerts, alert::SOURCE_INDEX)).collect();
        prop_assert_eq!(indexes, (0..alone.iter().map(RecordBatch::num_rows).sum()).map(|at: usize| at.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn looking_at_one_metric_only_changes_nothing(messages in prop::collection::vec(any_message(), 1..12)) {
        let whens = [
            "metric = 'state'",
            "metric = 'nothing' AND 1 / (seq - seq) > 0",
            "metric = 'state' AND CAST(value_text AS DOUBLE) > 1",
            "'temperature' = metric AND (value > 80 OR value < 0) AND 100 / (seq - 3) > 20",
            "(metric = 'door' AND value_bool) AND device_id <> 'b'",
        ];
        let named = |whens: &[String]| {
            let ids = ["a", "b", "c", "d", "e"];
            rules(&ids.into_iter().zip(whens.iter().map(String::as_str)).collect::<Vec<_>>())
        };
        let split = named(&whens.map(str::to_owned));
        // The same expressions, but the comparison is not the first.
        let whole = named(&whens.map(|when| format!("true AND ({when})")));
        let batch = batch(&messages);
        let (split, whole) = (split.evaluate(0, 0, &batch).unwrap(), whole.evaluate(0, 0, &batch).unwrap());
        prop_assert_eq!(&split.rules, &whole.rules);
        prop_assert_eq!(alerts(&split), alerts(&whole));
    }

    #[test]
    fn a_replay_gives_the_same(messages in prop::collection::vec(any_message(), 1..12)) {
        let batch = batch(&messages);
        let (one, other) = (rules(&MANY), rules(&MANY));
        let (first, second) = (one.evaluate(1, 2, &batch).unwrap(), other.evaluate(1, 2, &batch).unwrap());
        prop_assert_eq!(&first.rules, &second.rules);
        for limit in [0, 5_000, usize::MAX] {
            let batches = |of: &Evaluation<'_>| of.alerts(limit).map(Result::unwrap).collect::<Vec<_>>();
            prop_assert_eq!(batches(&first), batches(&second));
        }
    }
}
