//! Recognises copies: records that came into a partition twice because no acknowledgement came for the first.
//!
//! A writer appends its records to a partition in order of their sequence and goes on only when the cluster has them, so
//! whatever comes later with a sequence that is not higher is a copy.

use std::collections::HashMap;

use super::limits::WRITERS;

/// The last record of each writer of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    writers: HashMap<u64, Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    /// Where it was: the writer silent for longest is forgotten first.
    offset: u64,
}

/// What a record is to who has read those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// New. So many records of its writer that should stand before it do not.
    New {
        /// Records missing.
        missing: u64,
    },
    /// A copy.
    Copy,
}

impl Copies {
    /// Takes note of record `sequence` of `writer`, found at `offset`.
    pub(super) fn see(&mut self, writer: u64, sequence: u64, offset: u64) -> Seen {
        let known = self.writers.get(&writer).copied();
        if let Some(last) = known
            && sequence <= last.sequence
        {
            return Seen::Copy;
        }
        if known.is_none() && self.writers.len() >= WRITERS {
            let oldest = self.writers.iter().min_by_key(|(_, last)| last.offset).map(|(writer, _)| *writer);
            oldest.map(|oldest| self.writers.remove(&oldest));
        }
        self.writers.insert(writer, Last { sequence, offset });
        Seen::New { missing: known.map_or(0, |last| sequence - last.sequence - 1) }
    }
}

#[cfg(test)]
mod tests;
