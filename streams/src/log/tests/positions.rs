//! The store of positions, damaged and written again.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{FastDisk, append, clock, contents, open, open_on, readings, record, segment_files, settle, small};
use crate::contract::{GroupName, Position, Streams};
use crate::log::disk::{Disk, DiskFile};
use crate::log::{EmbeddedLog, LogConfig};

async fn pass(log: &EmbeddedLog, group: &str, offset: u64) {
    let position = Position { offset, state: Bytes::from_static(b"state") };
    log.commit(&GroupName::from(group), vec![(readings(0), position)]).await.unwrap();
}

async fn fill(log: &EmbeddedLog, records: u64) {
    for n in 0..records {
        append(log, vec![record(&readings(0), n.to_le_bytes().repeat(20))]).await.unwrap();
    }
    settle(log).await;
    settle(log).await;
}

/// Damages every page but the first, whose header would still be believed.
fn damage(config: &LogConfig) {
    let path = config.dir.join("positions.redb");
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().skip(4096).step_by(64).for_each(|byte| *byte ^= 1);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_store_is_put_aside_and_nothing_is_deleted_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    let log = open(config.clone());
    pass(&log, "rules", 0).await;
    pass(&log, "sink/readings", 0).await;
    fill(&log, 30).await;
    pass(&log, "rules", 20).await;
    drop(log);
    config.retention_bytes = 2_000;
    damage(&config);

    let log = open(config.clone());
    assert_eq!(log.recovery().damaged_positions, 1);
    assert_eq!(log.position(&"rules".into(), &readings(0)).await.unwrap(), None);
    assert_eq!(contents(&log, &readings(0)).await.0.len(), 30, "the other group had passed nothing");
    pass(&log, "rules", 30).await;
    settle(&log).await;
    assert_eq!(log.bounds(&readings(0)).unwrap().start, 0, "a group may still be missing");
    drop(log);
    let log = open(config.clone());
    assert_eq!(log.recovery().damaged_positions, 1, "a restart does not forget it");
    assert_eq!(log.shared.metrics.damaged_positions.get(), 1);
    pass(&log, "sink/readings", 30).await;
    drop(log);

    fs::remove_file(dir.path().join("positions.redb.damaged-1")).unwrap();
    let log = open(config.clone());
    assert_eq!(log.recovery().damaged_positions, 0);
    assert!(log.bounds(&readings(0)).unwrap().start > 0, "retention goes on");
    assert_eq!(log.position(&"rules".into(), &readings(0)).await.unwrap().unwrap().offset, 30);
    drop(log);
    damage(&config);
    drop(open(config.clone()));
    fs::write(dir.path().join("positions.redb"), b"").unwrap();
    assert_eq!(open(config).recovery().damaged_positions, 2, "each gets its own name");
}

/// Found by `chaos quick --only store --seed 3`: the first bytes overwritten, which redb takes for another's file.
#[tokio::test]
async fn a_store_whose_first_bytes_are_overwritten_is_put_aside_too() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(small(dir.path())));
    let path = dir.path().join("positions.redb");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..100].fill(0xA5);
    fs::write(path, bytes).unwrap();
    assert_eq!(open(small(dir.path())).recovery().damaged_positions, 1);
}

#[tokio::test]
async fn a_position_before_the_log_is_moved_to_its_first_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    config.retention_bytes = 2_000;
    let log = open(config.clone());
    fill(&log, 3).await;
    pass(&log, "rules", 3).await;
    drop(log);
    let earlier = fs::read(dir.path().join("positions.redb")).unwrap();
    let log = open(config.clone());
    fill(&log, 40).await;
    pass(&log, "rules", 43).await;
    settle(&log).await;
    settle(&log).await;
    let start = log.bounds(&readings(0)).unwrap().start;
    assert!(start > 3);
    drop(log);
    fs::write(dir.path().join("positions.redb"), earlier).unwrap();
    let log = open(config);
    let position = log.position(&"rules".into(), &readings(0)).await.unwrap().unwrap();
    assert_eq!(position, Position { offset: start, state: Bytes::from_static(b"state") });
    assert_eq!(log.bounds(&readings(0)).unwrap().start, start);
    assert!(!segment_files(dir.path(), "log").is_empty());
}

/// Writes down what is done to the store.
#[derive(Debug, Default)]
struct RecordingDisk {
    calls: Mutex<Vec<(String, u64, usize)>>,
}

impl Disk for RecordingDisk {
    fn write_at(&self, file: &DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        self.note("write", file, at, bytes.len());
        FastDisk.write_at(file, bytes, at)
    }

    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        self.note("sync", file, 0, 0);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl RecordingDisk {
    fn note(&self, call: &str, file: &DiskFile, at: u64, length: usize) {
        if file.path.extension().is_some_and(|extension| extension == "redb") {
            self.calls.lock().unwrap().push((call.to_owned(), at, length));
        }
    }
}

/// Without it a power cut after a failed sync and a restart takes the store: the model finds that.
#[tokio::test]
async fn opening_writes_the_store_over_itself_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(small(dir.path()));
    fill(&log, 1).await;
    pass(&log, "rules", 1).await;
    drop(log);
    let whole = fs::read(dir.path().join("positions.redb")).unwrap();
    let disk = Arc::new(RecordingDisk::default());
    let log = open_on(disk.clone(), small(dir.path()), clock()).unwrap();
    let calls = disk.calls.lock().unwrap().clone();
    let again = calls.iter().take_while(|(call, ..)| call == "write").count();
    let mut covered = 0;
    for (_, at, length) in &calls[..again] {
        assert_eq!(*at, covered);
        covered += *length as u64;
    }
    assert!(covered >= whole.len() as u64);
    assert_eq!(calls[again].0, "sync");
    assert_eq!(log.position(&"rules".into(), &readings(0)).await.unwrap().unwrap().offset, 1);
}
