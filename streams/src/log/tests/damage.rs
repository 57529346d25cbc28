//! Torn writes and flipped bits: nothing wrong is ever returned, and what is lost is counted exactly.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::{append, contents, open, partitions, readings, record, roomy, segment_files, settle, small};
use crate::contract::{Partition, Position, Streams};
use crate::log::scan::scan;
use crate::log::shared::Paths;
use crate::log::{EmbeddedLog, LogConfig, manifest};

type Contents = BTreeMap<Partition, Vec<(u64, Bytes)>>;

/// What was appended, and the bytes of its groups on disk.
struct Written {
    contents: Contents,
    /// Where each group ends in the file.
    ends: Vec<usize>,
    /// Offsets of each partition after each group.
    offsets: Vec<[u64; 3]>,
}

/// Appends `groups` groups of a few records each to a fresh log.
async fn write(config: LogConfig, groups: u8) -> Written {
    let log = open(config);
    let mut written = Written { contents: BTreeMap::new(), ends: Vec::new(), offsets: Vec::new() };
    for n in 0..groups {
        let of = partitions();
        let mut group = vec![record(&of[0], vec![n; 9]), record(&of[1], vec![n ^ 0xFF; 5])];
        // The last partition gets nothing of the later groups: what it had before must be counted all the same.
        if n < 2 {
            group.push(record(&of[2], vec![n + 100; 3]));
        }
        group.push(record(&of[0], vec![n + 50; 11]));
        append(&log, group).await.unwrap();
        settle(&log).await;
        written.ends.push(usize::try_from(log.status().used_bytes).unwrap());
        written.offsets.push(of.each_ref().map(|partition| log.bounds(partition).unwrap().end));
    }
    for partition in partitions() {
        written.contents.insert(partition.clone(), contents(&log, &partition).await.0);
    }
    written
}

/// Checks that all of `written` is there but for what `may_be_lost` allows, that nothing else is, and that
/// exactly the missing offsets are counted. Gives their number.
async fn check(
    log: &EmbeddedLog,
    written: &Written,
    ends: [u64; 3],
    may_be_lost: impl Fn(&Partition, u64) -> bool,
) -> u64 {
    let mut all_lost = 0;
    for (partition, end) in partitions().iter().zip(ends) {
        assert_eq!(log.bounds(partition).unwrap(), 0..end, "{partition}");
        let (found, lost) = contents(log, partition).await;
        assert_eq!(found.len() as u64 + lost, end, "{partition}: each offset is returned or counted");
        let mut found: BTreeMap<_, _> = found.into_iter().collect();
        for (offset, payload) in written.contents[partition].iter().filter(|(offset, _)| *offset < end) {
            match found.remove(offset) {
                Some(read) => assert_eq!(read, payload, "{partition}/{offset}"),
                None => assert!(may_be_lost(partition, *offset), "{partition}/{offset} is lost"),
            }
        }
        assert!(found.is_empty(), "{partition} has records that were never appended: {found:?}");
        all_lost += lost;
    }
    all_lost
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(roomy(dir.path()), 3).await;
    let path = segment_files(dir.path(), "log").remove(0);
    let whole = fs::read(&path).unwrap();
    for cut in written.ends[1]..whole.len() {
        for garbage in [&[][..], &[0x5A; 64]] {
            // The last bytes may be padding, which no checksum covers: what follows them cannot make it torn.
            if !garbage.is_empty() && cut + 8 > whole.len() {
                continue;
            }
            fs::write(&path, [&whole[..cut], garbage].concat()).unwrap();
            let log = open(roomy(dir.path()));
            check(&log, &written, written.offsets[1], |_, _| false).await;
            let found = log.recovery();
            assert_eq!(found.cut_bytes, (cut + garbage.len() - written.ends[1]) as u64);
            assert_eq!((found.quarantined_records, found.damaged_bytes), (0, 0));
            assert_eq!(append(&log, vec![record(&readings(0), "after")]).await.unwrap(), [written.offsets[1][0]]);
        }
    }
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_the_active_segment_is_never_returned() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(roomy(dir.path()), 5).await;
    let path = segment_files(dir.path(), "log").remove(0);
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), written.ends[4]);
    let mut lost_somewhere = 0;
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).unwrap();
        let log = open(roomy(dir.path()));
        let group = written.ends.iter().filter(|end| **end <= at).count();
        let is_padding = whole.len() - at <= 7 && log.recovery().cut_bytes == 0;
        let ends = if group == 4 && !is_padding { written.offsets[3] } else { written.offsets[4] };
        let lost = check(&log, &written, ends, |partition, offset| in_group(&written, group, partition, offset)).await;
        assert_eq!(log.recovery().quarantined_records, lost, "byte {at}");
        lost_somewhere += lost;
        assert_eq!(append(&log, vec![record(&readings(0), "after")]).await.unwrap(), [ends[0]]);
    }
    assert!(lost_somewhere > 0);
}

/// Whether a record is of group `group`. The header of the segment, which is before group 0, holds none; what
/// is wrong with it costs nothing.
fn in_group(written: &Written, group: usize, partition: &Partition, offset: u64) -> bool {
    let slot = partitions().iter().position(|other| other == partition).unwrap();
    let start = if group == 0 { 0 } else { written.offsets[group - 1][slot] };
    (start..written.offsets[group][slot]).contains(&offset)
}

/// A log whose first segment is sealed.
async fn write_sealed(dir: &Path) -> Written {
    let written = write(small(dir), 5).await;
    assert!(segment_files(dir, "idx").len() == 1, "one segment is sealed");
    written
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_a_sealed_segment_costs_one_record_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let written = write_sealed(dir.path()).await;
    let path = segment_files(dir.path(), "log").remove(0);
    let whole = fs::read(&path).unwrap();
    let log = open(small(dir.path()));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).unwrap();
        let lost = check(&log, &written, written.offsets[4], |_, _| true).await;
        assert!(lost <= 1, "byte {at} costs {lost} records");
    }
    let quarantined = log.shared.metrics.quarantined.get();
    let sealed: u64 = written.offsets[4].iter().sum::<u64>() - in_active(dir.path());
    assert_eq!(quarantined, sealed, "each record of the segment was damaged once, and counted once");
}

/// Records in the active segment.
fn in_active(dir: &Path) -> u64 {
    let paths = Paths::new(dir);
    let layout = manifest::Layout::open(
        &super::FastDisk,
        &paths.manifest(),
        &super::specs(),
        false,
        telemetry::Timestamp::from_micros(0),
    );
    let file = fs::File::open(segment_files(dir, "log").pop().unwrap()).unwrap();
    let found = scan(&file, &layout.unwrap()).unwrap();
    found.slots.iter().map(|entries| entries.len() as u64).sum()
}

#[tokio::test]
async fn a_damaged_or_missing_index_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let written = write_sealed(dir.path()).await;
    let path = segment_files(dir.path(), "idx").remove(0);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).unwrap();
        let log = open(small(dir.path()));
        let lost = check(&log, &written, written.offsets[4], |_, _| false).await;
        assert_eq!((lost, log.recovery().quarantined_records), (0, 0), "byte {at}");
    }
    for damaged in [None, Some(&whole[..0]), Some(&whole[..whole.len() / 2]), Some(&whole[..20])] {
        match damaged {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let log = open(small(dir.path()));
        assert_eq!(log.recovery().rebuilt_indexes, usize::from(damaged.is_none_or(|bytes| bytes.len() < 100)));
        check(&log, &written, written.offsets[4], |_, _| false).await;
        drop(log);
        fs::write(&path, &whole).unwrap();
    }
}

#[tokio::test]
async fn a_sealed_segment_without_index_and_with_damage_is_counted_by_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let written = write_sealed(dir.path()).await;
    let (path, index) = (segment_files(dir.path(), "log").remove(0), segment_files(dir.path(), "idx").remove(0));
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        fs::remove_file(&index).unwrap();
        let log = open(small(dir.path()));
        let group = written.ends.iter().filter(|end| **end <= at).count();
        let lost =
            check(&log, &written, written.offsets[4], |partition, offset| in_group(&written, group, partition, offset))
                .await;
        assert_eq!(log.recovery().quarantined_records, lost, "byte {at}");
        assert_eq!(log.recovery().cut_bytes, 0, "a sealed segment has no torn tail");
    }
}

#[tokio::test]
async fn a_missing_segment_is_a_counted_gap() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(small(dir.path()), 12).await;
    let logs = segment_files(dir.path(), "log");
    assert!(logs.len() >= 3);
    fs::remove_file(&logs[1]).unwrap();
    let log = open(small(dir.path()));
    let lost = check(&log, &written, written.offsets[11], |_, _| true).await;
    assert!(lost > 0);
    assert_eq!(log.recovery().quarantined_records, lost);
    let (records, _) = contents(&log, &readings(0)).await;
    assert_eq!(records.last().unwrap().0 + 1, written.offsets[11][0], "what comes after the gap is read");
}

#[tokio::test]
async fn an_offset_a_consumer_passed_is_never_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(roomy(dir.path()), 3).await;
    let log = open(roomy(dir.path()));
    let passed = Position { offset: written.offsets[2][0], state: Bytes::new() };
    log.commit(&"sink".into(), vec![(readings(0), passed)]).await.unwrap();
    drop(log);
    let path = segment_files(dir.path(), "log").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let at = written.ends[1] + 4;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    for _ in 0..2 {
        let log = open(roomy(dir.path()));
        let ends = [written.offsets[2][0], written.offsets[1][1], written.offsets[1][2]];
        let lost = check(&log, &written, ends, |_, _| true).await;
        assert_eq!(lost, ends[0] - written.offsets[1][0]);
        assert_eq!(log.recovery().quarantined_records, lost);
    }
    let log = open(roomy(dir.path()));
    assert_eq!(append(&log, vec![record(&readings(0), "x")]).await.unwrap(), [written.offsets[2][0]]);
}

#[tokio::test]
async fn bytes_that_look_like_a_group_inside_a_payload_are_not_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(roomy(dir.path()));
    let frame = |payload| crate::log::format::Frame {
        stream: 0,
        partition: 0,
        offset: 1,
        appended_at: telemetry::Timestamp::from_micros(0),
        rows: 1,
        payload,
    };
    // All that an outsider can know: everything but the log id.
    let mut forged = Vec::new();
    crate::log::format::encode_group(&mut forged, 0, 9, &[1, 0, 0], &[frame(b"forged")]);
    append(&log, vec![record(&readings(0), "true")]).await.unwrap();
    let ends = usize::try_from(log.status().used_bytes).unwrap();
    let hostile: Vec<Vec<u8>> = (0..8).map(|shift| [&vec![0; shift][..], &forged].concat()).collect();
    append(&log, hostile.iter().map(|payload| record(&readings(0), payload.clone())).collect()).await.unwrap();
    drop(log);
    let path = segment_files(dir.path(), "log").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[ends] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let log = open(roomy(dir.path()));
    assert_eq!(contents(&log, &readings(0)).await, (vec![(0, Bytes::from_static(b"true"))], 0));
    assert_eq!(log.recovery().cut_bytes, (bytes.len() - ends) as u64);
}
