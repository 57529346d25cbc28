//! Deduplication of what a processor appended: by the record it came from, and its index in what that record
//! gave rise to.
//!
//! A processor appends what its source records give rise to in order of source offset, and for one source
//! record in order of index, in one record or in several. After a crash it repeats from its last position,
//! and may have been cut off anywhere, also within a source record. So one pair per source partition tells
//! what is a repetition: the highest (source offset, index) seen, offset first. How the rows are cut into
//! records does not matter.

use std::collections::BTreeMap;

use arrow::array::{ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use telemetry::schema::{alert, firing};

use super::{StateError, Verdict};

const VERSION: u8 = 1;
/// Partition, offset, index.
const ENTRY_BYTES: usize = 4 + 8 + 4;

/// Highest (source offset, index) seen, by source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Column of the source partition; offset and index follow it.
    first_column: usize,
    highest: BTreeMap<i32, (i64, i32)>,
}

impl Sources {
    /// For the stream `alerts`.
    #[must_use]
    pub fn of_alerts() -> Self {
        Self { first_column: alert::SOURCE_PARTITION, highest: BTreeMap::new() }
    }

    /// For the stream `workflows`.
    #[must_use]
    pub fn of_workflows() -> Self {
        Self { first_column: firing::SOURCE_PARTITION, highest: BTreeMap::new() }
    }

    pub(super) fn check(&mut self, batch: &RecordBatch) -> Result<Verdict, StateError> {
        let partitions = column::<Int32Type>(batch, self.first_column, "source_partition")?;
        let offsets = column::<Int64Type>(batch, self.first_column + 1, "source_offset")?;
        let indexes = column::<Int32Type>(batch, self.first_column + 2, "source_index")?;
        let mut keep = Vec::with_capacity(batch.num_rows());
        let mut duplicates = 0;
        for (partition, at) in partitions.iter().zip(offsets.iter().copied().zip(indexes.iter().copied())) {
            let new = self.highest.get(partition).is_none_or(|highest| at > *highest);
            if new {
                self.highest.insert(*partition, at);
            }
            keep.push(new);
            duplicates += u64::from(!new);
        }
        Ok(Verdict { keep: (duplicates > 0).then(|| BooleanArray::from(keep)), duplicates, undecided: 0 })
    }

    pub(super) fn snapshot(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(1 + self.highest.len() * ENTRY_BYTES);
        bytes.put_u8(VERSION);
        for (partition, (offset, index)) in &self.highest {
            bytes.put_i32_le(*partition);
            bytes.put_i64_le(*offset);
            bytes.put_i32_le(*index);
        }
        bytes.freeze()
    }

    /// Remembers what `snapshot` says instead.
    pub(super) fn restore(&mut self, mut snapshot: Bytes) -> Result<(), StateError> {
        let mut highest = BTreeMap::new();
        if snapshot.is_empty() {
            self.highest = highest;
            return Ok(());
        }
        if snapshot.get_u8() != VERSION {
            return Err(StateError::Snapshot("unknown version"));
        }
        if !snapshot.len().is_multiple_of(ENTRY_BYTES) {
            return Err(StateError::Snapshot("length does not fit"));
        }
        while snapshot.has_remaining() {
            let partition = snapshot.get_i32_le();
            highest.insert(partition, (snapshot.get_i64_le(), snapshot.get_i32_le()));
        }
        self.highest = highest;
        Ok(())
    }
}

fn column<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    at: usize,
    name: &'static str,
) -> Result<&'a ScalarBuffer<T::Native>, StateError> {
    let column = batch.columns().get(at).and_then(|column| column.as_primitive_opt::<T>());
    column.map(|column| column.values()).ok_or(StateError::Column(name))
}
