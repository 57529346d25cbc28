//! What readers see: which segments there are, where each begins, and where the active one's records are.
//! The writer thread alone changes it, and only after what it adds is durable.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use telemetry::Timestamp;

use super::disk::DiskFile;
use super::index::{Entry, Index};

/// The segments, oldest first.
#[derive(Debug)]
pub(super) struct View {
    pub(super) sealed: VecDeque<Sealed>,
    pub(super) active: Active,
    /// One past the last durable offset of each slot.
    pub(super) ends: Vec<u64>,
}

/// A segment that is not written any more. Its index stays on disk: a backlog may have thousands of them.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    /// On disk, with its index.
    pub(super) bytes: u64,
    /// When its last record was appended.
    pub(super) newest: Timestamp,
    /// Next offset of each slot when it began. It ends where its successor begins.
    pub(super) starts: Box<[u64]>,
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) file: Arc<DiskFile>,
    pub(super) starts: Box<[u64]>,
    /// Entries of each slot, in order of offset.
    pub(super) slots: Vec<Vec<Entry>>,
    /// Durable bytes.
    pub(super) bytes: u64,
    pub(super) newest: Timestamp,
}

/// Where to read next.
#[derive(Debug)]
pub(super) enum Plan {
    /// `from` is not among these retained offsets.
    OutOfRange(Range<u64>),
    /// All was read.
    End,
    /// These entries of the active segment; then on at `until`.
    Active { file: Arc<DiskFile>, number: u64, entries: Vec<Entry>, until: u64 },
    /// The sealed segment, which ends at `until` for this slot.
    Sealed { number: u64, until: u64 },
}

impl View {
    /// Retained offsets of a slot.
    pub(super) fn bounds(&self, slot: usize) -> Range<u64> {
        let oldest = self.sealed.front().map_or(&self.active.starts, |oldest| &oldest.starts);
        at(oldest, slot)..at(&self.ends, slot)
    }

    /// Where the records of `slot` from offset `from` on are, about `max_bytes` of them.
    pub(super) fn plan(&self, slot: usize, from: u64, max_bytes: usize) -> Plan {
        let bounds = self.bounds(slot);
        if from < bounds.start || from > bounds.end {
            return Plan::OutOfRange(bounds);
        }
        if from == bounds.end {
            return Plan::End;
        }
        if from >= at(&self.active.starts, slot) {
            let all = self.active.slots.get(slot).map_or(&[][..], Vec::as_slice);
            let (entries, until) = select(all, from, bounds.end, max_bytes);
            let Active { file, number, .. } = &self.active;
            return Plan::Active { file: file.clone(), number: *number, entries: entries.to_vec(), until };
        }
        let after = self.sealed.partition_point(|segment| at(&segment.starts, slot) <= from);
        let until = self.sealed.get(after).map_or(&self.active.starts, |next| &next.starts);
        let number = after.checked_sub(1).and_then(|last| self.sealed.get(last)).map(|segment| segment.number);
        number.map_or(Plan::OutOfRange(bounds), |number| Plan::Sealed { number, until: at(until, slot) })
    }

    /// Bytes of all segments.
    pub(super) fn used(&self) -> u64 {
        self.sealed.iter().map(|segment| segment.bytes).sum::<u64>() + self.active.bytes
    }
}

impl Active {
    /// The index of the segment, now that it is full.
    pub(super) fn index(&self, ends: &[u64], next_group: u64) -> Index {
        Index {
            bytes: self.bytes,
            newest: self.newest,
            next_group,
            starts: self.starts.to_vec(),
            ends: ends.to_vec(),
            slots: self.slots.clone(),
        }
    }
}

/// The entries from offset `from` on, about `max_bytes` of them and at least one if there is one, and where to
/// read on: after the last of them or, with no more in this segment, at `end`.
pub(super) fn select(entries: &[Entry], from: u64, end: u64, max_bytes: usize) -> (&[Entry], u64) {
    let rest = entries.get(entries.partition_point(|entry| entry.offset < from)..).unwrap_or_default();
    let mut bytes = 0_usize;
    for (index, entry) in rest.iter().enumerate() {
        bytes = bytes.saturating_add(usize::try_from(entry.length).unwrap_or(usize::MAX));
        if bytes >= max_bytes
            && let Some((taken, left)) = rest.split_at_checked(index + 1)
        {
            return (taken, if left.is_empty() { end } else { entry.offset + 1 });
        }
    }
    (rest, end)
}

/// A slot's offset; a slot newer than the segment begins at zero.
pub(super) fn at(offsets: &[u64], slot: usize) -> u64 {
    offsets.get(slot).copied().unwrap_or(0)
}
