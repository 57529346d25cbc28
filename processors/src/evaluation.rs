//! A batch of readings in, alerts and firings out. Pure: no I/O, no clock.

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::error::ArrowError;

use crate::alerts::{Alerts, SourceRecord};
use crate::expression::OfReading;
use crate::fired::{InOrder, Record};
use crate::firings::Firings;
use crate::keys::{Keys, RunId};
use crate::letters::{Failure, Letters};
use crate::messages::{self, MessageRule, Said};
use crate::occurrences::{Occurrences, Selected};
use crate::readings::Readings;
use crate::rules::{Condition, Rule, RuleSet};
use crate::verdict::{self, Verdict};

/// What the rules say about one record of readings.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// One entry a rule, in the order of the rules.
    pub rules: Vec<RuleOutcome>,
    /// The rules that fired, in their order, and the readings on which they did.
    fired: Vec<(usize, BooleanBuffer)>,
    set: &'a RuleSet,
    readings: Readings<'a>,
    batch: &'a RecordBatch,
    source: SourceRecord,
}

/// A rule is true on a reading, or on the message whose first reading with a metric of the rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Index of the rule.
    pub rule: usize,
    /// Index of the reading in the batch.
    pub row: usize,
    /// Name of the firing. Readings that one cool-down covers share it.
    pub run_id: RunId,
}

impl Evaluation<'_> {
    /// The record's readings.
    pub(crate) fn readings(&self) -> &Readings<'_> {
        &self.readings
    }

    /// The alerts, in batches in the stream schema of alerts: one row for each rule that fires on each
    /// reading, by reading, then by order of the rules; no batch if nothing fired. Each is built when it is
    /// asked for, so that a flood of alerts is never in memory as a whole.
    ///
    /// A batch makes a record of at most `record_bytes`, estimated from above, but has at least one alert:
    /// with its longest texts that is 12 KiB and headers. The same arguments give the same batches, byte for
    /// byte. Another `record_bytes` cuts the same rows elsewhere.
    ///
    /// Batches must be appended in this order, and those of one record of readings before those of the next.
    /// So a reader knows a repetition by the highest (`source_offset`, `source_index`) that it has seen of
    /// each source partition ([`streams::dedupe::Sources`]), wherever a crash cut the alerts off.
    ///
    /// # Errors
    /// An item is an error, and the last one to ask for, if a record of readings gives more than 2^31 alerts.
    pub fn alerts(&self, record_bytes: usize) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        self.alert_records(record_bytes).map(|record| record.map(|record| record.batch))
    }

    /// [`Evaluation::alerts`] with the readings that they are about.
    pub(crate) fn alert_records(&self, record_bytes: usize) -> impl Iterator<Item = Result<Record, ArrowError>> {
        let fired = InOrder::new(self.fired.iter());
        Alerts::new(self.set.rules(), &self.readings, self.batch, self.source, fired, record_bytes)
    }

    /// The firings of rules that have steps, in batches in the schema [`telemetry::schema::workflows`], in the order
    /// of the alerts and to be appended likewise: one for each run id. ([`crate::limits::FIRINGS_REMEMBERED`] different
    /// ones later, the same id may come again.) A firing with its longest texts has 130 KiB.
    ///
    /// # Errors
    /// As [`Evaluation::alerts`].
    pub fn firings(&self, record_bytes: usize) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        self.firing_records(record_bytes).map(|record| record.map(|record| record.batch))
    }

    /// [`Evaluation::firings`] with the readings that they are about.
    pub(crate) fn firing_records(&self, record_bytes: usize) -> impl Iterator<Item = Result<Record, ArrowError>> {
        let rules = self.set.rules();
        let steps = |rule: usize| rules.get(rule).is_some_and(|rule| !rule.plan().steps.is_empty());
        let fired = InOrder::new(self.fired.iter().filter(|(rule, _)| steps(*rule)));
        Firings::new(rules, &self.readings, self.source, fired, record_bytes)
    }

    /// All that fired, whether the rule has steps or not, by reading, then by order of the rules: one item for each
    /// alert.
    pub fn firings_of_all(&self) -> impl Iterator<Item = Fired> {
        let mut fired = InOrder::new(self.fired.iter());
        let mut keys = Keys::new(&self.readings);
        std::iter::from_fn(move || {
            let crate::fired::Fired { row, rule } = fired.peek()?;
            fired.advance();
            let run_id = keys.run_id(self.set.rules().get(rule)?, row);
            Some(Fired { rule, row, run_id })
        })
    }

    /// Dead letters for the rules that failed, in batches in the schema [`telemetry::schema::dead_letters`] of at most
    /// `record_bytes`: for each rule one, with the first reading and the number of readings on which it did.
    pub fn letters(&self, record_bytes: usize) -> impl Iterator<Item = RecordBatch> {
        let failure = |(rule, outcome)| failure(rule, outcome);
        Letters::new(&self.readings, self.set.rules().iter().zip(&self.rules).filter_map(failure), record_bytes)
    }
}

fn failure<'a>(rule: &'a Rule, outcome: &'a RuleOutcome) -> Option<Failure<'a>> {
    let row = outcome.failed.as_ref()?.set_indices().next()?;
    Some(Failure { rule, row, count: outcome.errors, error: outcome.first_error.as_deref()? })
}

/// What one rule says about one record of readings. Of a rule over messages each count is of messages, and the
/// reading of a message is its first with a metric of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleOutcome {
    /// Readings that it was evaluated on; messages with one of its metrics.
    pub evaluated: u64,
    /// Readings on which it fired.
    pub matches: u64,
    /// Readings on which its expression failed; there it did not fire.
    pub errors: u64,
    /// The first failure, for a person.
    pub first_error: Option<String>,
    /// A bit a reading: those on which it failed. `None` if there are none.
    pub failed: Option<BooleanBuffer>,
}

impl RuleSet {
    /// Evaluates all rules on `batch`, the record at `source_offset` of partition `source_partition`, in the
    /// stream schema of readings. The same arguments give the same result.
    ///
    /// An expression that fails on some readings (a division by zero, a text that is no number) is counted
    /// there and goes on with the others.
    ///
    /// # Errors
    /// If `batch` is not in the stream schema of readings, or partition or offset do not fit the columns of
    /// alerts.
    pub fn evaluate<'a>(
        &'a self,
        source_partition: u32,
        source_offset: u64,
        batch: &'a RecordBatch,
    ) -> Result<Evaluation<'a>, ArrowError> {
        let readings = Readings::of(batch)?;
        let source = SourceRecord::new(source_partition, source_offset)?;
        let occurrences = Occurrences::of(&self.wanted, &readings)?;
        let mut results = Results::new(self.rules().len(), batch.num_rows());
        let mut selected = Vec::new();
        let mut over_messages = Vec::new();
        for (index, rule) in self.rules().iter().enumerate() {
            let numbers = self.wanted.of(index);
            match &rule.condition {
                Condition::Reading(of) => {
                    let verdict = on_readings(of, numbers, batch, &occurrences, &mut selected)?;
                    results.readings(index, verdict);
                }
                Condition::Message(of) if numbers.iter().any(|number| !occurrences.rows(*number).is_empty()) => {
                    over_messages.push(MessageRule { index, of, numbers });
                }
                Condition::Message(_) => {}
            }
        }
        for said in messages::evaluate(&over_messages, &readings, batch, &occurrences)? {
            results.messages(said);
        }
        let Results { rules, mut fired, .. } = results;
        fired.sort_unstable_by_key(|(rule, _)| *rule);
        Ok(Evaluation { rules, fired, set: self, readings, batch, source })
    }
}

/// What a rule says about each reading of `batch`; `None` if it cannot fire on any.
fn on_readings(
    of: &OfReading,
    numbers: &[usize],
    batch: &RecordBatch,
    occurrences: &Occurrences,
    selected: &mut Vec<Option<Selected>>,
) -> Result<Option<Verdict>, ArrowError> {
    let length = batch.num_rows();
    let rows = numbers.first().map(|number| occurrences.rows(*number));
    let some = match rows {
        Some([]) => return Ok(None),
        Some(rows) if rows.len() < length => Some(rows),
        _ => None,
    };
    let Some(predicate) = &of.rest else {
        let verdict = Verdict::all(rows.map_or(length, <[u32]>::len));
        return Ok(Some(some.map_or_else(|| Verdict::all(length), |rows| verdict.scattered(rows, length))));
    };
    let (Some(rows), Some(number)) = (some, numbers.first()) else {
        let missing = |at: usize| ArrowError::SchemaError(format!("readings have no column {at}"));
        let column = |at: usize| batch.columns().get(at).cloned().ok_or_else(|| missing(at));
        return Ok(Some(Verdict::of(predicate, &predicate.batch(length, column)?)));
    };
    if selected.len() <= *number {
        selected.resize_with(number + 1, || None);
    }
    let Some(slot) = selected.get_mut(*number) else { return Ok(None) };
    let selection = slot.get_or_insert_with(|| Selected::new(rows));
    let narrow = predicate.batch(selection.rows(), |at| selection.column(batch, at))?;
    let verdict = Verdict::of(predicate, &narrow);
    let nothing = verdict.failed.is_none() && verdict.fired.count_set_bits() == 0;
    Ok(if nothing { None } else { Some(verdict.scattered(rows, length)) })
}

/// Outcomes by rule. Most rules fire on nothing: their bits are not kept.
struct Results {
    rules: Vec<RuleOutcome>,
    fired: Vec<(usize, BooleanBuffer)>,
    length: usize,
}

impl Results {
    fn new(rules: usize, length: usize) -> Self {
        Self { rules: vec![RuleOutcome::default(); rules], fired: Vec::new(), length }
    }

    fn readings(&mut self, index: usize, verdict: Option<Verdict>) {
        let Some(outcome) = self.rules.get_mut(index) else { return };
        outcome.evaluated = count(self.length);
        let Some(Verdict { fired, failed }) = verdict else { return };
        outcome.matches = count(fired.count_set_bits());
        if outcome.matches > 0 {
            self.fired.push((index, fired));
        }
        if let Some((rows, error)) = failed {
            outcome.errors = count(rows.count_set_bits());
            (outcome.failed, outcome.first_error) = (Some(rows), Some(error));
        }
    }

    fn messages(&mut self, said: Said) {
        let Some(outcome) = self.rules.get_mut(said.rule) else { return };
        outcome.evaluated = count(said.evaluated);
        outcome.matches = count(said.fired.len());
        outcome.errors = count(said.failed.len());
        if !said.fired.is_empty() {
            self.fired.push((said.rule, verdict::set(self.length, said.fired.into_iter())));
        }
        if !said.failed.is_empty() {
            outcome.failed = Some(verdict::set(self.length, said.failed.into_iter()));
            outcome.first_error = said.first_error;
        }
    }
}

/// A length as a count.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
