//! A batch of readings in, alerts out. Pure: no I/O, no clock.

use arrow::array::{BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::error::ArrowError;
use datafusion_common::DataFusionError;

use crate::alerts::{Alerts, SourceRecord};
use crate::fired::InOrder;
use crate::readings::Readings;
use crate::rules::{Rule, RuleSet};

/// What the rules say about one record of readings.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// One entry a rule, in the order of the rules.
    pub rules: Vec<RuleOutcome>,
    /// The readings on which each rule fired, in the order of the rules.
    fired: Vec<BooleanBuffer>,
    set: &'a RuleSet,
    readings: Readings<'a>,
    batch: &'a RecordBatch,
    source: SourceRecord,
}

impl Evaluation<'_> {
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
        let fired = InOrder::new(&self.fired);
        Alerts::new(self.set.rules(), &self.readings, self.batch, self.source, fired, record_bytes)
    }
}

/// What one rule says about one record of readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleOutcome {
    /// Readings on which it fired.
    pub matches: u64,
    /// Readings on which its expression failed; there it did not fire.
    pub errors: u64,
    /// The first failure, for a person.
    pub first_error: Option<String>,
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
        let mut rules = Vec::with_capacity(self.rules().len());
        let mut fired = Vec::with_capacity(self.rules().len());
        for rule in self.rules() {
            let mut outcome = RuleOutcome::default();
            let mut rows = BooleanBufferBuilder::new(batch.num_rows());
            fire(rule, batch, &mut outcome, &mut rows);
            let rows = rows.build();
            outcome.matches = count(rows.count_set_bits());
            // Most rules fire on nothing: their bits need not be kept.
            fired.push(if outcome.matches > 0 { rows } else { BooleanBuffer::new_unset(0) });
            rules.push(outcome);
        }
        Ok(Evaluation { rules, fired, set: self, readings, batch, source })
    }
}

/// Appends to `fired` whether `rule` fires, for each row of `batch`.
///
/// If the expression fails, the batch is halved until the failing readings stand alone: an expression that
/// succeeds on a batch gives each row what it would give it alone, so this is row by row, but fast when few
/// fail. The depth is the logarithm of the rows.
fn fire(rule: &Rule, batch: &RecordBatch, outcome: &mut RuleOutcome, fired: &mut BooleanBufferBuilder) {
    match rule.predicate.rows(batch) {
        Ok(rows) => fired.append_buffer(&rows),
        Err(error) if batch.num_rows() == 1 => {
            outcome.errors += 1;
            outcome.first_error.get_or_insert_with(|| describe(&error));
            fired.append(false);
        }
        Err(_) => {
            let half = batch.num_rows() / 2;
            fire(rule, &batch.slice(0, half), outcome, fired);
            fire(rule, &batch.slice(half, batch.num_rows() - half), outcome, fired);
        }
    }
}

fn describe(error: &DataFusionError) -> String {
    error.find_root().message().into_owned()
}

/// A length as a count.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
