//! Rows of one partition in the order of the table: by hour, device and time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::buffer::PartitionRows;
use crate::dictionary::{Unified, column, unify};
use crate::layout::{HOUR_MICROS, Hour};
use crate::spec::TableSpec;

/// A row's place in the order, packed so that one comparison of integers decides:
/// `hour | rank of the device | microsecond of the hour | index of the row`, 32 bits each.
type Key = u128;

/// A column over all rows of the partition, in order of the stream.
#[derive(Debug)]
enum Joined {
    Null,
    Plain(ArrayRef),
    Dictionary(Unified),
}

/// The rows of one partition, sorted.
#[derive(Debug)]
pub(crate) struct Arranged {
    columns: Vec<Joined>,
    keys: Vec<Key>,
    /// First row and offset of each record.
    records: Vec<(usize, u64)>,
}

/// Rows of one hour: what one file holds.
#[derive(Debug)]
pub(crate) struct HourRows {
    /// The hour.
    pub(crate) hour: Hour,
    /// Offsets of the first and last record with a row among them.
    pub(crate) offsets: (u64, u64),
    /// Different devices among them.
    pub(crate) devices: u32,
    /// The rows, in the table's schema, sorted by device and time; equal ones in order of the stream.
    pub(crate) batch: RecordBatch,
}

/// Sorts `rows`.
///
/// # Errors
/// If a batch has not the columns of `spec`.
pub(crate) fn arrange(rows: &PartitionRows, spec: &TableSpec) -> Result<Arranged, ArrowError> {
    let columns = (0..spec.schema.fields().len()).map(|index| join(&rows.batches, index));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let keys = match (columns.get(spec.device_id), columns.get(spec.time)) {
        (Some(Joined::Dictionary(devices)), Some(Joined::Plain(times))) => sorted_keys(&devices.keys, micros(times)?),
        _ => return Err(ArrowError::SchemaError("device or time is not of its type, or null".to_owned())),
    };
    Ok(Arranged { columns, keys, records: rows.records.clone() })
}

/// The rows of `batches`, of one schema, as one batch.
///
/// # Errors
/// If a batch has other columns than the first.
pub(crate) fn merge(batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Err(ArrowError::InvalidArgumentError("nothing to merge".to_owned()));
    };
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| match join(batches, index)? {
        Joined::Null => Ok(new_null_array(field.data_type(), rows)),
        Joined::Plain(array) => Ok(array),
        Joined::Dictionary(unified) => column(unified.keys, &unified.values, field),
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

impl Arranged {
    /// The rows, hour by hour; each batch is made when it is asked for.
    pub(crate) fn hours(&self, spec: &TableSpec) -> impl Iterator<Item = Result<HourRows, ArrowError>> {
        self.keys.chunk_by(|a, b| hour_of(*a) == hour_of(*b)).map(|keys| self.hour(keys, spec))
    }

    fn hour(&self, keys: &[Key], spec: &TableSpec) -> Result<HourRows, ArrowError> {
        let rows: Vec<u32> = keys.iter().map(|key| row_of(*key)).collect();
        let (first, last) = rows.iter().fold((u32::MAX, 0), |(first, last), row| (first.min(*row), last.max(*row)));
        let devices = keys.chunk_by(|a, b| rank_of(*a) == rank_of(*b)).count();
        // All rows, in the order they have: nothing to move.
        let all = rows.len() == self.keys.len() && rows.is_sorted();
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().zip(spec.schema.fields()).map(|(joined, field)| match joined {
            Joined::Null => Ok(new_null_array(field.data_type(), rows.len())),
            Joined::Plain(array) if all => Ok(array.clone()),
            Joined::Plain(array) => take(array, &rows, None),
            Joined::Dictionary(unified) if all => column(unified.keys.clone(), &unified.values, field),
            Joined::Dictionary(unified) => column(take_keys(&unified.keys, &rows)?, &unified.values, field),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(HourRows {
            hour: keys.first().map_or(Hour::of(0), |key| Hour::from_index(hour_of(*key))),
            offsets: (self.offset_of(first), self.offset_of(last)),
            devices: u32::try_from(devices).unwrap_or(u32::MAX),
            batch: RecordBatch::try_new(Arc::clone(&spec.schema), columns)?,
        })
    }

    /// Offset of the record that `row` came in.
    fn offset_of(&self, row: u32) -> u64 {
        let record = self.records.partition_point(|(first, _)| *first <= row as usize);
        record.checked_sub(1).and_then(|record| self.records.get(record)).map_or(0, |(_, offset)| *offset)
    }
}

fn join(batches: &[RecordBatch], index: usize) -> Result<Joined, ArrowError> {
    let columns = batches.iter().map(|batch| batch.columns().get(index));
    let columns: Option<Vec<&ArrayRef>> = columns.collect();
    let columns = columns.ok_or_else(|| ArrowError::SchemaError(format!("a batch has no column {index}")))?;
    if columns.iter().all(|column| column.null_count() == column.len()) {
        return Ok(Joined::Null);
    }
    if columns.iter().any(|column| matches!(column.data_type(), DataType::Dictionary(_, _))) {
        return unify(&columns).map(Joined::Dictionary);
    }
    let columns: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
    concat(&columns).map(Joined::Plain)
}

fn micros(times: &ArrayRef) -> Result<&[i64], ArrowError> {
    let times = times.as_any().downcast_ref::<TimestampMicrosecondArray>();
    let times = times.ok_or_else(|| ArrowError::SchemaError("time is not in microseconds".to_owned()))?;
    Ok(times.values())
}

fn take_keys(keys: &Int32Array, rows: &UInt32Array) -> Result<Int32Array, ArrowError> {
    let taken = take(keys, rows, None)?;
    Ok(Int32Array::from(taken.to_data()))
}

fn sorted_keys(ranks: &Int32Array, times: &[i64]) -> Vec<Key> {
    let mut outside = false;
    let mut keys: Vec<Key> = Vec::with_capacity(times.len());
    for ((row, rank), time) in (0_u32..).zip(ranks.values()).zip(times) {
        let hour = Hour::of(*time);
        let within = time.saturating_sub(hour.start_micros());
        outside |= !(0..HOUR_MICROS).contains(&within);
        let within = u32::try_from(within.clamp(0, HOUR_MICROS)).unwrap_or(0);
        // The column of devices has no nulls, so no rank is negative.
        keys.push(key(hour, rank.unsigned_abs(), within, row));
    }
    if !keys.is_sorted() {
        keys.sort_unstable();
    }
    if outside {
        // Times before 1970 or after 9999 do not fit into the packed key: compare them themselves.
        let time = |key: &Key| times.get(row_of(*key) as usize).copied().unwrap_or(0);
        keys.sort_by_key(|key| (hour_of(*key), rank_of(*key), time(key), row_of(*key)));
    }
    keys
}

fn key(hour: Hour, rank: u32, within: u32, row: u32) -> Key {
    u128::from(hour.index()) << 96 | u128::from(rank) << 64 | u128::from(within) << 32 | u128::from(row)
}

fn hour_of(key: Key) -> u32 {
    (key >> 96) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the second 32 of 128 bits")]
fn rank_of(key: Key) -> u32 {
    (key >> 64) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 32 of 128 bits")]
fn row_of(key: Key) -> u32 {
    key as u32
}
