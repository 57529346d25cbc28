use std::path::PathBuf;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use telemetry::batch::ReadingsBuilder;
use telemetry::clock::ManualClock;
use telemetry::schema::reading;
use telemetry::{Identity, Message, Reading, Value};

use super::*;

/// 2014-01-01T00:00:00Z.
const START: i64 = 1_388_534_400_000_000;
const HOUR: i64 = 3_600_000_000;

/// One message: device, seq, microseconds after [`START`], metrics.
type Sent<'a> = (&'a str, i64, i64, &'a [(&'a str, f64)]);

fn push(builder: &mut ReadingsBuilder, (device, seq, after, metrics): Sent<'_>) {
    let reading = |(metric, value): &(&'static str, f64)| Reading {
        metric: (*metric).into(),
        time: Timestamp::from_micros(START + after),
        value: Value::Number(*value),
        unit: None,
    };
    let metrics: Vec<(&'static str, f64)> =
        metrics.iter().map(|(name, value)| (if *name == "t" { "t" } else { "h" }, *value)).collect();
    let message = Message {
        device_id: device.into(),
        site: None,
        identity: Some(Identity { boot: 1, seq }),
        readings: metrics.iter().map(reading).collect(),
        ignored_fields: 0,
    };
    builder.push(&message, Timestamp::from_micros(START + after + 5));
}

fn stream(sent: &[Sent<'_>]) -> RecordBatch {
    let mut builder = ReadingsBuilder::default();
    sent.iter().for_each(|sent| push(&mut builder, *sent));
    builder.finish()
}

/// A table of one file for each of `files`.
fn table(directory: &Path, files: &[RecordBatch]) -> PathBuf {
    let table = directory.join("readings");
    std::fs::create_dir_all(table.join("_delta_log")).unwrap();
    let schema = r#"{\"type\":\"struct\",\"fields\":[]}"#;
    let mut log = format!(
        "{{\"protocol\":{{\"minReaderVersion\":1,\"minWriterVersion\":2}}}}\n{{\"metaData\":{{\"id\":\"t\",\"format\":\
         {{\"provider\":\"parquet\",\"options\":{{}}}},\"schemaString\":\"{schema}\",\"partitionColumns\":[],\
         \"configuration\":{{}},\"createdTime\":0}}}}\n"
    );
    for (number, batch) in files.iter().enumerate() {
        let name = format!("part-{number}.parquet");
        let batch = batch.project(&(0..reading::TABLE_COLUMNS).collect::<Vec<_>>()).unwrap();
        let file = std::fs::File::create(table.join(&name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let size = std::fs::metadata(table.join(&name)).unwrap().len();
        log += &format!(
            "{{\"add\":{{\"path\":\"{name}\",\"partitionValues\":{{}},\"size\":{size},\"modificationTime\":0,\"dataChange\":true}}}}\n"
        );
    }
    std::fs::write(table.join("_delta_log/00000000000000000000.json"), log).unwrap();
    table
}

const HOT: &str =
    "[[rule]]\nid = \"hot\"\nwhen = \"metric = 't' AND value > 80\"\nseverity = \"info\"\nmessage = \"{value}\"\n";
const COOL: &str = "cooldown = \"1h\"\n";
const DRY: &str =
    "[[rule]]\nid = \"dry\"\nwhen_message = \"t > 80 AND h < 20\"\nseverity = \"info\"\nmessage = \"m\"\n";

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text, "test").unwrap()
}

fn tally(table: &Path, rules: &RuleSet, selection: &Selection) -> (Read, Tally) {
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let mut tally = Tally::new(rules.rules().len());
    let read = recorded::each(table, selection, |batch| tally.add(rules, batch, clock.as_ref())).unwrap();
    (read, tally)
}

const SENT: [Sent<'_>; 5] = [
    ("a", 1, 0, &[("t", 90.0), ("h", 10.0)]),
    ("a", 2, HOUR / 2, &[("t", 91.0), ("h", 50.0)]),
    ("a", 3, HOUR, &[("t", 92.0)]),
    ("b", 1, HOUR, &[("t", 95.0), ("h", 5.0)]),
    ("b", 2, 25 * HOUR, &[("t", 20.0), ("h", 5.0)]),
];

#[test]
fn firings_of_the_table_have_the_ids_of_the_stream() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), &[stream(&SENT[..2]), stream(&SENT[2..])]);
    let rules = rules(&format!("{HOT}{DRY}"));
    let (read, tally) = tally(&table, &rules, &Selection { messages: true, ..Selection::default() });
    assert_eq!((read.files, read.rows), (2, 9));

    let live = stream(&SENT);
    let live = rules.evaluate(3, 77, &live).unwrap();
    let mut expected: Vec<_> = live.firings_of_all().map(|fired| (fired.rule, fired.run_id)).collect();
    expected.sort_unstable();
    let mut found: Vec<_> = tally.firings().iter().map(|firing| (firing.rule, firing.run_id)).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 6, "four hot readings, two dry messages");
}

#[test]
fn a_cool_down_leaves_one_firing_a_device_and_bucket_at_its_earliest_reading() {
    let directory = tempfile::tempdir().unwrap();
    // The later file holds the earlier reading.
    let table = table(directory.path(), &[stream(&SENT[1..]), stream(&SENT[..1])]);
    let rules = rules(&format!("{HOT}{COOL}"));
    let (_, tally) = tally(&table, &rules, &Selection::default());
    assert_eq!(tally.rules[0].matches, 4);
    let firings = tally.firings();
    let found: Vec<_> = firings.iter().map(|firing| (firing.device, firing.time.as_micros() - START)).collect();
    assert_eq!(found, [("a", 0), ("a", HOUR), ("b", HOUR)]);
    assert_eq!(tally::of_rule(&firings, 0), (3, 2));
    assert_eq!(
        report::top(&tally::by_device_and_day(&firings), 1),
        report::Top {
            first: vec![report::DeviceDay { device: "a".into(), day: "2014-01-01".into(), firings: 2 }],
            others: 1,
            others_firings: 1,
        }
    );
}

#[test]
fn the_selection_takes_from_and_leaves_out_to() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), &[stream(&SENT[..3]), stream(&SENT[3..])]);
    let at = |after: i64| Some(Timestamp::from_micros(START + after));
    let rows = |from, to, devices: &[&str]| {
        let devices = devices.iter().map(|device| (*device).to_owned()).collect();
        let selection = Selection { from, to, devices, messages: false };
        tally(&table, &rules(HOT), &selection).0.rows
    };
    assert_eq!(rows(None, None, &[]), 9);
    assert_eq!(rows(at(HOUR), None, &[]), 5);
    assert_eq!(rows(at(HOUR), at(25 * HOUR), &[]), 3);
    assert_eq!(rows(None, at(0), &[]), 0);
    assert_eq!(rows(None, None, &["b"]), 4);
    assert_eq!(rows(at(HOUR), None, &["a"]), 1);
}

#[test]
fn two_rule_sets_are_compared_by_device_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), &[stream(&SENT)]);
    let first = rules(&format!("{HOT}{DRY}"));
    let second = rules(&format!("{}{}", HOT.replace("80", "91"), HOT.replace("hot", "any").replace("80", "0")));
    let (_, of_first) = tally(&table, &first, &Selection { messages: true, ..Selection::default() });
    let (_, of_second) = tally(&table, &second, &Selection { messages: true, ..Selection::default() });
    let found = difference((&first, &of_first.firings()), (&second, &of_second.firings()));
    assert_eq!((found.rules_only_first, found.rules_only_second), (vec!["dry".to_owned()], vec!["any".to_owned()]));
    let hot = &found.by_rule[0];
    assert_eq!((hot.only_first, hot.only_second, hot.common), (2, 0, 2));
    assert_eq!((found.firings_only_first, found.firings_only_second, found.firings_common), (0, 1, 4));
}

#[test]
fn the_report_has_the_score_of_each_rule_and_of_all() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), &[stream(&SENT)]);
    let labels = directory.path().join("labels.json");
    std::fs::write(&labels, r#"{"x": [["2014-01-01 00:30:00", "2014-01-01 02:00:00"]]}"#).unwrap();
    let labels = Labels::read(&labels, None).unwrap();
    let sets = [(Path::new("r.toml"), rules(&format!("{HOT}{DRY}")))];
    let (read, tally) = tally(&table, &sets[0].1, &Selection { messages: true, ..Selection::default() });
    let tallies = [tally];
    let firings: Vec<_> = tallies.iter().map(Tally::firings).collect();
    let report = report(read, &sets, &tallies, &firings, Some(&labels), 10);
    let score = |at: usize| report.sets[0].rules[at].score.clone().unwrap();
    assert_eq!((score(0).precision, score(0).recall), (Some(0.75), Some(1.0)));
    assert_eq!(score(0).seconds_to_detect, [Some(0.0)]);
    assert_eq!((score(1).precision, score(1).seconds_to_detect), (Some(0.5), vec![Some(1800.0)]));
    let shown = report.to_string();
    assert!(shown.contains("0.750 (3 of 4)") && shown.contains("all together"), "{shown}");
    assert_eq!(serde_json::to_value(&report).unwrap()["sets"][0]["rules"][0]["firings"], 4);
}

#[test]
fn a_name_with_a_comma_stays_one_field() {
    assert_eq!((quoted("pump-1").as_str(), quoted("a,\"b\"").as_str()), ("pump-1", "\"a,\"\"b\"\"\""));
}

#[test]
fn what_is_no_table_of_readings_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = recorded::each(directory.path(), &Selection::default(), |_| Ok(())).unwrap_err();
    assert!(format!("{error:#}").contains(&directory.path().display().to_string()), "{error:#}");
}
