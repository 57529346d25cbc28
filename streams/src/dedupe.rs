//! Which messages were seen before: exactly once out of at-least-once.
//!
//! A device resends what was not acknowledged, a processor appends again after a crash; both give the log
//! the same thing twice. Deduplication is a function of the log alone: every consumer group that reads a
//! partition from the same start leaves out the same rows.

mod devices;
mod sources;

use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

pub use devices::Devices;
pub use sources::Sources;

/// What deduplication found in one batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Rows to keep; `None` if all.
    pub keep: Option<BooleanArray>,
    /// Messages left out.
    pub duplicates: u64,
    /// Messages kept although their identity is too old to be told from one seen before.
    pub undecided: u64,
}

/// Deduplication of one partition, by what its stream holds.
#[derive(Clone, Debug)]
pub enum Dedupe {
    /// Stream `readings`: by device, boot and sequence.
    Devices(Devices),
    /// Streams `alerts` and `workflows`: by the record the rows came from.
    Sources(Sources),
}

impl Dedupe {
    /// Looks at every message of `batch`, in order, and remembers it.
    ///
    /// # Errors
    /// If the batch lacks the columns of its stream.
    pub fn check(&mut self, batch: &RecordBatch) -> Result<Verdict, StateError> {
        match self {
            Self::Devices(devices) => devices.check(batch),
            Self::Sources(sources) => sources.check(batch),
        }
    }

    /// What is remembered, as bytes for a [`crate::Position`].
    #[must_use]
    pub fn snapshot(&self) -> Bytes {
        match self {
            Self::Devices(devices) => devices.snapshot(),
            Self::Sources(sources) => sources.snapshot(),
        }
    }

    /// Remembers what `snapshot` says; empty bytes are the state before the first record.
    ///
    /// # Errors
    /// If the bytes are not a snapshot of this kind.
    pub fn restore(&mut self, snapshot: &Bytes) -> Result<(), StateError> {
        match self {
            Self::Devices(devices) => *devices = Devices::restore(snapshot.clone())?,
            Self::Sources(sources) => sources.restore(snapshot.clone())?,
        }
        Ok(())
    }
}

/// A batch or a snapshot is not what deduplication needs: a bug or damaged data; the consumer stops.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StateError {
    /// A column of the stream's schema is missing or of another type.
    #[error("batch has no column {0} of the expected type")]
    Column(&'static str),
    /// The snapshot cannot be read.
    #[error("deduplication snapshot is damaged: {0}")]
    Snapshot(&'static str),
}

#[cfg(test)]
mod tests;
