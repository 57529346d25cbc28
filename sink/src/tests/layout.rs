//! Commits, restarts, what is refused when a table is opened.

use std::fs;
use std::sync::Arc;

use prometheus::Encoder;
use streams::consume::Effect;
use telemetry::Clock;
use telemetry::trace::Tracing;

use super::support::{ALL, Fixture, HOUR, START, apply, logged, passed, row, seqs};
use crate::{SinkError, Table, TableSink, TableSpec};

#[tokio::test]
async fn two_commits_and_a_restart_add_up() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    assert_eq!(sink.recovered(0), None);
    assert_eq!(fixture.table().version(), 0, "a new table is one that readers can open");
    apply(&mut sink, 0, 0, &[row("a", START, 0), row("a", START + HOUR, 1)]).await;
    apply(&mut sink, 1, 7, &[row("b", START, 2)]).await;
    sink.flush(&passed(&[(0, 1), (1, 8), (2, 0)])).await.unwrap();
    // Late data: the hour has a file already and gets another.
    apply(&mut sink, 0, 1, &[row("a", START + 1, 3)]).await;
    sink.flush(&passed(&[(0, 3), (1, 8), (2, 0)])).await.unwrap();
    drop(sink);

    let sink = fixture.open();
    assert_eq!([0, 1, 2].map(|partition| sink.recovered(partition)), [Some(3), Some(8), None]);
    let table = fixture.table();
    assert_eq!(table.version(), 2);
    assert_eq!(table.position("readings", 1), Some(8));
    assert_eq!(logged(&table), fixture.glob());
    assert_eq!(table.files().iter().map(|file| file.rows.unwrap()).sum::<u64>(), 4);
    assert!(table.files().iter().all(|file| file.path.metadata().unwrap().len() == file.size));
    assert_eq!(seqs(&fixture.glob()), [0, 1, 2, 3]);
    assert_eq!(fs::read_dir(fixture.config.staging.join("readings")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_position_without_rows_is_committed_once() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    sink.flush(&passed(&[(0, 0), (1, 0)])).await.unwrap();
    assert_eq!(fixture.table().version(), 0);
    sink.flush(&passed(&[(0, 5), (1, 0)])).await.unwrap();
    sink.flush(&passed(&[(0, 5), (1, 0)])).await.unwrap();
    sink.flush(&passed(&[(0, 3), (1, 0)])).await.unwrap();
    let table = fixture.table();
    assert_eq!((table.version(), table.files().len()), (1, 0));
    assert_eq!((sink.recovered(0), sink.recovered(1)), (Some(5), None));
}

#[tokio::test]
async fn another_writers_commit_is_a_conflict_and_stops_the_sink() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    let theirs = fixture.table_dir().join("_delta_log/00000000000000000001.json");
    fs::write(&theirs, "{\"commitInfo\":{\"operation\":\"OPTIMIZE\"}}\n").unwrap();
    apply(&mut sink, 0, 0, &[row("a", START, 0)]).await;
    let error = sink.flush(&passed(&[(0, 1)])).await.unwrap_err();
    assert!(matches!(error.source.downcast_ref(), Some(SinkError::Conflict { path }) if *path == theirs), "{error}");
    assert!(fs::read_to_string(&theirs).unwrap().contains("OPTIMIZE"), "their commit stands");
    let error = sink.flush(&passed(&[(0, 1)])).await.unwrap_err();
    assert!(matches!(error.source.downcast_ref(), Some(SinkError::Stopped)), "{error}");
    drop(sink);
    let mut sink = fixture.open();
    assert_eq!(fixture.glob().len(), 0, "what was placed is gone");
    assert_eq!(sink.recovered(0), None);
    apply(&mut sink, 0, 0, &[row("a", START, 0)]).await;
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    assert_eq!((fixture.table().version(), seqs(&fixture.glob())), (2, vec![0]));
}

#[tokio::test]
async fn one_table_has_one_writer() {
    let fixture = Fixture::new();
    let sink = fixture.open();
    assert!(matches!(fixture.try_open(), Err(SinkError::Locked { .. })));
    drop(sink);
    fixture.open();
}

#[tokio::test]
async fn a_committed_file_that_is_missing_or_cut_is_named() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    apply(&mut sink, 0, 0, &[row("a", START, 0)]).await;
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    drop(sink);
    let file = fixture.glob().remove(0);
    let content = fs::read(&file).unwrap();
    fs::write(&file, &content[1..]).unwrap();
    let error = fixture.try_open().unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()) && error.contains("was committed with"), "{error}");
    fs::remove_file(&file).unwrap();
    let error = fixture.try_open().unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()) && error.contains("is missing"), "{error}");
    fs::write(&file, &content).unwrap();
    fixture.open();
}

#[tokio::test]
async fn a_log_that_is_cut_torn_or_gone_is_refused_and_no_row_deleted() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    for offset in 0..3 {
        apply(&mut sink, 0, offset, &[row("a", START, 0)]).await;
        sink.flush(&passed(&[(0, offset + 1)])).await.unwrap();
    }
    drop(sink);
    let log = fixture.table_dir().join("_delta_log");
    let commit = |version: u64| log.join(format!("{version:020}.json"));
    let files = fixture.glob();
    let refused = |part: &str| {
        let error = fixture.try_open().unwrap_err();
        assert!(matches!(error, SinkError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(fixture.glob(), files, "nothing was deleted");
    };
    let last = fs::read(commit(3)).unwrap();
    fs::write(commit(3), &last[..last.len() / 2]).unwrap();
    refused("00000000000000000003.json: line");
    fs::write(commit(3), "").unwrap();
    refused("00000000000000000003.json: the commit is empty");
    fs::write(commit(3), &last).unwrap();
    fs::rename(commit(1), log.join("kept")).unwrap();
    refused("00000000000000000001.json: the commit is missing");
    fs::rename(log.join("kept"), commit(1)).unwrap();
    fs::rename(&log, fixture.dir.path().join("kept")).unwrap();
    refused("the log is empty, but");
}

#[tokio::test]
async fn files_of_others_and_links_are_left_alone() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    apply(&mut sink, 0, 10, &[row("a", START, 0)]).await;
    sink.flush(&passed(&[(0, 11)])).await.unwrap();
    drop(sink);
    let hour = fixture.table_dir().join("date=2026-07-28/hour=09");
    let outside = fixture.dir.path().join("outside");
    fs::create_dir_all(outside.join("hour=00")).unwrap();
    let uncommitted = "part-00000-00000000000000000011-00000000000000000011.parquet";
    let kept = [
        hour.join("mine.parquet"),
        // Its rows count as stored, so nobody could write it again.
        hour.join("part-00000-00000000000000000003-00000000000000000004.parquet"),
        outside.join("hour=00").join(uncommitted),
    ];
    kept.iter().for_each(|path| fs::write(path, "x").unwrap());
    std::os::unix::fs::symlink(&outside, fixture.table_dir().join("date=2020-01-01")).unwrap();
    fs::write(hour.join(uncommitted), "x").unwrap();
    fixture.open();
    assert!(kept.iter().all(|path| path.exists()));
    assert!(!hour.join(uncommitted).exists());
}

#[tokio::test]
async fn contradictory_settings_are_named() {
    let refused = |change: fn(&mut Fixture), part: &str| {
        let mut fixture = Fixture::new();
        change(&mut fixture);
        let error = fixture.try_open().unwrap_err();
        assert!(matches!(error, SinkError::Config(_)), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(|fixture| fixture.config.staging = fixture.config.root.join("staging"), "outside sink.root");
    refused(|fixture| fixture.config.roll_rows = 0, "sink.roll_rows is 0");
    refused(|fixture| fixture.config.roll_bytes = 0, "sink.roll_bytes is 0");
    refused(|fixture| fixture.config.roll_age = std::time::Duration::ZERO, "sink.roll_age is 0ns");
    refused(|fixture| fixture.config.checkpoint_commits = 0, "sink.checkpoint_commits is 0");
}

#[tokio::test]
async fn a_table_of_other_columns_or_more_partitions_is_refused() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    sink.flush(&passed(&[(3, 5)])).await.unwrap();
    drop(sink);
    let open = |spec: TableSpec, partitions: &[u32]| {
        let clock: Arc<dyn Clock> = fixture.clock.clone();
        TableSink::open(&fixture.config, spec, partitions, clock, Tracing::default(), &fixture.metrics).map(drop)
    };
    let error = open(TableSpec::readings(), &[0, 1, 2]).unwrap_err();
    assert!(error.to_string().contains("partition 3, but the stream has 3"), "{error}");
    let alerts = TableSpec { name: "readings".into(), ..TableSpec::alerts() };
    assert!(matches!(open(alerts, &ALL), Err(SinkError::Incompatible { .. })));
    open(TableSpec::alerts(), &ALL).unwrap();
    assert_eq!(Table::open_read(&fixture.config.root.join("alerts")).unwrap().version(), 0);
}

#[tokio::test]
async fn a_table_that_needs_a_newer_protocol_is_refused() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let newer =
        "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":[\"deletionVectors\"]}}";
    fs::write(fixture.table_dir().join("_delta_log/00000000000000000001.json"), newer).unwrap();
    let error = fixture.try_open().unwrap_err();
    assert!(matches!(error, SinkError::Incompatible { .. }), "{error}");
    assert!(error.to_string().contains("reader version 3 and writer version 7"), "{error}");
}

#[tokio::test]
async fn what_was_committed_is_counted() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    apply(&mut sink, 0, 0, &[row("a", START, 0), row("b", START + HOUR, 1)]).await;
    let shown = |line: &str| {
        let mut text = Vec::new();
        prometheus::TextEncoder::new().encode(&fixture.registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    };
    shown("weir_sink_buffered_rows{table=\"readings\"} 2");
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    shown("weir_sink_buffered_rows{table=\"readings\"} 0");
    shown("weir_sink_buffered_bytes{table=\"readings\"} 0");
    shown("weir_sink_committed_rows_total{table=\"readings\"} 2");
    shown("weir_sink_committed_files_total{table=\"readings\"} 2");
    shown("weir_sink_commit_seconds_count{table=\"readings\"} 1");
    let bytes: u64 = fixture.table().files().iter().map(|file| file.size).sum();
    shown(&format!("weir_sink_committed_bytes_total{{table=\"readings\"}} {bytes}"));
}
