//! Readings on which rules fail: records of the stream `workflow_dead_letters`.
//!
//! One letter for each rule and record of readings: the first reading, and how many there are. A rule that fails on
//! all that comes would else store each reading twice.

use arrow::array::RecordBatch;
use telemetry::Identity;
use telemetry::batch::{DeadLetter, DeadLettersBuilder};

use crate::data;
use crate::limits;
use crate::readings::Readings;
use crate::rules::Rule;

/// The kind of refusal in a dead letter.
pub const REASON: &str = "rule_error";

/// A rule that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) rule: &'a Rule,
    /// The first row on which it did.
    pub(crate) row: usize,
    /// On how many readings or messages.
    pub(crate) count: u64,
    /// How, on the first.
    pub(crate) error: &'a str,
}

/// The letters of one record of readings, built a batch at a time.
#[derive(Debug)]
pub(crate) struct Letters<'a, F: Iterator<Item = Failure<'a>>> {
    readings: &'a Readings<'a>,
    failures: std::iter::Peekable<F>,
    record_bytes: usize,
}

/// Bytes of a letter besides its texts, and of a record besides its letters, for the estimate of its size.
const LETTER_BYTES: usize = 128;
const RECORD_BYTES: usize = 2 * 1024;

impl<'a, F: Iterator<Item = Failure<'a>>> Letters<'a, F> {
    /// One letter for each of `failures`, in batches of at most `record_bytes`.
    pub(crate) fn new(readings: &'a Readings<'a>, failures: F, record_bytes: usize) -> Self {
        Self { readings, failures: failures.peekable(), record_bytes }
    }
}

impl<'a, F: Iterator<Item = Failure<'a>>> Iterator for Letters<'a, F> {
    type Item = RecordBatch;

    /// As many of the next letters as there is room for, but at least one if there is one.
    fn next(&mut self) -> Option<RecordBatch> {
        let mut builder = DeadLettersBuilder::default();
        let mut bytes = RECORD_BYTES;
        while let Some(failure) = self.failures.peek() {
            let letter = Letter::of(failure, self.readings);
            bytes += letter.bytes();
            if bytes > self.record_bytes && !builder.is_empty() {
                break;
            }
            letter.push(&mut builder, self.readings, failure.row);
            self.failures.next();
        }
        if builder.is_empty() { None } else { Some(builder.finish()) }
    }
}

/// The texts of a letter.
struct Letter<'a> {
    detail: String,
    topic: String,
    client_id: &'a str,
    payload: String,
}

impl<'a> Letter<'a> {
    fn of(failure: &Failure<'_>, readings: &Readings<'a>) -> Self {
        let Failure { rule, row, count, error } = *failure;
        let what = if rule.is_over_messages() { "messages" } else { "readings" };
        let (id, version) = (rule.id(), rule.version());
        let error = cut(error);
        Self {
            detail: format!(
                "rule `{id}` version {version} failed on {count} {what} of a record, on the first: {error}"
            ),
            topic: format!("rules/{id}"),
            client_id: readings.device_id(row),
            payload: data::whole(rule, readings, row),
        }
    }

    fn bytes(&self) -> usize {
        LETTER_BYTES + self.detail.len() + self.topic.len() + self.client_id.len() + self.payload.len()
    }

    fn push(&self, builder: &mut DeadLettersBuilder, readings: &Readings<'_>, row: usize) {
        builder.push(&DeadLetter {
            received_at: readings.received_at(row),
            reason: REASON,
            detail: &self.detail,
            topic: &self.topic,
            client_id: self.client_id,
            payload: self.payload.as_bytes(),
            identity: readings.identity(row).map(|(boot, seq)| Identity { boot, seq }),
        });
    }
}

/// The text up to the limit, whole characters only.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(limits::ERROR_BYTES);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests;
