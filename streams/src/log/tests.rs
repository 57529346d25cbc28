//! Tests of the embedded log that need its inside: faults of the disk, damage, retention, the model.

mod append;
mod damage;
mod faults;
mod model;
mod positions;
mod retention;
mod tail;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use telemetry::clock::ManualClock;
use telemetry::trace::Tracing;
use telemetry::{Clock, Timestamp};

use super::disk::{Disk, DiskFile};
use super::{EmbeddedLog, LogConfig, LogMetrics};
use crate::contract::{Append, AppendError, Error, Partition, StreamName, StreamSpec, Streams};

/// A disk whose syncs do nothing: for tests that open the log a thousand times and cut no power.
#[derive(Debug)]
struct FastDisk;

impl Disk for FastDisk {
    fn sync(&self, _: &DiskFile) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether it is a segment, and not the store of positions or a file on the way to its name.
fn is_segment(file: &DiskFile) -> bool {
    file.path.extension().is_some_and(|extension| extension == "log")
}

fn specs() -> Vec<StreamSpec> {
    vec![
        StreamSpec { name: StreamName::readings(), partitions: 2 },
        StreamSpec { name: StreamName::alerts(), partitions: 1 },
    ]
}

fn partitions() -> [Partition; 3] {
    [readings(0), readings(1), Partition::new(StreamName::alerts(), 0)]
}

fn readings(index: u32) -> Partition {
    Partition::new(StreamName::readings(), index)
}

/// Settings with room for everything, in `dir`.
fn roomy(dir: &Path) -> LogConfig {
    LogConfig { dir: dir.to_owned(), ..LogConfig::default() }
}

/// Settings with the smallest segments.
fn small(dir: &Path) -> LogConfig {
    LogConfig { segment_bytes: 1024, ..roomy(dir) }
}

fn clock() -> Arc<ManualClock> {
    ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000))
}

fn metrics() -> LogMetrics {
    LogMetrics::register(&Registry::new()).unwrap()
}

fn open(config: LogConfig) -> Arc<EmbeddedLog> {
    open_on(Arc::new(FastDisk), config, clock()).unwrap()
}

fn open_on(disk: Arc<dyn Disk>, config: LogConfig, clock: Arc<dyn Clock>) -> Result<Arc<EmbeddedLog>, Error> {
    EmbeddedLog::open_on(disk, config, specs(), clock, Tracing::default(), metrics())
}

fn record(to: &Partition, payload: impl Into<bytes::Bytes>) -> Append {
    Append::new(to.clone(), 1, payload.into())
}

async fn append(log: &EmbeddedLog, group: Vec<Append>) -> Result<Vec<u64>, AppendError> {
    log.submit(group).await?.await
}

/// Waits until the writer did all that follows from the appends so far: sealing comes after the answer.
async fn settle(log: &EmbeddedLog) {
    append(log, Vec::new()).await.unwrap();
}

/// Payloads of a partition by offset, and how many offsets were lost.
async fn contents(log: &EmbeddedLog, of: &Partition) -> (Vec<(u64, bytes::Bytes)>, u64) {
    let mut offset = log.bounds(of).unwrap().start;
    let (mut records, mut lost) = (Vec::new(), 0);
    loop {
        let read = log.read(of, offset, 4096).await.unwrap();
        lost += read.lost;
        if read.next == offset {
            return (records, lost);
        }
        records.extend(read.records.into_iter().map(|record| (record.offset, record.payload)));
        offset = read.next;
    }
}

/// Files of `dir/segments` with the extension `kind`, in order.
fn segment_files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .collect();
    files.sort();
    files
}

/// Waits until `done`, which some other thread brings about.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}
