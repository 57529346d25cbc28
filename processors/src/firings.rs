//! What fired and has steps: records of the stream `workflows`.

use std::collections::HashSet;

use arrow::error::ArrowError;

use crate::alerts::{SourceRecord, out_of_range};
use crate::data;
use crate::fired::{Fired, InOrder, Record};
use crate::firing::{Firing, FiringsBuilder, Source};
use crate::keys::{Keys, RunId};
use crate::limits;
use crate::readings::Readings;
use crate::rules::Rule;

/// The firings of one record of readings, built a batch at a time.
#[derive(Debug)]
pub(crate) struct Firings<'a> {
    rules: &'a [Rule],
    readings: &'a Readings<'a>,
    source: SourceRecord,
    fired: InOrder<'a>,
    keys: Keys<'a>,
    /// Firings that were made, as far as they are remembered.
    made: HashSet<RunId>,
    /// Index of the next firing among all of the record of readings.
    next: i32,
    /// A firing that did not fit the record before, and the row of its reading.
    held: Option<(Firing, u32)>,
    record_bytes: usize,
}

impl<'a> Firings<'a> {
    /// What `fired`, of rules that have steps, in batches of at most `record_bytes`.
    pub(crate) fn new(
        rules: &'a [Rule],
        readings: &'a Readings<'a>,
        source: SourceRecord,
        fired: InOrder<'a>,
        record_bytes: usize,
    ) -> Self {
        let keys = Keys::new(readings);
        Self { rules, readings, source, fired, keys, made: HashSet::new(), next: 0, held: None, record_bytes }
    }

    /// As many of the next firings as there is room for, but at least one if there is one.
    fn record(&mut self) -> Result<Option<Record>, ArrowError> {
        let (mut builder, mut about) = (FiringsBuilder::default(), Vec::new());
        while let Some((firing, row)) = self.held.take().or_else(|| self.firing()) {
            if builder.rows() > 0 && builder.bytes() + builder.cost(&firing) > self.record_bytes {
                self.held = Some((firing, row));
                break;
            }
            let SourceRecord { partition, offset } = self.source;
            builder.push(&firing, Source { partition, offset, index: self.next });
            about.push(row);
            self.next = self.next.checked_add(1).ok_or_else(|| out_of_range("more than 2^31 firings"))?;
        }
        if about.is_empty() { Ok(None) } else { Ok(Some(Record { batch: builder.finish()?, about: about.into() })) }
    }

    /// The next firing that is none of those made, and the row of its reading.
    fn firing(&mut self) -> Option<(Firing, u32)> {
        while let Some(Fired { row, rule }) = self.fired.peek() {
            self.fired.advance();
            let Some(rule) = self.rules.get(rule) else { continue };
            let run_id = self.keys.run_id(rule, row);
            if self.made.len() >= limits::FIRINGS_REMEMBERED {
                self.made.clear();
            }
            if self.made.insert(run_id) {
                return Some((self.describe(rule, row, run_id), u32::try_from(row).ok()?));
            }
        }
        None
    }

    fn describe(&self, rule: &Rule, row: usize, run_id: RunId) -> Firing {
        let readings = self.readings;
        let mut message = String::new();
        rule.template.fill(readings, row, &mut message);
        let (boot, seq) = readings.identity(row).unzip();
        Firing {
            run_id: run_id.to_string(),
            rule_id: rule.id().to_owned(),
            rule_version: rule.version(),
            severity: rule.severity(),
            message,
            device_id: readings.device_id(row).to_owned(),
            site: readings.site(row).map(str::to_owned),
            time: readings.time(row),
            received_at: readings.received_at(row),
            boot,
            seq,
            data: data::of_firing(rule, readings, row),
            plan: rule.plan_json.clone(),
            trace: None,
        }
    }
}

impl Iterator for Firings<'_> {
    type Item = Result<Record, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.record().transpose()
    }
}

#[cfg(test)]
mod tests;
