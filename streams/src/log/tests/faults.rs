//! A disk that fails: nothing unsynced is acknowledged, and all that was acknowledged is there afterwards.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{FastDisk, append, clock, contents, open, open_on, readings, record, roomy, segment_files, small};
use crate::contract::{AppendError, Streams};
use crate::log::disk::{Disk, DiskFile};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Create,
    /// Half of the bytes are written, then the disk is full.
    Write,
    Sync,
    Rename,
    SyncDir,
}

/// Fails exactly once, at the n-th call of one kind, as a disk does that lost a write and then works on.
#[derive(Debug)]
struct FaultyDisk {
    call: Call,
    left: AtomicU64,
    /// Not of the store of positions.
    only_segments: bool,
}

impl FaultyDisk {
    fn check(&self, call: Call) -> io::Result<()> {
        if call == self.call && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn check_file(&self, call: Call, file: &DiskFile) -> io::Result<()> {
        if self.only_segments && !super::is_segment(file) { Ok(()) } else { self.check(call) }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<DiskFile> {
        self.check(Call::Create)?;
        FastDisk.create(path)
    }

    fn write_at(&self, file: &DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(error) = self.check_file(Call::Write, file) {
            FastDisk.write_at(file, &bytes[..bytes.len() / 2], at)?;
            return Err(error);
        }
        FastDisk.write_at(file, bytes, at)
    }

    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        self.check_file(Call::Sync, file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Call::Rename)?;
        FastDisk.rename(from, to)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.check(Call::SyncDir)
    }
}

/// Appends until the log fails or 20 groups are durable; gives the number of those acknowledged. `None` if the
/// log could not be opened.
async fn run_until_failure(disk: FaultyDisk, dir: &Path) -> Option<u64> {
    let log = open_on(Arc::new(disk), small(dir), clock()).ok()?;
    for n in 0..20_u64 {
        match append(&log, vec![record(&readings(0), payload(n)), record(&readings(1), payload(n))]).await {
            Ok(offsets) => assert_eq!(offsets, [n, n]),
            Err(error) => {
                assert!(matches!(error, AppendError::Failed(_)), "{error:?}");
                let refused = append(&log, vec![record(&readings(0), "late")]).await;
                assert!(matches!(refused, Err(AppendError::Failed(_))), "a failed log accepts nothing: {refused:?}");
                assert!(log.failed().borrow().is_some());
                assert!(log.status().failed.is_some());
                assert_eq!(log.bounds(&readings(0)).unwrap().end, n, "nothing unsynced is readable");
                return Some(n);
            }
        }
    }
    Some(20)
}

fn payload(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(8)
}

#[tokio::test]
async fn a_fault_at_any_call_loses_nothing_acknowledged() {
    let mut failed = 0;
    for call in [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
        for nth in 1..48 {
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk { call, left: AtomicU64::new(nth), only_segments: nth % 2 == 0 };
            let acknowledged = run_until_failure(disk, dir.path()).await;
            failed += u32::from(acknowledged.is_none_or(|count| count < 20));
            let log = open(small(dir.path()));
            for partition in [readings(0), readings(1)] {
                let (records, lost) = contents(&log, &partition).await;
                assert_eq!(lost, 0, "{call:?} {nth}");
                assert!(records.len() as u64 >= acknowledged.unwrap_or(0), "{call:?} {nth}: acknowledged is durable");
                for (n, record) in (0..).zip(&records) {
                    assert_eq!(*record, (n, payload(n).into()), "{call:?} {nth}");
                }
            }
            append(&log, vec![record(&readings(0), "goes on")]).await.unwrap();
        }
    }
    assert!(failed > 50, "only {failed} of the faults were reached");
}

#[tokio::test]
async fn all_waiting_tickets_fail_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(roomy(dir.path())));
    // Opening syncs once, the first group is the second sync.
    let disk = FaultyDisk { call: Call::Sync, left: AtomicU64::new(2), only_segments: true };
    let log = open_on(Arc::new(disk), roomy(dir.path()), clock()).unwrap();
    let mut tickets = Vec::new();
    for _ in 0..10 {
        match log.submit(vec![record(&readings(0), "x")]).await {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => assert!(matches!(error, AppendError::Failed(_))),
        }
    }
    assert!(!tickets.is_empty());
    for ticket in tickets {
        assert!(matches!(ticket.await, Err(AppendError::Failed(why)) if why.contains("sync") && why.contains(".log")));
    }
    let mut failed = log.failed();
    let why = failed.wait_for(Option::is_some).await.unwrap().clone();
    assert!(why.unwrap().contains("no storage space"));
    assert!(log.close().await.is_err());
}

/// Writes down what is done to segment files.
#[derive(Debug, Default)]
struct RecordingDisk {
    calls: Mutex<Vec<String>>,
}

impl Disk for RecordingDisk {
    fn write_at(&self, file: &DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        if super::is_segment(file) {
            self.calls.lock().unwrap().push(format!("write {at}..{}", at + bytes.len() as u64));
        }
        FastDisk.write_at(file, bytes, at)
    }

    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        if super::is_segment(file) {
            self.calls.lock().unwrap().push("sync".to_owned());
        }
        Ok(())
    }
}

#[tokio::test]
async fn opening_writes_the_last_group_again_because_its_sync_may_have_failed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(roomy(dir.path()));
    append(&log, vec![record(&readings(0), "first")]).await.unwrap();
    let first_ends = log.status().used_bytes;
    append(&log, vec![record(&readings(0), "second")]).await.unwrap();
    let second_ends = log.status().used_bytes;
    drop(log);
    let before = fs::read(&segment_files(dir.path(), "log")[0]).unwrap();
    let disk = Arc::new(RecordingDisk::default());
    let log = open_on(disk.clone(), roomy(dir.path()), clock()).unwrap();
    assert_eq!(*disk.calls.lock().unwrap(), [format!("write {first_ends}..{second_ends}"), "sync".to_owned()]);
    drop(log);
    assert_eq!(fs::read(&segment_files(dir.path(), "log")[0]).unwrap(), before, "the same bytes");
}
