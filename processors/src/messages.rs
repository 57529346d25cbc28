//! Rules over messages: one row a message, a column a metric that they name.
//!
//! ```text
//!   readings                              messages
//!   row  metric       value               device_id  boot  seq  humidity  temperature
//!    0   temperature  81.5                oven-1     1     7    12        81.5
//!    1   humidity     12          =>      oven-2     3     9    NULL      20
//!    0   temperature  20
//! ```
//!
//! A message begins at a reading whose `row` is 0, and is never split over two records. A rule is evaluated on the
//! messages that have one of its metrics; a metric that no rule names costs nothing.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBufferBuilder, Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use telemetry::schema::reading;

use crate::expression::OfMessage;
use crate::limits;
use crate::names::MESSAGE_COLUMNS;
use crate::occurrences::Occurrences;
use crate::readings::Readings;
use crate::verdict::Verdict;

/// A rule over messages, and the numbers of its metrics.
pub(crate) struct MessageRule<'a> {
    pub(crate) index: usize,
    pub(crate) of: &'a OfMessage,
    pub(crate) numbers: &'a [usize],
}

/// What a rule says about the messages of a batch, by their readings.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Index of the rule.
    pub(crate) rule: usize,
    /// Messages that it was evaluated on.
    pub(crate) evaluated: usize,
    /// First reading with one of its metrics of each message on which it fires.
    pub(crate) fired: Vec<u32>,
    /// Likewise on which it fails.
    pub(crate) failed: Vec<u32>,
    /// The first failure.
    pub(crate) first_error: Option<String>,
}

/// Evaluates `rules`, each of which has one of its metrics among `occurrences`.
pub(crate) fn evaluate(
    rules: &[MessageRule<'_>],
    readings: &Readings<'_>,
    batch: &RecordBatch,
    occurrences: &Occurrences,
) -> Result<Vec<Said>, ArrowError> {
    let mut said: Vec<Said> = rules.iter().map(|rule| Said { rule: rule.index, ..Said::default() }).collect();
    if rules.is_empty() {
        return Ok(said);
    }
    let starts = readings.message_starts();
    let metrics = rules.iter().flat_map(|rule| rule.numbers).max().map_or(0, |number| number + 1);
    let named: usize = rules.iter().map(|rule| rule.numbers.len()).sum();
    let length = (limits::PIVOT_CELLS / named.min(metrics).max(1)).max(1);
    for first in (0..starts.len()).step_by(length) {
        let messages = first..starts.len().min(first + length);
        let mut pivot = Pivot::new(readings, batch, occurrences, &starts, messages, metrics);
        for (rule, said) in rules.iter().zip(&mut said) {
            pivot.say(rule, said)?;
        }
    }
    Ok(said)
}

/// Columns of some of the messages, each made when a rule first asks for it.
struct Pivot<'a> {
    readings: &'a Readings<'a>,
    batch: &'a RecordBatch,
    occurrences: &'a Occurrences,
    /// First rows of these messages.
    starts: &'a [u32],
    /// Their rows.
    rows: Range<u32>,
    columns: [Option<ArrayRef>; MESSAGE_COLUMNS.len()],
    metrics: Vec<Option<Metric>>,
}

/// The column of one metric.
#[derive(Clone)]
struct Metric {
    values: ArrayRef,
    /// Messages that have it, also as a text.
    present: BooleanBuffer,
}

impl<'a> Pivot<'a> {
    fn new(
        readings: &'a Readings<'a>,
        batch: &'a RecordBatch,
        occurrences: &'a Occurrences,
        starts: &'a [u32],
        messages: Range<usize>,
        metrics: usize,
    ) -> Self {
        let begin = |message: usize| starts.get(message).copied();
        // Rows were counted when the occurrences were.
        let end = begin(messages.end).unwrap_or_else(|| u32::try_from(batch.num_rows()).unwrap_or(u32::MAX));
        let rows = begin(messages.start).unwrap_or(end)..end;
        let starts = starts.get(messages).unwrap_or_default();
        Self { readings, batch, occurrences, starts, rows, columns: Default::default(), metrics: vec![None; metrics] }
    }

    fn say(&mut self, rule: &MessageRule<'_>, said: &mut Said) -> Result<(), ArrowError> {
        let mut present = BooleanBuffer::new_unset(self.starts.len());
        for number in rule.numbers {
            if let Some(metric) = self.metric(*number) {
                present = &present | &metric.present;
            }
        }
        let evaluated = present.count_set_bits();
        if evaluated == 0 {
            return Ok(());
        }
        said.evaluated += evaluated;
        let batch = rule.of.predicate.batch(self.starts.len(), |at| self.column(at, rule.numbers))?;
        let verdict = Verdict::of(&rule.of.predicate, &batch);
        self.first_named(rule, &(&verdict.fired & &present), &mut said.fired);
        if let Some((failed, error)) = verdict.failed {
            let before = said.failed.len();
            self.first_named(rule, &(&failed & &present), &mut said.failed);
            if said.failed.len() > before {
                said.first_error.get_or_insert(error);
            }
        }
        Ok(())
    }

    /// Adds, for each of `messages`, its first reading with a metric of `rule`.
    fn first_named(&self, rule: &MessageRule<'_>, messages: &BooleanBuffer, rows: &mut Vec<u32>) {
        for message in messages.set_indices() {
            let Some(start) = self.starts.get(message) else { continue };
            let end = self.starts.get(message + 1).copied().unwrap_or(self.rows.end);
            let named = |row: &u32| {
                let metric = usize::try_from(*row).map_or("", |row| self.readings.metric(row));
                rule.of.metrics.binary_search_by(|name| name.as_str().cmp(metric)).is_ok()
            };
            rows.extend((*start..end).find(named));
        }
    }

    /// Column `at` of those of [`OfMessage::predicate`].
    fn column(&mut self, at: usize, numbers: &[usize]) -> Result<ArrayRef, ArrowError> {
        let rows = self.starts.len();
        let Some(slot) = self.columns.get_mut(at) else {
            let number = numbers.get(at - MESSAGE_COLUMNS.len());
            let metric = number.and_then(|number| self.metric(*number));
            return Ok(metric.map_or_else(|| new_null_array(&DataType::Float64, rows), |metric| metric.values));
        };
        if let Some(column) = slot {
            return Ok(column.clone());
        }
        let column = match MESSAGE_COLUMNS.get(at) {
            Some(&reading::TIME) => Arc::new(times(self.readings, self.starts, self.rows.end)),
            other => {
                let column = other.and_then(|column| self.batch.columns().get(*column));
                let missing = || ArrowError::SchemaError(format!("messages have no column {at}"));
                take(column.ok_or_else(missing)?, &UInt32Array::from(self.starts.to_vec()), None)?
            }
        };
        Ok(slot.insert(column).clone())
    }

    /// The column of the metric of that number; `None` if no message has it.
    fn metric(&mut self, number: usize) -> Option<Metric> {
        let rows = self.occurrences.rows(number);
        let from = rows.partition_point(|row| *row < self.rows.start);
        let to = rows.partition_point(|row| *row < self.rows.end);
        let rows = rows.get(from..to).filter(|rows| !rows.is_empty())?;
        let slot = self.metrics.get_mut(number)?;
        Some(slot.get_or_insert_with(|| Metric::of(self.readings, self.starts, rows)).clone())
    }
}

impl Metric {
    /// Of the readings in `rows`, ascending; where a message has several, the last one counts.
    fn of(readings: &Readings<'_>, starts: &[u32], rows: &[u32]) -> Self {
        let mut values = vec![0.0; starts.len()];
        let (mut valid, mut present) = (unset(starts.len()), unset(starts.len()));
        let mut after = 0;
        for row in rows {
            while starts.get(after).is_some_and(|start| start <= row) {
                after += 1;
            }
            // The first message begins at or before the first row.
            let Some(message) = after.checked_sub(1) else { continue };
            let number = usize::try_from(*row).ok().and_then(|row| readings.number(row));
            if let Some(value) = values.get_mut(message) {
                *value = number.unwrap_or(0.0);
                valid.set_bit(message, number.is_some());
                present.set_bit(message, true);
            }
        }
        let valid = NullBuffer::new(valid.build());
        Self { values: Arc::new(Float64Array::new(values.into(), Some(valid))), present: present.build() }
    }
}

fn unset(length: usize) -> BooleanBufferBuilder {
    let mut bits = BooleanBufferBuilder::new(length);
    bits.append_n(length, false);
    bits
}

/// The time of each message: that of its earliest reading.
fn times(readings: &Readings<'_>, starts: &[u32], end: u32) -> TimestampMicrosecondArray {
    let ends = starts.iter().skip(1).copied().chain([end]);
    let usize_of = |row: u32| usize::try_from(row).unwrap_or(usize::MAX);
    let time = |(start, end): (&u32, u32)| readings.earliest(usize_of(*start)..usize_of(end)).as_micros();
    TimestampMicrosecondArray::from_iter_values(starts.iter().zip(ends).map(time)).with_timezone("UTC")
}

#[cfg(test)]
mod tests;
