//! Rows held in memory until the next flush, by partition.
//!
//! A trickle comes in records of a row or two, and such a batch takes kilobytes besides its rows: 13 columns with
//! their dictionaries, over the bytes of the whole record. So small batches are merged as they gather, first
//! those of less than 64 rows, then those of less than 4,096; a row is moved twice at most.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::arrange::merge;

/// Batches that are merged when so many smaller ones have gathered at the end.
const GATHERED: usize = 64;
/// A batch of fewer rows is small: of the first kind, of the second.
const SMALL_ROWS: [usize; 2] = [64, 64 * 64];

/// Rows of one partition, in order of offset.
#[derive(Debug, Default)]
pub(crate) struct PartitionRows {
    /// Together at least one row.
    pub(crate) batches: Vec<RecordBatch>,
    /// First row of each record, counted over all batches, and the record's offset.
    pub(crate) records: Vec<(usize, u64)>,
    rows: usize,
}

impl PartitionRows {
    /// Adds the rows of the record at `offset`.
    ///
    /// # Errors
    /// If the batches cannot be merged: their columns are not those of one table.
    pub(crate) fn push(&mut self, offset: u64, batch: RecordBatch) -> Result<(), ArrowError> {
        self.records.push((self.rows, offset));
        self.rows += batch.num_rows();
        self.batches.push(batch);
        for rows in SMALL_ROWS {
            let small = self.batches.iter().rev().take_while(|batch| batch.num_rows() < rows).count();
            if small >= GATHERED {
                let merged = merge(&self.batches.split_off(self.batches.len() - small))?;
                self.batches.push(merged);
            }
        }
        Ok(())
    }
}

/// What was applied and is not yet committed.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    partitions: BTreeMap<u32, PartitionRows>,
    rows: usize,
    bytes: usize,
    since: Option<Duration>,
}

impl Buffer {
    /// Keeps `batch`, which holds `bytes` of memory, at monotonic time `now`.
    ///
    /// # Errors
    /// As [`PartitionRows::push`].
    pub(crate) fn push(
        &mut self,
        partition: u32,
        offset: u64,
        batch: RecordBatch,
        bytes: usize,
        now: Duration,
    ) -> Result<(), ArrowError> {
        self.rows += batch.num_rows();
        self.bytes += bytes;
        self.since.get_or_insert(now);
        self.partitions.entry(partition).or_default().push(offset, batch)
    }

    /// Rows held.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest row was applied; `None` if there is none.
    pub(crate) fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Offset of the last record held of `partition`.
    pub(crate) fn last_offset(&self, partition: u32) -> Option<u64> {
        self.partitions.get(&partition)?.records.last().map(|(_, offset)| *offset)
    }

    /// Partitions with rows.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = u32> {
        self.partitions.keys().copied()
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> BTreeMap<u32, PartitionRows> {
        std::mem::take(self).partitions
    }
}

/// Memory that the rows of `batch` take, in bytes. Columns of one record point into one allocation, so
/// what counts is the slices, not the allocations behind them.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array};
    use arrow::datatypes::{Field, Int32Type, Schema};

    use super::*;

    fn row(number: i64) -> RecordBatch {
        let text = number.to_string();
        let name = (number % 3 > 0).then_some(text.as_str());
        let names: DictionaryArray<Int32Type> = [name].into_iter().collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(Int64Array::from(vec![number]))];
        let field = |name, column: &ArrayRef| Field::new(name, column.data_type().clone(), true);
        let fields = vec![field("name", &columns[0]), field("number", &columns[1])];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn a_trickle_is_merged_and_stays_in_order() {
        let mut rows = PartitionRows::default();
        for number in 0..10_000 {
            rows.push(u64::try_from(number).unwrap() * 2, row(number)).unwrap();
            assert!(rows.batches.len() < 3 * GATHERED, "{} batches", rows.batches.len());
        }
        let merged = merge(&rows.batches).unwrap();
        let single: Vec<_> = (0..10_000).map(row).collect();
        assert_eq!(merged, merge(&single).unwrap());
        assert_eq!(rows.records[5_000], (5_000, 10_000));
    }
}
