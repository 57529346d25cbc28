//! What a group passed of what was appended since a start: the other end of the balance.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one consumer group passed, told apart by whether it was in the stream before this process began to receive.
#[derive(Debug)]
pub struct SinceStart {
    /// By partition: first offset of what was appended since.
    begins: BTreeMap<u32, u64>,
    passage: Mutex<Passage>,
}

/// What a group passed, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Rows of the records that were appended since and are applied, as their records say.
    pub read_rows: u64,
    /// Those that deduplication left out.
    pub deduplicated_rows: u64,
    /// Rows of earlier records that are applied and not yet flushed.
    pub earlier_held_rows: u64,
    /// Rows of earlier records that were flushed.
    pub earlier_flushed_rows: u64,
    /// By partition: first offset not passed. Empty before the group runs.
    pub next: BTreeMap<u32, u64>,
}

/// One record that was applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// Rows that the record says it has.
    pub(crate) rows: u64,
    pub(crate) left_out: u64,
    /// Rows that the effect was given.
    pub(crate) kept: u64,
}

impl SinceStart {
    pub(super) fn new(begins: BTreeMap<u32, u64>) -> Self {
        Self { begins, passage: Mutex::default() }
    }

    /// What was passed so far.
    #[must_use]
    pub fn passage(&self) -> Passage {
        self.lock().clone()
    }

    pub(crate) fn applied(&self, applied: Applied) {
        let begin = self.begins.get(&applied.partition).copied().unwrap_or(0);
        let mut passage = self.lock();
        if applied.offset >= begin {
            passage.read_rows += applied.rows;
            passage.deduplicated_rows += applied.left_out;
        } else {
            passage.earlier_held_rows += applied.kept;
        }
    }

    /// The effect flushed all it was given.
    pub(crate) fn flushed(&self) {
        let mut passage = self.lock();
        passage.earlier_flushed_rows += std::mem::take(&mut passage.earlier_held_rows);
    }

    /// The group stands at `next` in `partition`, with all before it applied.
    pub(crate) fn stands_at(&self, partition: u32, next: u64) {
        self.lock().next.insert(partition, next);
    }

    fn lock(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_told_apart() {
        let since = SinceStart::new(BTreeMap::from([(0, 10), (1, 0)]));
        let apply = |partition, offset, rows, left_out| {
            since.applied(Applied { partition, offset, rows, left_out, kept: rows - left_out });
        };
        apply(0, 9, 5, 1);
        apply(0, 10, 7, 2);
        apply(1, 0, 3, 0);
        apply(2, 0, 1, 0);
        let passage = since.passage();
        assert_eq!((passage.read_rows, passage.deduplicated_rows), (11, 2));
        assert_eq!((passage.earlier_held_rows, passage.earlier_flushed_rows), (4, 0));
        since.flushed();
        since.stands_at(0, 11);
        let passage = since.passage();
        assert_eq!((passage.earlier_held_rows, passage.earlier_flushed_rows), (0, 4));
        assert_eq!(passage.next, BTreeMap::from([(0, 11)]));
    }
}
