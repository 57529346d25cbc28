mod world;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sink::TableSpec;
use streams::consume::{Effect, Passed};
use telemetry::Identity;

use self::world::{PARTITIONS, World};
use super::view::{Fate, StoredRow};
use super::*;

/// Devices of one partition.
fn neighbours() -> Vec<&'static str> {
    let names = ["pump-0", "pump-1", "pump-2", "pump-3", "pump-4", "pump-5", "pump-6", "pump-7"];
    names.into_iter().filter(|name| telemetry::partition::of_device(name, PARTITIONS) == 0).collect()
}

/// Device and number of the message that is at the place that `row` names.
fn at(world: &World, table: &str, row: &StoredRow) -> (String, i64) {
    let file = std::fs::File::open(world.dir.path().join("tables").join(table).join(&row.file)).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_row_groups(vec![row.row_group]);
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    let devices = batch.column_by_name("device_id").unwrap().as_string::<i32>().clone();
    let seqs = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().clone();
    (devices.value(row.row).to_owned(), seqs.value(row.row))
}

fn fates(explanation: &Explanation) -> Vec<(u64, Fate)> {
    explanation.copies.iter().map(|copy| (copy.offset, copy.fate)).collect()
}

#[tokio::test]
async fn a_stored_message_is_followed_to_its_rows_and_to_what_it_fired() {
    let (world, devices) = (World::new(), neighbours());
    for seq in 1..=5 {
        world.publish(&devices, seq, 20.0).await;
    }
    world.tables().await;
    let offset = world.publish(&devices, 6, 99.5).await;
    world.publish(&devices, 7, 20.0).await;
    world.rules().await;
    world.tables().await;

    let told = world.explain(devices[1], 6).await;
    assert_eq!((told.verdict, told.says.as_str()), (Verdict::Stored, "in the table once: 2 readings"));
    assert_eq!(fates(&told), [(offset, Fate::Kept)]);
    assert_eq!(told.copies[0].row, 2, "behind the two readings of the device before");
    assert!(told.searched.is_all() || told.searched.from <= offset, "{:?}", told.searched);
    let metrics: Vec<(&str, Option<f64>)> =
        told.readings.iter().map(|reading| (reading.metric.as_str(), reading.value.as_f64())).collect();
    assert_eq!(metrics, [("temperature", Some(99.5)), ("humidity", Some(12.5))]);

    assert_eq!(told.table.rows.len(), 2);
    for row in &told.table.rows {
        assert_eq!(at(&world, "readings", row), (devices[1].to_owned(), 6));
        assert_eq!((row.version, row.offsets), (Some(2), Some((5, 6))), "the second commit");
        assert!(row.committed_at.is_some() && row.received_at == told.copies[0].received_at);
    }
    assert_eq!(told.table.position, Some(7));
    // One file of each commit is of the partition; footers alone leave out the older one.
    assert_eq!((told.table.files, told.table.files_left), (2, 0));

    let [alert] = told.alerts.as_slice() else { panic!("{:?}", told.alerts) };
    assert_eq!((alert.rule.as_str(), alert.source_offset, alert.fate), ("hot", offset, Fate::Kept));
    assert_eq!(alert.message, format!("{} is at 99.5", devices[1]));
    let [row] = told.alerts_table.rows.as_slice() else { panic!("{:?}", told.alerts_table) };
    assert_eq!(at(&world, "alerts", row), (devices[1].to_owned(), 6));
    assert_eq!(row.alert_id.as_ref(), Some(&alert.alert_id));
    let [run] = told.runs.as_slice() else { panic!("{:?}", told.runs) };
    assert_eq!(
        (run.id.as_str(), run.offset, run.note.as_deref()),
        (&*alert.alert_id, Some(0), Some("no workflows run here"))
    );
    let groups: Vec<(&str, u64)> = told.groups.iter().map(|group| (group.group.as_str(), group.position)).collect();
    assert!(groups.contains(&("rules", 7)) && groups.contains(&("sink/readings", 7)), "{groups:?}");

    let text = text::text(&told).unwrap();
    for part in [
        &*alert.alert_id,
        "offset 5 row 2",
        "row 4 of row group 0: temperature",
        &told.table.rows[0].file,
        "99.5",
        "hot",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_message_that_came_again_is_told_with_the_copy_that_is_left_out() {
    let world = World::new();
    let first = world.publish(&["pump-1"], 1, 99.0).await;
    world.publish(&["pump-1"], 2, 20.0).await;
    let again = world.publish(&["pump-1"], 1, 99.0).await;
    world.rules().await;
    let before = world.explain("pump-1", 1).await;
    assert_eq!(
        (before.verdict, fates(&before)),
        (Verdict::InStream, vec![(first, Fate::Kept), (again, Fate::LeftOut)]),
        "without a table"
    );
    world.tables().await;
    let late = world.publish(&["pump-1"], 1, 99.0).await;
    let told = world.explain("pump-1", 1).await;
    assert_eq!(told.verdict, Verdict::Stored, "{}", told.says);
    assert_eq!(fates(&told), [(first, Fate::Kept), (again, Fate::LeftOut), (late, Fate::LeftOut)]);
    assert_eq!(told.alerts.len(), 1, "{:?}", told.alerts);
    assert_eq!(text::text(&told).unwrap().matches("came again, left out").count(), 2);
}

#[tokio::test]
async fn a_message_not_yet_in_the_table_says_how_far_the_table_is() {
    let world = World::new();
    world.publish(&["pump-1"], 1, 20.0).await;
    world.tables().await;
    for seq in 2..=4 {
        world.publish(&["pump-1"], seq, 20.0).await;
    }
    let told = world.explain("pump-1", 3).await;
    assert_eq!(told.verdict, Verdict::Waiting);
    assert_eq!(told.says, "in the stream at offset 2, not yet in the table: it is at 1 of 4, 3 records behind");
    assert!(told.verdict.is_well() && told.alerts.is_empty());
    assert_eq!(told.notes, [""; 0], "nobody evaluates rules");
    world.rules().await;
    world.publish(&["pump-1"], 5, 99.0).await;
    let told = world.explain("pump-1", 5).await;
    assert_eq!(
        told.notes,
        [
            "group rules has not passed the message at offset 4 of readings: by what it committed it is at 4 of 5, 1 records \
          behind"
        ]
    );
    world.rules().await;
    let told = world.explain("pump-1", 5).await;
    assert_eq!(told.notes, ["the table of alerts does not hold offset 0 yet: it is at 0 of 1"]);
}

#[tokio::test]
async fn a_message_that_nobody_sent_says_what_was_searched() {
    let world = World::new();
    world.publish(&["pump-1"], 1, 20.0).await;
    world.tables().await;
    world.publish(&["pump-1"], 2, 20.0).await;
    world.letter(b"nonsense", "hall/pump-2/telemetry", None).await;
    let told = world.explain("pump-1", 9).await;
    assert_eq!(told.verdict, Verdict::Unknown);
    let partition = telemetry::partition::of_device("pump-1", PARTITIONS);
    for part in [
        "the table as of version 1, 1 files",
        &format!("readings/{partition} offsets 0..2 (all there ever was)"),
        "workflow_dead_letters/0 offsets 0..0",
        "dead_letters/0 offsets 0..1",
    ] {
        assert!(told.says.contains(part), "{part}: {}", told.says);
    }
    assert!(!told.verdict.is_well() && told.letters.is_empty());
}

#[tokio::test]
async fn a_refused_message_is_found_by_its_payload_or_by_what_the_transport_said() {
    let world = World::new();
    let payload = br#"[{"n":"boot","v":1},{"n":"seq","v":7},{"n":"temperature","v":21.5}]"#;
    world.letter(payload, "hall/pump-1/telemetry", None).await;
    let told = world.explain("pump-1", 7).await;
    assert_eq!((told.verdict, told.says.as_str()), (Verdict::Refused, "refused: future_time, dead letter ingest-0-0"));
    assert_eq!(world.explain("pump-1", 8).await.letters, [], "another message of the device");
    assert_eq!(world.explain("pump-2", 7).await.letters, [], "the same message of another device");

    world.letter(&[0xff, 0xfe], "hall/pump-1/telemetry", Some(Identity { boot: 1, seq: 8 })).await;
    assert_eq!(world.explain("pump-1", 8).await.verdict, Verdict::Refused);
    // Not known whose it is but for the device: told, and no verdict.
    world.letter(&[0xff, 0xfe], "hall/pump-1/telemetry", None).await;
    let told = world.explain("pump-1", 9).await;
    assert_eq!((told.verdict, told.letters.len(), told.letters[0].exact), (Verdict::Unknown, 1, false));
}

#[tokio::test]
async fn what_the_stream_no_longer_has_is_told_from_the_table() {
    let world = World::new();
    for seq in 1..=4 {
        world.publish(&["pump-1"], seq, 20.0).await;
    }
    world.tables().await;
    world.forget(3);
    let told = world.explain("pump-1", 2).await;
    assert_eq!((told.verdict, told.copies.len(), told.readings.len()), (Verdict::Stored, 0, 2));
    let text = text::text(&told).unwrap();
    assert!(text.contains("which is retained from 3 on"), "{text}");
}

#[tokio::test]
async fn a_message_that_the_table_passed_over_is_missing() {
    let world = World::new();
    let partition = telemetry::partition::of_device("pump-1", PARTITIONS);
    let offset = world.publish(&["pump-1"], 1, 20.0).await;
    let mut table = world.open(TableSpec::readings());
    table.flush(&[Passed { partition, next: offset + 1 }]).await.unwrap();
    drop(table);
    let told = world.explain("pump-1", 1).await;
    assert_eq!((told.verdict, fates(&told)), (Verdict::Missing, vec![(0, Fate::Kept)]), "{}", told.says);
    assert!(told.says.contains("the table is past it, at 1, and does not hold it"), "{}", told.says);
}

#[tokio::test]
async fn a_bound_ends_the_search_and_is_told() {
    let world = World::new();
    for seq in 1..=300 {
        world.publish(&["pump-1"], seq, 20.0).await;
    }
    let bounds = Bounds { bytes: 50_000, ..Bounds::REQUEST };
    let told = world.explain_within("pump-1", 1, bounds).await;
    assert_eq!(told.verdict, Verdict::Unknown);
    assert!(told.searched.from > 0 && !told.searched.is_all(), "{:?}", told.searched);
    assert!(told.says.contains(&format!("offsets {}..300 (of 0..300 retained)", told.searched.from)), "{}", told.says);
    assert_eq!(world.explain("pump-1", 1).await.verdict, Verdict::InStream, "with more it is found");

    world.tables().await;
    let told = world.explain_within("pump-1", 1, Bounds { time: Duration::ZERO, ..Bounds::REQUEST }).await;
    assert_eq!((told.verdict, told.table.files, told.table.files_left), (Verdict::Unknown, 0, 1));
    assert!(told.says.contains("0 of 1 files of the table"), "{}", told.says);
}

#[tokio::test]
async fn a_table_elsewhere_is_looked_into_and_judged_again() {
    let world = World::new();
    world.publish(&["pump-1"], 1, 20.0).await;
    world.tables().await;
    let elsewhere = world.dir.path().join("elsewhere");
    std::fs::rename(world.dir.path().join("tables"), &elsewhere).unwrap();
    let mut told = world.explain("pump-1", 1).await;
    assert_eq!(told.verdict, Verdict::InStream);
    assert_eq!(told.table.problem.as_deref(), Some("there is no table here"));
    look_into(&mut told, &Tables::beside(&elsewhere.join("readings")), world.clock.clone()).await.unwrap();
    assert_eq!((told.verdict, fates(&told)), (Verdict::Stored, vec![(0, Fate::Kept)]));
    let json = serde_json::to_string(&told).unwrap();
    let back: Explanation = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json, "the command reads what the process writes");
    assert!(json.starts_with(r#"{"device":"pump-1","boot":1,"seq":1,"verdict":"stored""#), "{json}");
}
