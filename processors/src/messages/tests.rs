use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use telemetry::schema::{alert, reading as column};
use telemetry::{Message, Value};

use crate::firing::Firing;
use crate::rules::RuleSet;
use crate::testing::{alerts, batch, message, reading, texts};

fn rules(all: &[(&str, &str)]) -> RuleSet {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let file: String = all
        .iter()
        .map(|(id, when)| {
            format!(
                "[[rule]]\nid = '{id}'\nwhen_message = {}\nseverity = 'info'\nmessage = '{{device_id}} {{metric}}'\n\
                 [[rule.step]]\nlog = true\n",
                quoted(when)
            )
        })
        .collect();
    RuleSet::parse(&file, "test.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn number(metric: &'static str, value: f64) -> telemetry::Reading<'static> {
    reading(metric, Value::Number(value))
}

fn fires(when: &str, messages: &[Message<'_>]) -> Vec<usize> {
    let (rules, batch) = (rules(&[("r", when)]), batch(messages));
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    assert_eq!(evaluation.rules[0].errors, 0, "{:?}", evaluation.rules[0]);
    assert_eq!(evaluation.rules[0].matches, evaluation.firings_of_all().count() as u64);
    evaluation.firings_of_all().map(|fired| fired.row).collect()
}

#[test]
fn all_metrics_of_a_message_are_one_row() {
    let messages = [
        message("a", Some((1, 1)), vec![number("other", 1.0), number("temperature", 85.0), number("humidity", 12.0)]),
        message("b", Some((1, 1)), vec![number("temperature", 85.0)]),
        message("b", Some((1, 2)), vec![number("humidity", 12.0)]),
        message("c", Some((3, 1)), vec![number("humidity", 12.0), number("temperature", 20.0)]),
    ];
    let cases: &[(&str, &[usize])] = &[
        // The first reading with a named metric stands for the message.
        ("temperature > 80 AND humidity < 20", &[1]),
        ("humidity < 20 AND Temperature > 80", &[1]),
        ("temperature > 80", &[1, 3]),
        ("temperature > 80 OR humidity < 20", &[1, 3, 4, 5]),
        ("temperature IS NULL AND humidity < 20", &[4]),
        ("other = 1", &[0]),
        // A message without any named metric is not looked at.
        ("other IS NULL", &[]),
        ("device_id = 'b' AND temperature IS NOT NULL", &[3]),
        ("boot = 3 AND site = 'hall-1' AND temperature + humidity = 32", &[5]),
        ("seq = 2 AND (humidity > 0 OR temperature > 0)", &[4]),
        ("received_at > time AND other > 0", &[0]),
        ("\"temperature\" > 80 AND \"humidity\" < 20", &[1]),
        ("absent > 0", &[]),
        ("coalesce(absent, temperature) > 80", &[1, 3]),
    ];
    for (when, expected) in cases {
        assert_eq!(fires(when, &messages), *expected, "{when}");
    }
}

#[test]
fn values_of_other_kinds_and_repetitions() {
    let messages = [
        message("a", None, vec![reading("door", Value::Bool(true)), reading("lock", Value::Bool(false))]),
        message("a", None, vec![reading("door", Value::Text("open".into()))]),
        message("a", None, vec![number("door", 5.0), number("door", 7.0)]),
        message("a", None, vec![number("door", 9.0), reading("door", Value::Text("open".into()))]),
    ];
    assert_eq!(fires("door = 1 AND lock = 0", &messages), [0]);
    assert_eq!(fires("door IS NULL", &messages), [2, 5]);
    assert_eq!(fires("door = 7", &messages), [3]);
    assert_eq!(fires("door = 5 OR door = 9", &messages), [] as [usize; 0]);
}

#[test]
fn names_of_metrics_may_be_anything_in_quotes() {
    let messages = [
        message("a", None, vec![number("Temp.1", 5.0), number("value", 6.0), number("time", 1.0)]),
        message("a", None, vec![number("temp", 5.0)]),
    ];
    assert_eq!(fires("\"Temp.1\" = 5 AND \"value\" = 6", &messages), [0]);
    assert_eq!(fires("temp = 5", &messages), [3]);
}

#[test]
fn a_failure_is_that_of_its_message() {
    let rules = rules(&[("r", "CAST(CAST(a AS VARCHAR) || 'x' AS INT) > 0 OR b > 0"), ("s", "b > 0")]);
    let messages = [
        message("d", None, vec![number("b", 1.0)]),
        message("e", None, vec![number("c", 1.0), number("a", 1.0)]),
        message("f", None, vec![number("c", 1.0)]),
    ];
    let batch = batch(&messages);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let outcome = &evaluation.rules[0];
    assert_eq!((outcome.evaluated, outcome.matches, outcome.errors), (2, 1, 1));
    assert_eq!(outcome.failed.as_ref().unwrap().set_indices().collect::<Vec<_>>(), [2]);
    assert_eq!(evaluation.rules[1].matches, 1);
    let letters: Vec<_> = evaluation.letters(usize::MAX).collect();
    let payload = letters[0].column(telemetry::schema::dead_letter::PAYLOAD);
    let payload = arrow::array::AsArray::as_binary::<i32>(payload).value(0);
    let payload: serde_json::Value = serde_json::from_slice(payload).unwrap();
    assert_eq!((&payload["device_id"], &payload["metrics"]), (&"e".into(), &serde_json::json!({"a": 1.0})));
}

#[test]
fn the_alert_and_the_firing_are_of_the_first_named_reading() {
    let rules = rules(&[("r", "t > 80 AND h < 20 AND coalesce(text, gone) IS NULL")]);
    let readings =
        vec![number("other", 0.0), number("h", 12.0), number("t", 81.5), reading("text", Value::Text("x".into()))];
    let batch = batch(&[message("d", Some((1, 2)), readings)]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let alerts = alerts(&evaluation).unwrap();
    assert_eq!(texts(&alerts, alert::MESSAGE), ["d h"]);
    assert_eq!(texts(&alerts, alert::FIRST_READING_COLUMN + column::VALUE), ["12.0"]);
    let firings = evaluation.firings(usize::MAX).next().unwrap().unwrap();
    let firing = &Firing::decode(&firings).unwrap()[0];
    assert_eq!(firing.data, r#"{"metrics":{"h":12.0,"t":81.5}}"#);
    assert_eq!(texts(&alerts, alert::ALERT_ID)[0], firing.run_id);
}

#[test]
fn messages_beyond_the_columns_of_one_pass_are_looked_at_too() {
    let named: Vec<String> = (0..64).map(|at| format!("m{at}")).collect();
    let when: Vec<String> = named.iter().map(|name| format!("{name} = 1")).collect();
    let rules = rules(&[("r", &when.join(" OR "))]);
    let count = 3 * super::limits::PIVOT_CELLS / 64 + 7;
    let messages: Vec<_> = (0..count)
        .map(|at| {
            message("d", None, vec![reading(&named[at % 64], Value::Number(f64::from(u8::from(at % 1000 == 0))))])
        })
        .collect();
    let batch = batch(&messages);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    assert_eq!(evaluation.rules[0].evaluated, count as u64);
    let fired: Vec<_> = evaluation.firings_of_all().map(|fired| fired.row).collect();
    assert_eq!(fired, (0..count).step_by(1000).collect::<Vec<_>>());
}

const METRICS: [&str; 4] = ["a", "b", "c", "d"];

fn any_message() -> impl Strategy<Value = Message<'static>> {
    let value = prop_oneof![
        4 => (0..4_i8).prop_map(|number| Value::Number(f64::from(number))),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Text(Cow::Borrowed("x"))),
    ];
    let readings = prop::collection::vec((prop::sample::select(METRICS.to_vec()), value), 1..6);
    (readings, 0..3_i64).prop_map(|(readings, seq)| {
        message("d", Some((1, seq)), readings.into_iter().map(|(metric, value)| reading(metric, value)).collect())
    })
}

/// What a rule sees of a message, by its definition.
fn row(message: &Message<'_>) -> BTreeMap<String, Option<f64>> {
    let number = |value: &Value<'_>| match value {
        Value::Number(number) => Some(*number),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Text(_) => None,
    };
    message.readings.iter().map(|one| (one.metric.clone().into_owned(), number(&one.value))).collect()
}

proptest! {
    #[test]
    fn the_pivot_is_what_it_is_defined_as(messages in prop::collection::vec(any_message(), 1..30)) {
        let rules = rules(&[("sum", "a + b > 3"), ("any", "a = 1 OR b = 1 OR c = 1"), ("none", "d IS NULL AND c IS NULL")]);
        let batch = batch(&messages);
        let evaluation = rules.evaluate(0, 0, &batch).unwrap();
        let mut expected = Vec::new();
        let mut first = 0;
        for message in &messages {
            let row = row(message);
            let of = |metric: &str| row.get(metric).copied().flatten();
            let sum = of("a").zip(of("b")).is_some_and(|(a, b)| a + b > 3.0);
            let any = ["a", "b", "c"].iter().any(|metric| of(metric) == Some(1.0));
            let named = |metrics: &[&str]| message.readings.iter().position(|one| metrics.contains(&&*one.metric));
            let none = of("d").is_none() && of("c").is_none();
            let verdicts = [(sum, named(&["a", "b"])), (any, named(&["a", "b", "c"])), (none, named(&["c", "d"]))];
            for (rule, (fires, at)) in verdicts.into_iter().enumerate() {
                if let Some(at) = at.filter(|_| fires) {
                    expected.push((first + at, rule));
                }
            }
            first += message.readings.len();
        }
        expected.sort_unstable();
        let fired: Vec<_> = evaluation.firings_of_all().map(|fired| (fired.row, fired.rule)).collect();
        prop_assert_eq!(fired, expected);
    }
}
