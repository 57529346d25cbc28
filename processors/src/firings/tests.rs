use arrow::array::RecordBatch;
use telemetry::schema::{self, firing};
use telemetry::{Timestamp, Value};

use crate::evaluation::Evaluation;
use crate::firing::Firing;
use crate::limits;
use crate::rules::RuleSet;
use crate::testing::{NEW_YEAR, batch, message, numbers, reading, texts};

fn rule(id: &str, when: &str, more: &str) -> String {
    format!(
        "[[rule]]\nid = '{id}'\nwhen = {when:?}\nseverity = 'critical'\nmessage = '{{device_id}} {{value}}'\n{more}\n"
    )
}

const LOG: &str = "[[rule.step]]\nlog = true";

fn rules(files: &[String]) -> RuleSet {
    RuleSet::parse(&files.join("\n"), "f").unwrap_or_else(|error| panic!("{error}"))
}

fn batches(evaluation: &Evaluation<'_>, bytes: usize) -> Vec<RecordBatch> {
    evaluation.firings(bytes).map(Result::unwrap).collect()
}

fn decoded(evaluation: &Evaluation<'_>) -> Vec<Firing> {
    batches(evaluation, usize::MAX).iter().flat_map(|batch| Firing::decode(batch).unwrap()).collect()
}

#[test]
fn a_firing_holds_all_that_a_step_needs() {
    let more = format!("version = 3\nlabels = {{ team = 'ovens' }}\n{LOG}\nbody = '{{{{ value }}}}'");
    let rules =
        rules(&[rule("hot", "value > 80 OR value_bool OR value_text = 'x'", &more), rule("silent", "true", "")]);
    let readings = vec![
        reading("temperature", Value::Number(81.5)),
        reading("door", Value::Bool(true)),
        reading("state", Value::Text("x".into())),
        reading("temperature", Value::Number(1.0)),
    ];
    let batch = batch(&[message("d", Some((4, 5)), readings)]);
    let evaluation = rules.evaluate(2, 9, &batch).unwrap();
    let record = &batches(&evaluation, usize::MAX)[0];
    assert_eq!(record.schema(), schema::workflows());
    assert_eq!(texts(record, firing::SOURCE_PARTITION), ["2"; 3]);
    assert_eq!(texts(record, firing::SOURCE_OFFSET), ["9"; 3]);
    assert_eq!(texts(record, firing::SOURCE_INDEX), ["0", "1", "2"]);
    let firings = decoded(&evaluation);
    let one = &firings[0];
    assert_eq!((one.rule_id.as_str(), one.rule_version, one.severity.as_str()), ("hot", 3, "critical"));
    assert_eq!((one.message.as_str(), one.device_id.as_str(), one.site.as_deref()), ("d 81.5", "d", Some("hall-1")));
    assert_eq!((one.boot, one.seq), (Some(4), Some(5)));
    assert_eq!(one.time, Timestamp::from_micros(NEW_YEAR + 1_500_000));
    assert_eq!(one.received_at, Timestamp::from_micros(NEW_YEAR + 2_000_000));
    let data: Vec<_> = firings.iter().map(|one| one.data.as_str()).collect();
    assert_eq!(
        data,
        [
            r#"{"metric":"temperature","value":81.5,"unit":"Cel"}"#,
            r#"{"metric":"door","value":true,"unit":"Cel"}"#,
            r#"{"metric":"state","value":"x","unit":"Cel"}"#
        ]
    );
    assert_eq!(serde_json::from_str::<crate::Plan>(&one.plan).unwrap(), *rules.rules()[0].plan());
    let all: Vec<_> = evaluation.firings_of_all().map(|fired| (fired.row, fired.rule)).collect();
    assert_eq!(all, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 1)]);
}

#[test]
fn what_one_cool_down_covers_is_one_firing_and_many_alerts() {
    let rules = rules(&[rule("r", "value > 80", &format!("cooldown = '1h'\n{LOG}"))]);
    let batch = numbers("m", &[90.0, 10.0, 91.0, 92.0]);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let firings = decoded(&evaluation);
    assert_eq!(firings.len(), 1);
    assert_eq!(firings[0].message, "d 90");
    let alerts = crate::testing::alerts(&evaluation).unwrap();
    assert_eq!(texts(&alerts, schema::alert::ALERT_ID), vec![firings[0].run_id.clone(); 3]);
}

#[test]
fn records_of_firings_keep_their_limit_and_their_order() {
    let body = format!("{LOG}\nbody = '{}'", "b".repeat(10_000));
    let rules = rules(&[rule("r", "true", &body), rule("s", "value >= 0", &body)]);
    let values: Vec<f64> = (0..300).map(f64::from).collect();
    let batch = numbers("m", &values);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let whole = decoded(&evaluation);
    assert_eq!(whole.len(), 600);
    for limit in [0, 20_000, 40_000, 100_000] {
        let cut = batches(&evaluation, limit);
        let bytes: Vec<_> = cut
            .iter()
            .map(|one| telemetry::ipc::Encoder::new(schema::workflows()).unwrap().encode(one).unwrap().len())
            .collect();
        let within = |(bytes, one): (&usize, &RecordBatch)| *bytes <= limit || one.num_rows() == 1;
        assert!(bytes.iter().zip(&cut).all(within), "{limit}: {bytes:?}");
        let firings: Vec<_> = cut.iter().flat_map(|one| Firing::decode(one).unwrap()).collect();
        assert_eq!(firings, whole);
        let indexes: Vec<_> = cut.iter().flat_map(|one| texts(one, firing::SOURCE_INDEX)).collect();
        assert_eq!(indexes, (0..600).map(|at| at.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn the_longest_firing_fits_the_smallest_record() {
    let text = "\u{1}".repeat(telemetry::limits::TEXT_VALUE_BYTES);
    let body = format!("[[rule.step]]\nlog = true\nbody = '{}'\n", "b".repeat(16 * 1024));
    let file = rule(&"r".repeat(limits::RULE_ID_BYTES), "true", &body.repeat(3)).replace("{value}", "{value_text}");
    let name = "n".repeat(256);
    let mut long = message(&name, None, vec![reading(&name, Value::Text(text.as_str().into()))]);
    long.site = Some(name.as_str().into());
    let (rules, batch) = (rules(&[file]), batch(&[long]));
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let record = &batches(&evaluation, 0)[0];
    let bytes = telemetry::ipc::Encoder::new(schema::workflows()).unwrap().encode(record).unwrap().len();
    assert!(bytes + limits::PLAN_BYTES <= 192 * 1024 && 192 * 1024 < limits::APPEND_BYTES, "{bytes}");
}

#[test]
fn repetitions_beyond_what_is_remembered_are_the_same_each_time() {
    let rules = rules(&[rule("r", "true", &format!("cooldown = '1s'\n{LOG}"))]);
    let count = limits::FIRINGS_REMEMBERED + 10;
    let messages: Vec<_> = (0..2)
        .flat_map(|_| 0..i64::try_from(count).unwrap())
        .map(|second| {
            let mut one = message("d", None, vec![reading("m", Value::Number(1.0))]);
            one.readings[0].time = Timestamp::from_micros(second * 1_000_000);
            one
        })
        .collect();
    let batch = batch(&messages);
    let evaluation = rules.evaluate(0, 0, &batch).unwrap();
    let firings = decoded(&evaluation);
    assert!(firings.len() >= count && firings.len() <= 2 * count, "{}", firings.len());
    assert_eq!(firings, decoded(&rules.evaluate(0, 0, &batch).unwrap()));
}
