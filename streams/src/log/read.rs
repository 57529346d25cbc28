//! Reading records back, each checked again; blocks.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::disk;
use super::format::{FRAME_HEADER_BYTES, Frame};
use super::index::{self, Entry};
use super::manifest::Place;
use super::scan;
use super::shared::Shared;
use super::view::{self, Plan};
use crate::contract::{Error, Partition, Read, Record};

/// Bytes between two frames that are cheaper to read along than to call the system once more.
const GAP_BYTES: u64 = 4 * 1024;
/// Bytes read by one call, unless one frame alone is larger.
const RUN_BYTES: u64 = 4 * 1024 * 1024;

/// Reads about `max_bytes` of `of` from `offset` on.
pub(super) fn read(
    shared: &Shared,
    of: &Partition,
    place: Place,
    offset: u64,
    max_bytes: usize,
) -> Result<Read, Error> {
    let mut found = Read { records: Vec::new(), next: offset, lost: 0 };
    let mut bytes = 0;
    // More than one turn only at the end of a segment, or where damage left nothing to return.
    while found.records.is_empty() || bytes < max_bytes {
        let left = max_bytes.saturating_sub(bytes);
        let plan = shared.view().plan(place.slot, found.next, left);
        let before = found.records.len();
        match plan {
            Plan::End => break,
            Plan::OutOfRange(_) if found.next > offset => break,
            Plan::OutOfRange(retained) => return Err(out_of_range(of, offset, retained)),
            Plan::Active { file, number, entries, until } => {
                fetch(shared, &file.file, number, place, &entries, &mut found.records)
                    .map_err(disk::io_error("read segment", &file.path))?;
                found.next = until;
            }
            Plan::Sealed { number, until } => match read_sealed(shared, number, place, until, left, &mut found) {
                Ok(()) => {}
                // Deleted between the plan and the read: plan again, the bounds have moved.
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && shared.view().bounds(place.slot).start > found.next => {}
                Err(error) => return Err(error),
            },
        }
        bytes +=
            found.records.iter().skip(before).map(|record| record.payload.len() + FRAME_HEADER_BYTES).sum::<usize>();
    }
    let returned = u64::try_from(found.records.len()).unwrap_or(u64::MAX);
    found.lost = (found.next - offset).saturating_sub(returned);
    Ok(found)
}

fn out_of_range(of: &Partition, offset: u64, retained: Range<u64>) -> Error {
    Error::OutOfRange { partition: of.clone(), offset, start: retained.start, end: retained.end }
}

fn read_sealed(
    shared: &Shared,
    number: u64,
    place: Place,
    until: u64,
    max_bytes: usize,
    found: &mut Read,
) -> Result<(), Error> {
    let path = shared.paths.segment(number);
    let file = File::open(&path).map_err(disk::io_error("open segment", &path))?;
    let all = entries(shared, &file, number, place.slot)?;
    let (wanted, next) = view::select(&all, found.next, until, max_bytes);
    fetch(shared, &file, number, place, wanted, &mut found.records).map_err(disk::io_error("read segment", &path))?;
    found.next = next;
    Ok(())
}

/// The entries of a slot of a sealed segment: from memory, from its index, or by a scan if that is damaged.
fn entries(shared: &Shared, file: &File, number: u64, slot: usize) -> Result<Arc<[Entry]>, Error> {
    if let Some(entries) = shared.cache.get(number, slot) {
        return Ok(entries);
    }
    let (path, log_id) = (shared.paths.index(number), shared.layout.log_id);
    let entries = match index::read_slot(&path, log_id, number, slot) {
        Some(entries) => entries,
        None => {
            tracing::warn!(path = %path.display(), "index of a segment is damaged, reading the segment instead");
            scan_slot(shared, file, number, slot)?
        }
    };
    let entries: Arc<[Entry]> = entries.into();
    shared.cache.put(number, slot, entries.clone());
    Ok(entries)
}

/// The index file is left as it is: the next start replaces it.
fn scan_slot(shared: &Shared, file: &File, number: u64, slot: usize) -> Result<Vec<Entry>, Error> {
    let scan = scan::scan(file, &shared.layout).map_err(|error| error.at(&shared.paths.segment(number)))?;
    Ok(scan.slots.into_iter().nth(slot).unwrap_or_default())
}

/// Reads the frames of `entries`; those that are damaged are left out and counted.
fn fetch(
    shared: &Shared,
    file: &File,
    number: u64,
    place: Place,
    entries: &[Entry],
    to: &mut Vec<Record>,
) -> io::Result<()> {
    let mut rest = entries;
    while let Some((run, place_in_file)) = run(rest) {
        let bytes = read_run(file, place_in_file.clone())?;
        let (taken, left) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        let wanted: u64 = taken.iter().map(|entry| u64::from(entry.length)).sum();
        // A slice keeps the whole run in memory, so what is mostly gaps is copied out of it.
        let copy = wanted * 2 < place_in_file.end - place_in_file.start;
        for entry in taken {
            match record(&bytes, place_in_file.start, place, entry, copy) {
                Some(record) => to.push(record),
                None => shared.quarantine(number, place.slot, entry.offset),
            }
        }
        rest = left;
    }
    Ok(())
}

/// How many of the first entries to read in one call, and where they are.
fn run(entries: &[Entry]) -> Option<(usize, Range<u64>)> {
    let end = |entry: &Entry| u64::from(entry.position) + u64::from(entry.length);
    let first = entries.first()?;
    let (start, mut until, mut count) = (u64::from(first.position), end(first), 1);
    for entry in entries.iter().skip(1) {
        let position = u64::from(entry.position);
        if position < until || position - until > GAP_BYTES || end(entry) - start > RUN_BYTES {
            break;
        }
        until = end(entry);
        count += 1;
    }
    Some((count, start..until))
}

/// The bytes at `place`; fewer if the file was cut, so that what is missing counts as damaged.
fn read_run(file: &File, place: Range<u64>) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(place.end - place.start).unwrap_or(usize::MAX)];
    match file.read_exact_at(&mut bytes, place.start) {
        Ok(()) => Ok(bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let there = file.metadata()?.len().saturating_sub(place.start);
            bytes.truncate(usize::try_from(there).unwrap_or(usize::MAX));
            file.read_exact_at(&mut bytes, place.start)?;
            Ok(bytes.into())
        }
        Err(error) => Err(error),
    }
}

/// The record of `entry` out of a run that begins at `start`; `None` if any bit of it is wrong.
fn record(run: &Bytes, start: u64, place: Place, entry: &Entry, copy: bool) -> Option<Record> {
    let from = usize::try_from(u64::from(entry.position).checked_sub(start)?).ok()?;
    let until = from.checked_add(usize::try_from(entry.length).ok()?)?;
    let frame = Frame::decode(run.get(from..until)?)?;
    if (frame.stream, frame.partition, frame.offset) != (place.stream, place.partition, entry.offset) {
        return None;
    }
    let payload =
        if copy { Bytes::copy_from_slice(frame.payload) } else { run.slice(from + FRAME_HEADER_BYTES..until) };
    Some(Record { offset: entry.offset, appended_at: frame.appended_at, rows: frame.rows, payload })
}
