//! Rows of a table, brought back into messages: the table does not keep the column `row`.
//!
//! A message is what has one (device, boot, seq); of a device that gives no boot and seq, one (device, time of
//! receipt). Inside a batch its rows are brought together; a message whose readings are hours apart is in several files,
//! and is then several messages.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use telemetry::schema::{self, reading};

/// Makes batches of the stream out of batches of the table, in the same order.
#[derive(Debug)]
pub(super) struct Messages {
    /// Whether rows are brought together; else each row is where it was, and a message ends where a batch does.
    together: bool,
    /// Rows of the message that the last batch ended in: the next one may go on with it.
    held: Option<RecordBatch>,
}

impl Messages {
    pub(super) fn new(together: bool) -> Self {
        Self { together, held: None }
    }

    /// What can be given on now, in the stream schema of readings.
    pub(super) fn push(&mut self, batch: RecordBatch) -> anyhow::Result<Option<RecordBatch>> {
        if !self.together {
            return with_rows(&batch, &keys(&batch)).map(Some);
        }
        let batch = match self.held.take() {
            Some(held) => concat_batches(&schema::readings(), [&held, &batch]).context("rows of a message")?,
            None => batch,
        };
        let keys = keys(&batch);
        let Some(last) = keys.last().copied() else { return Ok(None) };
        let (held, mut whole): (Vec<usize>, Vec<usize>) =
            (0..keys.len()).partition(|row| keys.get(*row) == Some(&last));
        if whole.is_empty() {
            // As large as no message is: two of a device that gives neither boot and seq nor a time of receipt of its own.
            return with_rows(&batch, &keys).map(Some);
        }
        whole.sort_by_key(|row| keys.get(*row).copied());
        self.held = Some(rows(&batch, &held)?);
        let keys: Vec<Key> = whole.iter().filter_map(|row| keys.get(*row).copied()).collect();
        with_rows(&rows(&batch, &whole)?, &keys).map(Some)
    }

    /// The last message.
    pub(super) fn finish(mut self) -> anyhow::Result<Option<RecordBatch>> {
        self.held.take().map(|held| with_rows(&held, &keys(&held))).transpose()
    }
}

/// What makes a message, inside one batch: the device's number there; boot and seq, or the time of receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Named(usize, i64, i64),
    Unnamed(usize, i64),
}

fn keys(batch: &RecordBatch) -> Vec<Key> {
    let devices = batch.column(reading::DEVICE_ID).as_dictionary::<Int32Type>();
    let names: &StringArray = devices.values().as_string();
    // Joined dictionaries may hold a name twice.
    let mut first = HashMap::new();
    let numbers: Vec<usize> = (0..names.len()).map(|at| *first.entry(names.value(at)).or_insert(at)).collect();
    let integers = |column: usize| -> &Int64Array { batch.column(column).as_primitive::<Int64Type>() };
    let (boots, seqs) = (integers(reading::BOOT), integers(reading::SEQ));
    let received = batch.column(reading::RECEIVED_AT).as_primitive::<TimestampMicrosecondType>();
    let key = |row: usize| {
        let device = devices.key(row).and_then(|key| numbers.get(key)).copied().unwrap_or_default();
        if boots.is_valid(row) && seqs.is_valid(row) {
            Key::Named(device, boots.value(row), seqs.value(row))
        } else {
            Key::Unnamed(device, received.value(row))
        }
    };
    (0..batch.num_rows()).map(key).collect()
}

fn rows(batch: &RecordBatch, rows: &[usize]) -> anyhow::Result<RecordBatch> {
    let rows: Result<Vec<u32>, _> = rows.iter().map(|row| u32::try_from(*row)).collect();
    take_record_batch(batch, &UInt32Array::from(rows?)).context("rows of a message")
}

/// `batch` with the column `row`, from 0 in each message.
fn with_rows(batch: &RecordBatch, keys: &[Key]) -> anyhow::Result<RecordBatch> {
    let (mut before, mut row) = (None, 0);
    let numbers = keys.iter().map(|key| {
        row = if before == Some(*key) { row + 1 } else { 0 };
        before = Some(*key);
        row
    });
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int32Array::from_iter_values(numbers)));
    RecordBatch::try_new(schema::readings_stream(), columns).context("columns of the stream of readings")
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;
    use arrow::datatypes::Float64Type;
    use telemetry::batch::ReadingsBuilder;
    use telemetry::{Identity, Message, Reading, Timestamp, Value};

    use super::*;

    /// A batch of the table of `(device, seq, value)`, seq -1 for none; each a row that was received at the same time.
    fn table(rows: &[(&str, i64, f64)]) -> RecordBatch {
        let mut builder = ReadingsBuilder::default();
        for (device, seq, value) in rows {
            let reading = Reading {
                metric: "t".into(),
                time: Timestamp::from_micros(1),
                value: Value::Number(*value),
                unit: None,
            };
            let message = Message {
                device_id: (*device).into(),
                site: None,
                identity: (*seq >= 0).then_some(Identity { boot: 1, seq: *seq }),
                readings: vec![reading],
                ignored_fields: 0,
            };
            builder.push(&message, Timestamp::from_micros(7));
        }
        let batch = builder.finish();
        batch.project(&(0..reading::TABLE_COLUMNS).collect::<Vec<_>>()).unwrap()
    }

    /// `(value, row)` of each row.
    fn values(batch: &RecordBatch) -> Vec<(f64, i32)> {
        let values: &Float64Array = batch.column(reading::VALUE).as_primitive::<Float64Type>();
        let rows = batch.column(reading::ROW).as_primitive::<Int32Type>();
        values.values().iter().copied().zip(rows.values().iter().copied()).collect()
    }

    fn all(together: bool, batches: &[RecordBatch]) -> Vec<Vec<(f64, i32)>> {
        let mut messages = Messages::new(together);
        let mut found: Vec<_> = batches.iter().filter_map(|batch| messages.push(batch.clone()).unwrap()).collect();
        found.extend(messages.finish().unwrap());
        found.iter().map(values).collect()
    }

    #[test]
    fn rows_of_a_message_come_together_in_order_and_over_the_border_of_a_batch() {
        let first = table(&[("a", 2, 1.0), ("a", 1, 2.0), ("a", 2, 3.0), ("b", 1, 4.0)]);
        let second = table(&[("b", 1, 5.0), ("b", 2, 6.0)]);
        let found = all(true, &[first, second]);
        assert_eq!(found, [vec![(2.0, 0), (1.0, 0), (3.0, 1)], vec![(4.0, 0), (5.0, 1)], vec![(6.0, 0)]]);
    }

    #[test]
    fn messages_without_number_are_told_apart_by_device_and_receipt() {
        let found = all(true, &[table(&[("a", -1, 1.0), ("b", -1, 2.0), ("a", -1, 3.0)])]);
        assert_eq!(found, [vec![(2.0, 0)], vec![(1.0, 0), (3.0, 1)]]);
    }

    #[test]
    fn a_message_larger_than_a_batch_does_not_pile_up() {
        let found = all(true, &[table(&[("a", 1, 1.0), ("a", 1, 2.0)]), table(&[("a", 1, 3.0)])]);
        assert_eq!(found, [vec![(1.0, 0), (2.0, 1)], vec![(3.0, 0)]]);
    }

    #[test]
    fn rows_stay_where_they_are_if_no_rule_asks_for_messages() {
        let found = all(false, &[table(&[("a", 2, 1.0), ("a", 2, 2.0), ("a", 1, 3.0), ("a", 2, 4.0)])]);
        assert_eq!(found, [vec![(1.0, 0), (2.0, 1), (3.0, 0), (4.0, 0)]]);
    }
}
