//! What rules fired on the message: rows of the streams `alerts` and `workflows`.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use streams::Record;

use super::columns::{Rows, places};
use super::limits::ALERTS;
use super::view::{Alert, Fate, Who};
use crate::dlq::view::time;

/// Finds the alerts of the message in records in order of offset.
#[derive(Debug)]
pub(super) struct Alerts<'a> {
    who: &'a Who,
    pub(super) found: Vec<Alert>,
    /// Source offset and index of those that were there before: what comes again after a crash is left out.
    seen: BTreeSet<(i64, i64)>,
}

impl<'a> Alerts<'a> {
    pub(super) fn new(who: &'a Who) -> Self {
        Self { who, found: Vec::new(), seen: BTreeSet::new() }
    }

    /// Looks at a record; whether that is enough.
    pub(super) fn look(&mut self, record: &Record, batch: &RecordBatch) -> anyhow::Result<bool> {
        let places = places(batch, self.who)?;
        if places.is_empty() {
            return Ok(false);
        }
        let rows = Rows::of(batch, places)?;
        for row in 0..rows.len() {
            let source = rows.number("source_offset", row).unwrap_or(-1);
            let new = self.seen.insert((source, rows.number("source_index", row).unwrap_or(-1)));
            self.found.push(Alert {
                alert_id: rows.owned("alert_id", row),
                rule: rows.owned("rule_id", row),
                severity: rows.owned("severity", row),
                message: rows.owned("message", row),
                metric: rows.owned("metric", row),
                offset: record.offset,
                appended_at: time(record.appended_at),
                source_offset: u64::try_from(source).unwrap_or_default(),
                fate: if new { Fate::Kept } else { Fate::LeftOut },
            });
        }
        Ok(self.found.len() >= ALERTS)
    }
}

/// A rule with steps that fired.
#[derive(Clone, Debug)]
pub(super) struct Firing {
    pub(super) run: String,
    pub(super) rule: String,
    pub(super) offset: u64,
}

/// Finds the firings of the message.
#[derive(Debug)]
pub(super) struct Firings<'a> {
    who: &'a Who,
    pub(super) found: Vec<Firing>,
}

impl<'a> Firings<'a> {
    pub(super) fn new(who: &'a Who) -> Self {
        Self { who, found: Vec::new() }
    }

    /// Looks at a record; whether that is enough.
    pub(super) fn look(&mut self, record: &Record, batch: &RecordBatch) -> anyhow::Result<bool> {
        let places = places(batch, self.who)?;
        if places.is_empty() {
            return Ok(false);
        }
        let rows = Rows::of(batch, places)?;
        for row in 0..rows.len() {
            let run = rows.owned("run_id", row);
            if self.found.iter().all(|firing| firing.run != run) {
                self.found.push(Firing { run, rule: rows.owned("rule_id", row), offset: record.offset });
            }
        }
        Ok(self.found.len() >= ALERTS)
    }
}
