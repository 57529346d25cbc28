//! The promise, checked: what devices had acknowledged, against what the table holds.
//!
//! The ledger says, message by message, how many readings were sent and whether they were acknowledged; the
//! table is read through its Delta log, and its folder must hold the same files. An acknowledged message
//! must have exactly its readings; any other message none or exactly its readings.

mod ledger;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;

pub(crate) use self::table::{TableCounts, rows};

/// Boot of a device: what a run of sequence numbers belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run {
    pub(crate) device: String,
    pub(crate) boot: i64,
}

/// What the comparison found. Counts are readings unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// In messages that were acknowledged.
    pub(crate) acknowledged: u64,
    /// In the table, of the runs of the ledger.
    pub(crate) stored: u64,
    /// Acknowledged and not in the table, or missing from a message that is stored in part.
    pub(crate) lost: u64,
    /// In the table more than once.
    pub(crate) duplicated: u64,
    /// Stored although their acknowledgement never arrived: allowed.
    pub(crate) unacknowledged_stored: u64,
    /// In the table, of the runs of the ledger, but in no line of it: the ledger's writer was killed.
    pub(crate) unlisted: u64,
    /// Rows of the table, of whatever origin.
    pub(crate) table_rows: u64,
    /// Where readings were lost.
    pub(crate) lost_ranges: Vec<Range>,
    /// Where readings were duplicated.
    pub(crate) duplicated_ranges: Vec<Range>,
}

/// Neighbouring sequence numbers of one run with the same fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) run: Run,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) readings: u64,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run: Run { device, boot }, first, last, readings } = self;
        write!(f, "device {device} boot {boot} seq {first}..={last}: {readings} readings")
    }
}

impl Verdict {
    /// Whether the promise was kept.
    pub(crate) fn kept(&self) -> bool {
        self.lost == 0 && self.duplicated == 0
    }
}

/// The messages of the ledger `file`.
pub(crate) fn read_ledger(file: &Path) -> anyhow::Result<Ledger> {
    ledger::read(file).with_context(|| format!("ledger {}", file.display()))
}

/// Compares `ledger` with the table in `directory`.
pub(crate) fn verify(ledger: &Ledger, directory: &Path) -> anyhow::Result<Verdict> {
    Ok(compare(ledger, &count(directory)?))
}

/// Rows of the table in `directory` that belong to the runs of `ledger`.
pub(crate) fn stored_rows(ledger: &Ledger, directory: &Path) -> anyhow::Result<u64> {
    let counts = count(directory)?;
    Ok(ledger.keys().filter_map(|run| counts.runs.get(run)).flat_map(BTreeMap::values).sum())
}

fn count(directory: &Path) -> anyhow::Result<TableCounts> {
    table::count(directory).with_context(|| format!("table {}", directory.display()))
}

/// One message by the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    readings: u64,
    acknowledged: bool,
}

/// Messages of a ledger, by run and sequence number.
pub(crate) type Ledger = BTreeMap<Run, BTreeMap<i64, Message>>;

fn compare(ledger: &Ledger, table: &TableCounts) -> Verdict {
    let mut verdict = Verdict { table_rows: table.rows, ..Verdict::default() };
    let nothing = BTreeMap::new();
    for (run, messages) in ledger {
        let stored = table.runs.get(run).unwrap_or(&nothing);
        for (seq, message) in messages {
            let found = stored.get(seq).copied().unwrap_or(0);
            verdict.message(run, *seq, *message, found);
        }
        verdict.stored += stored.values().sum::<u64>();
        verdict.unlisted +=
            stored.iter().filter(|(seq, _)| !messages.contains_key(seq)).map(|(_, found)| found).sum::<u64>();
    }
    verdict
}

impl Verdict {
    fn message(&mut self, run: &Run, seq: i64, message: Message, found: u64) {
        let expected = message.readings;
        if message.acknowledged {
            self.acknowledged += expected;
        } else {
            self.unacknowledged_stored += found;
        }
        // A message is stored whole or not at all.
        if found < expected && (message.acknowledged || found > 0) {
            self.lost += expected - found;
            extend(&mut self.lost_ranges, run, seq, expected - found);
        }
        if found > expected {
            self.duplicated += found - expected;
            extend(&mut self.duplicated_ranges, run, seq, found - expected);
        }
    }
}

fn extend(ranges: &mut Vec<Range>, run: &Run, seq: i64, readings: u64) {
    match ranges.last_mut().filter(|range| range.run == *run && range.last.checked_add(1) == Some(seq)) {
        Some(range) => {
            range.last = seq;
            range.readings += readings;
        }
        None => ranges.push(Range { run: run.clone(), first: seq, last: seq, readings }),
    }
}

#[cfg(test)]
mod tests;
