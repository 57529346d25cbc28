//! The columns of what fired.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, StringBuilder, StringDictionaryBuilder,
    UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use telemetry::schema::{self, reading};

use crate::fired::{Fired, InOrder, Record};
use crate::keys::Keys;
use crate::readings::Readings;
use crate::rules::Rule;

/// Bytes of an alert besides its texts, for the estimate of its size: 151 of columns, offsets and keys.
const ALERT_BYTES: usize = 160;
/// Bytes of a record besides its alerts, for the same: headers, and the padding of each column.
const RECORD_BYTES: usize = 4 * 1024;

/// Where a record of readings stands, as the columns of alerts hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl SourceRecord {
    pub(crate) fn new(partition: u32, offset: u64) -> Result<Self, ArrowError> {
        let partition = i32::try_from(partition).map_err(out_of_range)?;
        Ok(Self { partition, offset: i64::try_from(offset).map_err(out_of_range)? })
    }
}

/// The alerts of one record of readings, built a batch at a time.
#[derive(Debug)]
pub(crate) struct Alerts<'a> {
    rules: &'a [Rule],
    readings: &'a Readings<'a>,
    batch: &'a RecordBatch,
    source: SourceRecord,
    fired: InOrder<'a>,
    keys: Keys<'a>,
    /// Index of the next alert among all of the record of readings.
    next: usize,
    record_bytes: usize,
}

impl<'a> Alerts<'a> {
    /// What `fired` on `batch`, which is `readings`, in batches of at most `record_bytes`.
    pub(crate) fn new(
        rules: &'a [Rule],
        readings: &'a Readings<'a>,
        batch: &'a RecordBatch,
        source: SourceRecord,
        fired: InOrder<'a>,
        record_bytes: usize,
    ) -> Self {
        let keys = Keys::new(readings);
        Self { rules, readings, batch, source, fired, keys, next: 0, record_bytes }
    }

    /// As many of the next alerts as there is room for, but at least one.
    fn record(&mut self) -> Result<Record, ArrowError> {
        let mut texts = Texts::default();
        let mut about = Vec::new();
        let (mut message, mut bytes) = (String::new(), RECORD_BYTES);
        while let Some(Fired { row, rule }) = self.fired.peek() {
            if let Some(rule) = self.rules.get(rule) {
                rule.template.fill(self.readings, row, &mut message);
                bytes += ALERT_BYTES + rule.id().len() + message.len() + self.readings.text_bytes(row);
                if bytes > self.record_bytes && !about.is_empty() {
                    break;
                }
                texts.push(&self.keys.run_id(rule, row).to_string(), rule, &message);
                about.push(u32::try_from(row).map_err(out_of_range)?);
            }
            self.fired.advance();
        }
        let first = i32::try_from(self.next).map_err(out_of_range)?;
        self.next += about.len();
        let end = i32::try_from(self.next).map_err(out_of_range)?;
        let mut columns = texts.finish();
        let about = UInt32Array::from(about);
        for column in self.batch.columns().iter().take(reading::TABLE_COLUMNS) {
            columns.push(take_compact(column, &about)?);
        }
        columns.push(Arc::new(Int32Array::from_value(self.source.partition, about.len())));
        columns.push(Arc::new(Int64Array::from_value(self.source.offset, about.len())));
        columns.push(Arc::new(Int32Array::from_iter_values(first..end)));
        Ok(Record { batch: RecordBatch::try_new(schema::alerts_stream(), columns)?, about })
    }
}

impl Iterator for Alerts<'_> {
    type Item = Result<Record, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fired.peek()?;
        Some(self.record())
    }
}

/// The columns that the rule gives.
#[derive(Default)]
struct Texts {
    ids: StringBuilder,
    rule_ids: StringDictionaryBuilder<Int32Type>,
    severities: StringDictionaryBuilder<Int32Type>,
    messages: StringBuilder,
}

impl Texts {
    fn push(&mut self, id: &str, rule: &Rule, message: &str) {
        self.ids.append_value(id);
        self.rule_ids.append_value(rule.id());
        self.severities.append_value(rule.severity().as_str());
        self.messages.append_value(message);
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.rule_ids.finish()),
            Arc::new(self.severities.finish()),
            Arc::new(self.messages.finish()),
        ]
    }
}

pub(crate) fn out_of_range(error: impl std::fmt::Display) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("partition, offset, row or index out of range: {error}"))
}

/// The `rows` of `column`. A dictionary keeps only the values that occur: few readings fire, and each record
/// carries its dictionaries.
fn take_compact(column: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, ArrowError> {
    let taken = take(column, rows, None)?;
    match taken.data_type() {
        DataType::Dictionary(_, _) => {
            let mut compact = StringDictionaryBuilder::<Int32Type>::new();
            let texts = taken.as_dictionary_opt::<Int32Type>().and_then(|keys| keys.downcast_dict::<StringArray>());
            for text in texts.ok_or_else(|| ArrowError::SchemaError("a dictionary column is not of text".to_owned()))? {
                compact.append_option(text);
            }
            Ok(Arc::new(compact.finish()))
        }
        _ => Ok(taken),
    }
}

#[cfg(test)]
mod tests;
