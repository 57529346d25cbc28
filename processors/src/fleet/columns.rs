//! The columns of readings that the fleet is about.

use arrow::array::{Array, AsArray, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use telemetry::schema::reading;

/// A column of names: a key a row, and the names of the keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    keys: &'a Int32Array,
    pub(super) names: &'a StringArray,
}

/// Columns of a batch of the stream `readings`, or of its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    pub(super) metric: Names<'a>,
    pub(super) site: Names<'a>,
    /// The devices of all rows, each once. After deduplication some may have no row: they sent again, and are there.
    pub(super) devices: &'a StringArray,
    values: &'a Float64Array,
    /// Microseconds since 1970.
    pub(super) received: &'a TimestampMicrosecondArray,
}

impl<'a> Columns<'a> {
    /// `None` if `batch` is not one of readings.
    pub(super) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let names = |at: usize| {
            let column = batch.columns().get(at)?.as_dictionary_opt::<Int32Type>()?;
            Some(Names { keys: column.keys(), names: column.values().as_string_opt::<i32>()? })
        };
        Some(Self {
            metric: names(reading::METRIC)?,
            site: names(reading::SITE)?,
            devices: names(reading::DEVICE_ID)?.names,
            values: batch.columns().get(reading::VALUE)?.as_primitive_opt::<Float64Type>()?,
            received: batch.columns().get(reading::RECEIVED_AT)?.as_primitive_opt::<TimestampMicrosecondType>()?,
        })
    }

    /// The number that was measured, if it is one.
    pub(super) fn value(&self, row: usize) -> Option<f64> {
        self.values.is_valid(row).then(|| self.values.value(row))
    }

    pub(super) fn rows(&self) -> usize {
        self.received.len()
    }
}

impl<'a> Names<'a> {
    /// Index of the row's name.
    pub(super) fn key(&self, row: usize) -> Option<usize> {
        self.keys.is_valid(row).then(|| usize::try_from(self.keys.value(row)).ok()).flatten()
    }

    /// The name of `key`; empty if there is none.
    pub(super) fn name(&self, key: Option<usize>) -> &'a str {
        key.filter(|key| *key < self.names.len()).map_or("", |key| self.names.value(key))
    }
}
