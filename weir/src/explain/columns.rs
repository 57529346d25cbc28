//! The rows of one message out of a batch, of a stream or of a file.

use std::collections::BTreeMap;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use serde_json::Value;
use telemetry::Timestamp;

use super::view::{Reading, Who};
use crate::dlq::view::time;

/// Indexes of the rows of `who` in `batch`, which has columns device_id, boot and seq.
pub(super) fn places(batch: &RecordBatch, who: &Who) -> anyhow::Result<Vec<u32>> {
    let numbers = |name| {
        let column = named(batch, name)?.as_primitive_opt::<Int64Type>();
        column.with_context(|| format!("column {name} is not of its type"))
    };
    let (boots, seqs) = (numbers("boot")?, numbers("seq")?);
    let is = |column: &Int64Array, row, number| column.is_valid(row) && column.value(row) == number;
    // Numbers are cheap to compare, and few rows are left for the texts.
    let rows = (0_u32..).zip(0..batch.num_rows());
    let rows: Vec<u32> =
        rows.filter(|(_, row)| is(boots, *row, who.boot) && is(seqs, *row, who.seq)).map(|(row, _)| row).collect();
    if rows.is_empty() {
        return Ok(rows);
    }
    let devices = take(named(batch, "device_id")?, &UInt32Array::from(rows.clone()), None)?;
    let devices = cast(&devices, &DataType::Utf8)?;
    let devices = devices.as_string::<i32>();
    Ok(rows
        .into_iter()
        .zip(devices)
        .filter(|(_, device)| *device == Some(who.device.as_str()))
        .map(|(row, _)| row)
        .collect())
}

/// Some rows, with columns of few types: text as `Utf8`, whole numbers and times as `Int64`, others as they are.
#[derive(Debug)]
pub(super) struct Rows {
    columns: BTreeMap<String, ArrayRef>,
    length: usize,
}

impl Rows {
    /// The rows `places` of `batch`.
    pub(super) fn of(batch: &RecordBatch, places: Vec<u32>) -> anyhow::Result<Self> {
        let (length, places) = (places.len(), UInt32Array::from(places));
        let mut columns = BTreeMap::new();
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let column = take(column, &places, None)?;
            let plain = match field.data_type() {
                DataType::Dictionary(_, _) => cast(&column, &DataType::Utf8)?,
                DataType::Int32 | DataType::Timestamp(_, _) => cast(&column, &DataType::Int64)?,
                _ => column,
            };
            columns.insert(field.name().clone(), plain);
        }
        Ok(Self { columns, length })
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// A text; `None` where it is null, or there is no such column.
    pub(super) fn text(&self, name: &str, row: usize) -> Option<&str> {
        let column = self.columns.get(name)?.as_string_opt::<i32>()?;
        (row < column.len() && column.is_valid(row)).then(|| column.value(row))
    }

    /// The same, and an empty one otherwise.
    pub(super) fn owned(&self, name: &str, row: usize) -> String {
        self.text(name, row).unwrap_or_default().to_owned()
    }

    pub(super) fn bytes(&self, name: &str, row: usize) -> &[u8] {
        let column = self.columns.get(name).and_then(|column| column.as_binary_opt::<i32>());
        column.filter(|column| row < column.len()).map(|column| column.value(row)).unwrap_or_default()
    }

    /// A whole number, or a time in microseconds.
    pub(super) fn number(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.columns.get(name)?.as_primitive_opt::<Int64Type>()?;
        (row < column.len() && column.is_valid(row)).then(|| column.value(row))
    }

    pub(super) fn time(&self, name: &str, row: usize) -> Timestamp {
        Timestamp::from_micros(self.number(name, row).unwrap_or_default())
    }

    pub(super) fn reading(&self, row: usize) -> Reading {
        Reading {
            metric: self.owned("metric", row),
            time: time(self.time("time", row)),
            value: self.value(row),
            unit: self.text("unit", row).map(str::to_owned),
            site: self.text("site", row).map(str::to_owned),
        }
    }

    fn value(&self, row: usize) -> Value {
        if let Some(text) = self.text("value_text", row) {
            return text.into();
        }
        let column = |name: &str| self.columns.get(name).filter(|column| row < column.len() && column.is_valid(row));
        let truth = column("value_bool").and_then(|column| column.as_boolean_opt()).map(|column| column.value(row));
        if let Some(truth) = truth {
            return truth.into();
        }
        let number = column("value").and_then(|column| column.as_primitive_opt::<Float64Type>());
        number.map_or(Value::Null, |column| column.value(row).into())
    }
}

fn named<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a dyn Array> {
    batch.column_by_name(name).map(AsRef::as_ref).with_context(|| format!("no column {name}"))
}
