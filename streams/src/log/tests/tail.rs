//! The tail of the active segment: with it a start reads little, and nothing that happens to it costs a record.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{
    FastDisk, append, clock, contents, open, open_on, partitions, readings, record, roomy, segment_files, settle, small,
};
use crate::log::disk::{Disk, DiskFile};
use crate::log::format::SegmentHeader;
use crate::log::{EmbeddedLog, LogConfig};

/// Settings under which each group gets a chunk, and no segment is full soon.
fn chunky(dir: &Path) -> LogConfig {
    LogConfig { segment_bytes: 16 * 1024, ..roomy(dir) }
}

/// Appends `groups` groups to a log, and gives what is in its partitions.
async fn write(log: &EmbeddedLog, groups: u8) -> Vec<Vec<(u64, Bytes)>> {
    for n in 0..groups {
        let group = vec![record(&readings(0), vec![n; 40]), record(&readings(1), vec![n ^ 0xFF; 25])];
        append(log, group).await.unwrap();
        settle(log).await;
    }
    all(log).await
}

/// What is in each partition; nothing may be lost.
async fn all(log: &EmbeddedLog) -> Vec<Vec<(u64, Bytes)>> {
    let mut all = Vec::new();
    for partition in partitions() {
        let (records, lost) = contents(log, &partition).await;
        assert_eq!(lost, 0, "{partition}");
        all.push(records);
    }
    all
}

/// The active segment's tail.
fn tail(dir: &Path) -> PathBuf {
    let tails = segment_files(dir, "tail");
    assert_eq!(tails.len(), 1, "{tails:?}");
    tails.into_iter().next().unwrap()
}

/// Opens the log with this tail: all is there, and it goes on and comes back once more.
async fn check_with(dir: &Path, bytes: &[u8], expected: &[Vec<(u64, Bytes)>], what: &str) {
    fs::write(tail(dir), bytes).unwrap();
    let segment = segment_files(dir, "log").pop().unwrap();
    let durable = fs::read(&segment).unwrap();
    let log = open(chunky(dir));
    assert_eq!(all(&log).await, expected, "{what}");
    let found = log.recovery();
    assert_eq!((found.cut_bytes, found.quarantined_records, found.damaged_bytes), (0, 0, 0), "{what}");
    let next = expected[0].len() as u64;
    for n in 0..2 {
        assert_eq!(append(&log, vec![record(&readings(0), "on")]).await.unwrap(), [next + n], "{what}");
        settle(&log).await;
    }
    drop(log);
    let log = open(chunky(dir));
    assert_eq!(contents(&log, &readings(0)).await.0.len() as u64, next + 2, "{what}");
    assert_eq!(log.recovery().removed_files, 0, "the tail was made good: {what}");
    drop(log);
    fs::write(&segment, durable).unwrap();
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_a_tail_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let expected = write(&open(chunky(dir.path())), 3).await;
    let whole = fs::read(tail(dir.path())).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        check_with(dir.path(), &damaged, &expected, &format!("byte {at}")).await;
    }
}

#[tokio::test]
async fn a_tail_cut_anywhere_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let expected = write(&open(chunky(dir.path())), 3).await;
    let whole = fs::read(tail(dir.path())).unwrap();
    let garbage = [&[][..], &[0; 200], &[0x5A; 64]];
    for cut in 0..=whole.len() {
        for garbage in [&[][..], garbage[cut % garbage.len()]] {
            let torn = [&whole[..cut], garbage].concat();
            check_with(dir.path(), &torn, &expected, &format!("cut at {cut}, then {} bytes", garbage.len())).await;
        }
    }
}

#[tokio::test]
async fn a_tail_of_another_segment_or_time_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    write(&open(chunky(other.path())), 4).await;
    let log = open(chunky(dir.path()));
    let expected = write(&log, 4).await;
    let of_another_log = fs::read(tail(other.path())).unwrap();
    let segment = segment_files(dir.path(), "log").pop().unwrap();
    let earlier = fs::read(&segment).unwrap();
    let later = write(&log, 3).await;
    drop(log);
    check_with(dir.path(), &of_another_log, &later, "another log's").await;
    // It tells of groups that are gone.
    let ahead = fs::read(tail(dir.path())).unwrap();
    fs::write(&segment, earlier).unwrap();
    check_with(dir.path(), &ahead, &expected, "ahead of its segment").await;
}

#[tokio::test]
async fn a_bit_flipped_before_the_end_costs_one_record_and_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(chunky(dir.path()));
    let expected = write(&log, 4).await;
    let last = usize::try_from(log.status().used_bytes).unwrap();
    drop(log);
    let path = segment_files(dir.path(), "log").remove(0);
    let chunks = fs::read(tail(dir.path())).unwrap();
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), last);
    // The header is always read, and the last group is cut when it is damaged.
    let header = SegmentHeader::bytes(partitions().len());
    let end = last - (last - header) / 4;
    let mut lost_somewhere = 0;
    for at in header..end {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).unwrap();
        fs::write(tail(dir.path()), &chunks).unwrap();
        let log = open(chunky(dir.path()));
        assert_eq!(log.recovery().quarantined_records, 0, "byte {at} was not read");
        let mut lost = 0;
        for (partition, expected) in partitions().iter().zip(&expected) {
            let (found, missing) = contents(&log, partition).await;
            assert_eq!(found.len() as u64 + missing, expected.len() as u64);
            assert!(found.iter().all(|record| expected.contains(record)), "byte {at}: only what was appended");
            lost += missing;
        }
        assert!(lost <= 1, "byte {at} costs {lost} records");
        assert_eq!(log.shared.metrics.quarantined.get(), lost, "byte {at}");
        lost_somewhere += lost;
    }
    assert!(lost_somewhere > 0);
}

#[tokio::test]
async fn opening_reads_no_more_of_a_segment_than_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 32 * 1024 * 1024, ..roomy(dir.path()) };
    let every = crate::log::tail::interval(config.segment_bytes);
    let log = open(config.clone());
    let group = |n: u8| (0..8).map(|_| record(&readings(0), vec![n; 16 * 1024])).collect::<Vec<_>>();
    for n in 0..80 {
        append(&log, group(n)).await.unwrap();
    }
    settle(&log).await;
    let expected = contents(&log, &readings(0)).await;
    let used = log.status().used_bytes;
    drop(log);
    let chunks = fs::metadata(tail(dir.path())).unwrap().len();
    assert!(chunks < used / 200, "the tail has {chunks} bytes of {used}");
    let read = open(config.clone()).recovery().read_bytes;
    // What may wait, the group that was under way then and the one that proves it, and what one read takes more.
    let bound = every + 2 * 8 * 17 * 1024 + chunks + 2 * 1024 * 1024;
    assert!(read <= bound && bound < used / 3, "{read} bytes read of {used}, at most {bound} are needed");
    fs::remove_file(tail(dir.path())).unwrap();
    let log = open(config);
    assert!(log.recovery().read_bytes >= used, "all of it, without the tail");
    assert_eq!(contents(&log, &readings(0)).await, expected);
}

#[tokio::test]
async fn a_sealed_segment_has_no_tail() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(small(dir.path()));
    write(&log, 40).await;
    assert!(log.status().segments > 5);
    let expected = all(&log).await;
    let active = segment_files(dir.path(), "log").pop().unwrap();
    drop(log);
    let stray = segment_files(dir.path(), "log")[0].with_extension("tail");
    fs::write(&stray, b"left by a crash after the sealing").unwrap();
    let log = open(small(dir.path()));
    assert_eq!(all(&log).await, expected);
    assert!(!stray.exists());
    let tails = segment_files(dir.path(), "tail");
    assert!(tails.iter().all(|path| *path == active.with_extension("tail")), "{tails:?}");
}

/// No room for tails: half of a chunk is written, or the file cannot be made.
#[derive(Debug)]
struct NoTails {
    create: bool,
}

fn is_tail(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tail")
}

impl Disk for NoTails {
    fn create(&self, path: &Path) -> io::Result<DiskFile> {
        if is_tail(path) && !self.create {
            return Err(io::ErrorKind::StorageFull.into());
        }
        FastDisk.create(path)
    }

    fn write_at(&self, file: &DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        if is_tail(&file.path) {
            FastDisk.write_at(file, &bytes[..bytes.len() / 2], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        FastDisk.write_at(file, bytes, at)
    }

    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        assert!(!is_tail(&file.path), "a tail is a hint");
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_tail_that_cannot_be_written_stops_nothing() {
    for create in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = open_on(Arc::new(NoTails { create }), small(dir.path()), clock()).unwrap();
        let expected = write(&log, 40).await;
        assert!(log.status().segments > 5);
        assert!(log.failed().borrow().is_none());
        drop(log);
        assert_eq!(all(&open(small(dir.path()))).await, expected);
    }
}
