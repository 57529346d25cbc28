//! The full segment, damaged under an open log. Its index tells where each record is, so that damage to a byte
//! can concern only the record whose frame holds it; that record and its neighbours are read after each
//! damage, and everything at some.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::fixture::{Fixture, wide};
use super::{Damage, FileReport, bit};
use crate::contract::{Partition, Read};
use crate::log::index::Entry;
use crate::log::model::seen::{partitions, text};
use crate::log::scan::scan;
use crate::log::{EmbeddedLog, read};

/// After so many damages everything is read.
const ALL_EVERY: usize = 2_048;
/// Of so many cuts one is followed by a read of what it took: that goes through all records to the end.
const TAKEN_EVERY: usize = 16;

/// Damages every `step`-th byte.
pub(super) fn segment(fixture: &Fixture, step: usize) -> Result<FileReport, String> {
    let (short, whole) = fixture.file("log", false)?;
    let path = fixture.config.dir.join(short);
    let log = fixture.open()?;
    let frames = Frames::of(&log, &path)?;
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(text)?;
    let mut report = FileReport::of("full segment", whole.len());
    let step = step.max(1);
    for (nth, at) in (0..whole.len()).step_by(step).enumerate() {
        let byte = whole.get(at).copied().unwrap_or(0);
        file.write_all_at(&[byte ^ bit(at)], wide(at)).map_err(text)?;
        let lost = |entry: &Entry| range(entry).contains(&at);
        let outcome = frames.check(fixture, &log, (at, nth % ALL_EVERY == 0), lost, |_| false);
        file.write_all_at(&[byte], wide(at)).map_err(text)?;
        report.lossy += u64::from(frames.at(at).is_some_and(|(_, entry)| lost(&entry)));
        report.judge(&Damage::Flip(at), outcome);
    }
    // Each cut takes from what the one before left.
    for (nth, length) in (0..whole.len()).rev().step_by(step).enumerate() {
        file.set_len(wide(length)).map_err(text)?;
        let lost = |entry: &Entry| range(entry).end > length;
        let taken = |entry: &Entry| lost(entry) && nth % TAKEN_EVERY != 0;
        let outcome = frames.check(fixture, &log, (length, nth % ALL_EVERY == 0), lost, taken);
        report.lossy += 1;
        report.judge(&Damage::Cut(length), outcome);
    }
    drop(log);
    fixture.restore(short)?;
    Ok(report)
}

/// Where the records of the segment are, in order.
struct Frames(Vec<(usize, Entry)>);

impl Frames {
    fn of(log: &EmbeddedLog, path: &std::path::Path) -> Result<Self, String> {
        let file = std::fs::File::open(path).map_err(text)?;
        let found = scan(&file, &log.shared.layout).map_err(|error| error.at(path).to_string())?;
        let of = |(slot, entries): (usize, Vec<Entry>)| entries.into_iter().map(move |entry| (slot, entry));
        let mut frames: Vec<_> = found.slots.into_iter().enumerate().flat_map(of).collect();
        frames.sort_by_key(|(_, entry)| entry.position);
        Ok(Self(frames))
    }

    /// The last record that begins at or before `at`.
    fn at(&self, at: usize) -> Option<(usize, Entry)> {
        let after = self.0.partition_point(|(_, entry)| range(entry).start <= at);
        self.0.get(after.checked_sub(1)?).copied()
    }

    /// Reads around `at`, or everything, and compares with what was written; `lost` says what must be missing,
    /// `skip` what is not to be read.
    fn check(
        &self,
        fixture: &Fixture,
        log: &EmbeddedLog,
        (at, all): (usize, bool),
        lost: impl Fn(&Entry) -> bool,
        skip: impl Fn(&Entry) -> bool,
    ) -> Result<(), String> {
        let near = self.0.partition_point(|(_, entry)| range(entry).start <= at);
        let frames = if all { 0..self.0.len() } else { near.saturating_sub(2)..(near + 1).min(self.0.len()) };
        for (slot, entry) in self.0.get(frames).unwrap_or_default().iter().filter(|(_, entry)| !skip(entry)) {
            one(fixture, log, *slot, entry, lost(entry))?;
        }
        Ok(())
    }
}

/// Reads one record, which must be `lost` or as it was written.
fn one(fixture: &Fixture, log: &EmbeddedLog, slot: usize, entry: &Entry, lost: bool) -> Result<(), String> {
    let partitions = partitions();
    let of = partitions.get(slot).ok_or("no such slot")?;
    // Of one byte: this record or, where it is damaged, those up to the next good one.
    let Read { records, next, lost: counted } = read_at(log, of, entry.offset)?;
    let written = |offset: u64| fixture.records.get(slot)?.get(usize::try_from(offset).ok()?);
    for record in &records {
        if written(record.offset) != Some(&record.payload) {
            return Err(format!("{of}/{}: returned what was not written", record.offset));
        }
    }
    let there = records.iter().any(|record| record.offset == entry.offset);
    if there == lost {
        return Err(format!("{of}/{}: {}", entry.offset, if lost { "damaged and returned" } else { "lost" }));
    }
    if counted + wide(records.len()) != next - entry.offset {
        return Err(format!("{of}/{}..{next}: {} returned, {counted} counted as lost", entry.offset, records.len()));
    }
    Ok(())
}

fn read_at(log: &EmbeddedLog, of: &Partition, offset: u64) -> Result<Read, String> {
    let place = log.shared.layout.find(of).ok_or("no place")?;
    read::read(&log.shared, of, place, offset, 1).map_err(text)
}

fn range(entry: &Entry) -> std::ops::Range<usize> {
    let (from, length) = (usize::try_from(entry.position), usize::try_from(entry.length));
    let from = from.unwrap_or(usize::MAX);
    from..from.saturating_add(length.unwrap_or(0))
}
