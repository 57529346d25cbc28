//! Typed columns of a batch of readings.

use std::fmt::{self, Write};
use std::ops::Range;

use arrow::array::{
    Array, ArrayAccessor, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TypedDictionaryArray,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, SecondsFormat};
use telemetry::schema::{self, reading};
use telemetry::{Timestamp, Value};

type Texts<'a> = TypedDictionaryArray<'a, Int32Type, StringArray>;

/// A batch of the stream of readings, each column as what it is.
#[derive(Debug)]
pub(crate) struct Readings<'a> {
    device_id: Texts<'a>,
    metric: Texts<'a>,
    time: &'a TimestampMicrosecondArray,
    value: &'a Float64Array,
    value_bool: &'a BooleanArray,
    value_text: &'a StringArray,
    unit: Texts<'a>,
    site: Texts<'a>,
    boot: &'a Int64Array,
    seq: &'a Int64Array,
    received_at: &'a TimestampMicrosecondArray,
    row: &'a Int32Array,
}

impl<'a> Readings<'a> {
    /// # Errors
    /// If `batch` is not in the stream schema of readings.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Self::columns(batch).ok_or_else(|| {
            let (found, expected) = (batch.schema(), schema::readings_stream());
            ArrowError::SchemaError(format!("batch has schema {found}, expected {expected}"))
        })
    }

    fn columns(batch: &'a RecordBatch) -> Option<Self> {
        if batch.schema_ref() != &schema::readings_stream() {
            return None;
        }
        let texts =
            |at: usize| batch.columns().get(at)?.as_dictionary_opt::<Int32Type>()?.downcast_dict::<StringArray>();
        let times = |at: usize| batch.columns().get(at)?.as_primitive_opt::<TimestampMicrosecondType>();
        let integers = |at: usize| batch.columns().get(at)?.as_primitive_opt::<Int64Type>();
        Some(Self {
            device_id: texts(reading::DEVICE_ID)?,
            metric: texts(reading::METRIC)?,
            time: times(reading::TIME)?,
            value: batch.columns().get(reading::VALUE)?.as_primitive_opt::<Float64Type>()?,
            value_bool: batch.columns().get(reading::VALUE_BOOL)?.as_boolean_opt()?,
            value_text: batch.columns().get(reading::VALUE_TEXT)?.as_string_opt()?,
            unit: texts(reading::UNIT)?,
            site: texts(reading::SITE)?,
            boot: integers(reading::BOOT)?,
            seq: integers(reading::SEQ)?,
            received_at: times(reading::RECEIVED_AT)?,
            row: batch.columns().get(reading::ROW)?.as_primitive_opt::<Int32Type>()?,
        })
    }

    /// Who measured.
    pub(crate) fn device_id(&self, row: usize) -> &'a str {
        get(self.device_id, row).unwrap_or_default()
    }

    /// Bytes of all texts of a row.
    pub(crate) fn text_bytes(&self, row: usize) -> usize {
        let named =
            [self.device_id, self.metric, self.unit, self.site].map(|column| get(column, row).map_or(0, str::len));
        named.iter().sum::<usize>() + get(self.value_text, row).map_or(0, str::len)
    }

    /// Boot and sequence number: what makes a message unique, if its device gives both.
    pub(crate) fn identity(&self, row: usize) -> Option<(i64, i64)> {
        Some((get(self.boot, row)?, get(self.seq, row)?))
    }

    /// What was measured.
    pub(crate) fn metric(&self, row: usize) -> &'a str {
        get(self.metric, row).unwrap_or_default()
    }

    /// The metrics of all rows: a key a row, and the names of the keys.
    pub(crate) fn metrics(&self) -> (&'a [i32], &'a StringArray) {
        (self.metric.keys().values(), self.metric.values())
    }

    /// The unit.
    pub(crate) fn unit(&self, row: usize) -> Option<&'a str> {
        get(self.unit, row)
    }

    /// Where.
    pub(crate) fn site(&self, row: usize) -> Option<&'a str> {
        get(self.site, row)
    }

    /// When, by the device's clock.
    pub(crate) fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_micros(get(self.time, row).unwrap_or_default())
    }

    /// When Weir received it.
    pub(crate) fn received_at(&self, row: usize) -> Timestamp {
        Timestamp::from_micros(get(self.received_at, row).unwrap_or_default())
    }

    /// [`Readings::time`] in RFC 3339.
    pub(crate) fn shown_time(&self, row: usize) -> String {
        rfc3339(self.time, row).unwrap_or_default()
    }

    /// [`Readings::received_at`] likewise.
    pub(crate) fn shown_received_at(&self, row: usize) -> String {
        rfc3339(self.received_at, row).unwrap_or_default()
    }

    /// The value of whatever kind.
    pub(crate) fn value(&self, row: usize) -> Option<Value<'a>> {
        let number = get(self.value, row).map(Value::Number);
        number
            .or_else(|| get(self.value_bool, row).map(Value::Bool))
            .or_else(|| get(self.value_text, row).map(|text| Value::Text(text.into())))
    }

    /// The value as rules over messages see it: a number, or a boolean as 1 or 0.
    pub(crate) fn number(&self, row: usize) -> Option<f64> {
        get(self.value, row).or_else(|| get(self.value_bool, row).map(|truth| f64::from(u8::from(truth))))
    }

    /// First rows of the messages, ascending.
    pub(crate) fn message_starts(&self) -> Vec<u32> {
        let begins = |(at, row): (u32, &i32)| (*row == 0 || at == 0).then_some(at);
        (0..).zip(self.row.values()).filter_map(begins).collect()
    }

    /// First row of the message that `row` belongs to.
    pub(crate) fn message_start(&self, row: u32) -> u32 {
        let within = usize::try_from(row).ok().and_then(|at| self.row.values().get(at).copied());
        row.saturating_sub(within.and_then(|within| u32::try_from(within).ok()).unwrap_or(0))
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.row.len()
    }

    /// The rows of the message that `row` belongs to.
    pub(crate) fn message(&self, row: usize) -> Range<usize> {
        let rows = self.row.values();
        let begins = |at: &usize| rows.get(*at).is_none_or(|row| *row == 0);
        let start = (0..=row).rev().find(begins).unwrap_or(0);
        start..(row + 1..rows.len()).find(begins).unwrap_or(rows.len())
    }

    /// The earliest time of `rows`.
    pub(crate) fn earliest(&self, rows: Range<usize>) -> Timestamp {
        rows.map(|row| self.time(row)).min().unwrap_or(Timestamp::from_micros(0))
    }

    /// Writes a column of a row as a person reads it. `value` is the value of whatever kind the reading has.
    pub(crate) fn write(&self, column: usize, row: usize, out: &mut impl Write) -> fmt::Result {
        match column {
            reading::DEVICE_ID => write_text(self.device_id, row, out),
            reading::METRIC => write_text(self.metric, row, out),
            reading::TIME => write_time(self.time, row, out),
            reading::VALUE => self.write_value(row, out),
            reading::VALUE_BOOL => write_shown(self.value_bool, row, out),
            reading::VALUE_TEXT => write_text(self.value_text, row, out),
            reading::UNIT => write_text(self.unit, row, out),
            reading::SITE => write_text(self.site, row, out),
            reading::BOOT => write_shown(self.boot, row, out),
            reading::SEQ => write_shown(self.seq, row, out),
            reading::RECEIVED_AT => write_time(self.received_at, row, out),
            _ => Ok(()),
        }
    }

    fn write_value(&self, row: usize, out: &mut impl Write) -> fmt::Result {
        match get(self.value, row) {
            Some(value) if value == 0.0 || (1e-5..1e15).contains(&value.abs()) => write!(out, "{value}"),
            // Display would write up to 300 zeros.
            Some(value) => write!(out, "{value:e}"),
            None if self.value_bool.is_valid(row) => write_shown(self.value_bool, row, out),
            None => write_text(self.value_text, row, out),
        }
    }
}

fn get<A: ArrayAccessor>(array: A, row: usize) -> Option<A::Item> {
    array.is_valid(row).then(|| array.value(row))
}

fn write_text<'a>(texts: impl ArrayAccessor<Item = &'a str>, row: usize, out: &mut impl Write) -> fmt::Result {
    get(texts, row).map_or(Ok(()), |text| out.write_str(text))
}

fn write_shown<A: ArrayAccessor<Item: fmt::Display>>(array: A, row: usize, out: &mut impl Write) -> fmt::Result {
    get(array, row).map_or(Ok(()), |value| write!(out, "{value}"))
}

fn write_time(times: &TimestampMicrosecondArray, row: usize, out: &mut impl Write) -> fmt::Result {
    rfc3339(times, row).map_or(Ok(()), |time| out.write_str(&time))
}

fn rfc3339(times: &TimestampMicrosecondArray, row: usize) -> Option<String> {
    let time = get(times, row).and_then(DateTime::from_timestamp_micros)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
