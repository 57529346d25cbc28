//! The backends as others use them: the conformance suite, and the embedded log's files over time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[cfg(feature = "fluvio")]
mod fluvio;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prometheus::Registry;
use streams::log::{EmbeddedLog, LogConfig, LogMetrics};
use streams::memory::MemoryStreams;
use streams::{Append, Error, Partition, Position, StreamName, StreamSpec, Streams, conformance};
use telemetry::Timestamp;
use telemetry::clock::{ManualClock, SystemClock};
use telemetry::trace::Tracing;

#[tokio::test]
async fn the_model_conforms() {
    conformance::run(async || MemoryStreams::new(conformance::specs(), SystemClock::shared())).await;
}

#[tokio::test]
async fn the_embedded_log_conforms() {
    let dirs = Mutex::new(Vec::new());
    conformance::run(async || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(LogConfig::default(), dir.path(), conformance::specs()).unwrap();
        dirs.lock().unwrap().push(dir);
        log
    })
    .await;
    assert_eq!(dirs.into_inner().unwrap().len(), conformance::CASES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_conforms_with_segments_of_a_record_or_two() {
    let dir = tempfile::tempdir().unwrap();
    let count = Mutex::new(0);
    let config = LogConfig { segment_bytes: 1024, ..LogConfig::default() };
    conformance::run(async || {
        let mut count = count.lock().unwrap();
        *count += 1;
        open(config.clone(), &dir.path().join(count.to_string()), conformance::specs()).unwrap()
    })
    .await;
    assert_eq!(*count.lock().unwrap(), conformance::CASES.len());
}

#[test]
fn a_directory_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(LogConfig::default(), dir.path(), conformance::specs()).unwrap();
    let second = open(LogConfig::default(), dir.path(), conformance::specs());
    assert!(matches!(second, Err(Error::Locked { path }) if path == dir.path().display().to_string()));
    drop(log);
    open(LogConfig::default(), dir.path(), conformance::specs()).unwrap();
}

#[tokio::test]
async fn streams_may_be_added_but_not_resized() {
    let dir = tempfile::tempdir().unwrap();
    let spec = |name: &str, partitions| StreamSpec { name: StreamName::new(name).unwrap(), partitions };
    drop(open(LogConfig::default(), dir.path(), vec![spec("readings", 8)]).unwrap());
    let resized = open(LogConfig::default(), dir.path(), vec![spec("readings", 4)]);
    let Err(Error::Incompatible(why)) = resized else { panic!("{resized:?}") };
    assert!(why.contains("stream readings has 8 partitions on disk and 4 were asked for"), "{why}");

    let log = open(LogConfig::default(), dir.path(), vec![spec("alerts", 2), spec("readings", 8)]).unwrap();
    let alerts = Partition::new(StreamName::alerts(), 1);
    let append = Append::new(alerts.clone(), 1, Bytes::from_static(b"x"));
    assert_eq!(log.submit(vec![append]).await.unwrap().await.unwrap(), [0]);
    drop(log);
    let log = open(LogConfig::default(), dir.path(), vec![spec("readings", 8)]).unwrap();
    assert!(matches!(log.bounds(&alerts), Err(Error::UnknownPartition(_))), "no longer asked for");
    drop(log);
    let log = open(LogConfig::default(), dir.path(), vec![spec("alerts", 2)]).unwrap();
    assert_eq!(log.read(&alerts, 0, 1).await.unwrap().records[0].payload, "x");
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (config, named) in [
        (LogConfig { segment_bytes: 1, ..LogConfig::default() }, "segment_bytes"),
        (LogConfig { quota_bytes: 1, ..LogConfig::default() }, "quota_bytes"),
        (LogConfig { record_bytes: 0, ..LogConfig::default() }, "record_bytes"),
        (LogConfig { queue_bytes: 0, ..LogConfig::default() }, "queue_bytes"),
    ] {
        let refused = open(config, dir.path(), conformance::specs());
        assert!(matches!(&refused, Err(Error::Incompatible(why)) if why.contains(named)), "{refused:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was created");
}

#[tokio::test]
async fn a_position_store_that_is_none_is_kept_beside_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("positions.redb"), b"not a database").unwrap();
    let log = open(LogConfig::default(), dir.path(), conformance::specs()).unwrap();
    assert_eq!(log.recovery().damaged_positions, 1);
    assert_eq!(fs::read(dir.path().join("positions.redb.damaged-1")).unwrap(), b"not a database");
}

#[tokio::test]
async fn a_damaged_or_lost_manifest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(LogConfig::default(), dir.path(), conformance::specs()).unwrap());
    let path = dir.path().join("manifest");
    let text = fs::read_to_string(&path).unwrap();
    for (damaged, says) in [
        (text.replace("3 readings", "2 readings"), "damaged"),
        (text.replace("streams 1", "streams 2"), "format 2"),
        (String::new(), "damaged"),
    ] {
        fs::write(&path, damaged).unwrap();
        let refused = open(LogConfig::default(), dir.path(), conformance::specs());
        assert!(matches!(&refused, Err(Error::Incompatible(why)) if why.contains(says)), "{refused:?}");
    }
    fs::remove_file(&path).unwrap();
    let refused = open(LogConfig::default(), dir.path(), conformance::specs());
    assert!(matches!(&refused, Err(Error::Io { context, .. }) if context.contains("manifest")), "{refused:?}");
}

#[tokio::test]
async fn positions_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(LogConfig::default(), dir.path(), conformance::specs()).unwrap();
    let alerts = Partition::new(StreamName::alerts(), 0);
    let append = Append::new(alerts.clone(), 1, Bytes::new());
    log.submit(vec![append]).await.unwrap().await.unwrap();
    let position = Position { offset: 1, state: Bytes::from_static(b"state") };
    log.commit(&"rules".into(), vec![(alerts.clone(), position.clone())]).await.unwrap();
    drop(log);
    let log = open(LogConfig::default(), dir.path(), conformance::specs()).unwrap();
    assert_eq!(log.position(&"rules".into(), &alerts).await.unwrap(), Some(position));
}

#[tokio::test]
async fn format_version_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture(), dir.path());
    let log = open(fixture_config(), dir.path(), conformance::specs()).unwrap();
    let found = log.recovery().clone();
    assert_eq!((found.segments, found.cut_bytes, found.quarantined_records, found.rebuilt_indexes), (2, 0, 0, 0));
    for (n, append) in (0..).zip(fixture_records()) {
        let offset = n / 2;
        let read = log.read(&append.to, offset, 0).await.unwrap();
        let record = &read.records[0];
        assert_eq!((record.offset, record.rows, &record.payload), (offset, append.rows, &append.payload));
        assert_eq!(record.appended_at, Timestamp::from_micros(FIXTURE_TIME));
    }
    let last = fixture_records().pop().unwrap();
    assert_eq!(log.submit(vec![last]).await.unwrap().await.unwrap(), [4], "and it can be written on");
}

/// Run by hand when a format version is added, never for an old one.
#[tokio::test]
#[ignore = "writes tests/fixtures anew"]
async fn write_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(fixture_config(), dir.path(), conformance::specs()).unwrap();
    for append in fixture_records() {
        log.submit(vec![append]).await.unwrap().await.unwrap();
    }
    log.close().await.unwrap();
    fs::remove_file(dir.path().join("positions.redb")).unwrap();
    fs::remove_file(dir.path().join("lock")).unwrap();
    copy(dir.path(), &fixture());
}

const FIXTURE_TIME: i64 = 1_735_689_600_123_456;

fn fixture_config() -> LogConfig {
    LogConfig { segment_bytes: 1024, ..LogConfig::default() }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log-v1")
}

/// Four records of each of two partitions, in turn.
fn fixture_records() -> Vec<Append> {
    let to = [Partition::new(StreamName::readings(), 2), Partition::new(StreamName::alerts(), 0)];
    (0..8_u8)
        .map(|n| {
            let payload = vec![n.wrapping_mul(37); 20 * usize::from(n)].into();
            Append::new(to[usize::from(n) % 2].clone(), u32::from(n) + 1, payload)
        })
        .collect()
}

fn open(config: LogConfig, dir: &Path, specs: Vec<StreamSpec>) -> Result<Arc<EmbeddedLog>, Error> {
    let metrics = LogMetrics::register(&Registry::new()).unwrap();
    let clock = ManualClock::new(Timestamp::from_micros(FIXTURE_TIME));
    EmbeddedLog::open(LogConfig { dir: dir.to_owned(), ..config }, specs, clock, Tracing::default(), metrics)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
