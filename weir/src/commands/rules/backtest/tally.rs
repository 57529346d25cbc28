//! What rules did on a table, counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::bail;
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use processors::{RuleSet, RunId};
use telemetry::schema::reading;
use telemetry::{Clock, Timestamp};

/// Most firings kept, of about 100 bytes each: who has more looks for other rules, or for a shorter time.
const FIRINGS: usize = 4_000_000;

/// The firings of one rule set.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) rules: Vec<Counts>,
    /// Distinct firings by rule and id, with the earliest reading that gives it.
    firings: HashMap<(usize, RunId), Firing>,
    devices: Devices,
    /// Spent in the evaluation alone, without reading the table.
    pub(super) evaluation: Duration,
    rows: u64,
}

/// Readings, or messages, that one rule was true on, and failed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) matches: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

/// One firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Firing {
    /// Of the earliest reading, by the device's clock.
    pub(super) time: Timestamp,
    device: usize,
}

/// One firing, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) rule: usize,
    pub(super) run_id: RunId,
    pub(super) device: &'a str,
    pub(super) time: Timestamp,
}

impl Tally {
    /// Nothing yet, of `rules` rules.
    pub(super) fn new(rules: usize) -> Self {
        Self {
            rules: vec![Counts::default(); rules],
            firings: HashMap::new(),
            devices: Devices::default(),
            evaluation: Duration::ZERO,
            rows: 0,
        }
    }

    /// Evaluates `rules` on `batch`, in the stream schema of readings.
    ///
    /// # Errors
    /// If there are more firings than are kept.
    pub(super) fn add(&mut self, rules: &RuleSet, batch: &RecordBatch, clock: &dyn Clock) -> anyhow::Result<()> {
        let start = clock.monotonic();
        // No id of a firing depends on partition and offset.
        let evaluation = rules.evaluate(0, 0, batch)?;
        self.evaluation += clock.monotonic().saturating_sub(start);
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        for (counts, outcome) in self.rules.iter_mut().zip(&evaluation.rules) {
            counts.matches += outcome.matches;
            counts.errors += outcome.errors;
            if counts.first_error.is_none() {
                counts.first_error.clone_from(&outcome.first_error);
            }
        }
        let times = batch.column(reading::TIME).as_primitive::<TimestampMicrosecondType>();
        let devices = batch.column(reading::DEVICE_ID).as_dictionary::<Int32Type>();
        let names: &StringArray = devices.values().as_string();
        for fired in evaluation.firings_of_all() {
            let name = devices.key(fired.row).map(|key| names.value(key)).unwrap_or_default();
            let firing =
                Firing { time: Timestamp::from_micros(times.value(fired.row)), device: self.devices.number(name) };
            let known = self.firings.entry((fired.rule, fired.run_id)).or_insert(firing);
            known.time = known.time.min(firing.time);
        }
        if self.firings.len() > FIRINGS {
            bail!("more than {FIRINGS} firings: look at a shorter time with --from and --to, or give rules a cooldown");
        }
        Ok(())
    }

    /// All firings, by rule, then by time, device and id.
    pub(super) fn firings(&self) -> Vec<Named<'_>> {
        let named = |((rule, run_id), firing): (&(usize, RunId), &Firing)| Named {
            rule: *rule,
            run_id: *run_id,
            device: self.devices.name(firing.device),
            time: firing.time,
        };
        let mut firings: Vec<_> = self.firings.iter().map(named).collect();
        firings.sort_unstable_by_key(|firing| (firing.rule, firing.time, firing.device, firing.run_id));
        firings
    }

    /// Nanoseconds of evaluation a row and rule.
    #[expect(clippy::cast_precision_loss, reason = "a mean for a person")]
    pub(super) fn nanoseconds(&self) -> f64 {
        let evaluated = self.rows as f64 * self.rules.len() as f64;
        if evaluated > 0.0 { self.evaluation.as_secs_f64() * 1e9 / evaluated } else { 0.0 }
    }
}

/// Distinct firings and devices of one rule of `firings`.
pub(super) fn of_rule(firings: &[Named<'_>], rule: usize) -> (u64, u64) {
    let of: Vec<_> = firings.iter().filter(|firing| firing.rule == rule).collect();
    let devices: HashSet<&str> = of.iter().map(|firing| firing.device).collect();
    (count(of.len()), count(devices.len()))
}

/// Firings by device and day, the most first.
pub(super) fn by_device_and_day<'a>(firings: &[Named<'a>]) -> Vec<((&'a str, i64), u64)> {
    let mut counts: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    for firing in firings {
        *counts.entry((firing.device, super::super::moment::day(firing.time))).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// A length as a count.
pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Names of devices, each kept once.
#[derive(Debug, Default)]
struct Devices {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Devices {
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    fn name(&self, number: usize) -> &str {
        self.names.get(number).map(String::as_str).unwrap_or_default()
    }
}
