//! Rows held in memory until the next flush, by partition.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;

/// Batches of one partition, in order of offset.
#[derive(Debug, Default)]
pub(crate) struct PartitionRows {
    /// Each with the offset of its record. Together at least one row.
    pub(crate) batches: Vec<(u64, RecordBatch)>,
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
    pub(crate) fn push(&mut self, partition: u32, offset: u64, batch: RecordBatch, bytes: usize, now: Duration) {
        self.rows += batch.num_rows();
        self.bytes += bytes;
        self.since.get_or_insert(now);
        self.partitions.entry(partition).or_default().batches.push((offset, batch));
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
        self.partitions.get(&partition)?.batches.last().map(|(offset, _)| *offset)
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
