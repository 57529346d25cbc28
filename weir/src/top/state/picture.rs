//! The snapshots of all processes as one. On a cluster each stage is a process that tells of its part: counts add up, the
//! worst of a state counts, and what two tell of alike is one.

use std::collections::BTreeMap;

use crate::snapshot::{Alert, Snapshot};
use crate::top::figures::float;

/// Newest alerts that are kept.
const ALERTS: usize = 50;

/// All processes together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Picture {
    /// The latest of their clocks, in milliseconds of Unix time; 0 before the first answer.
    pub(in crate::top) time_ms: i64,
    pub(in crate::top) unacknowledged_messages: u64,
    pub(in crate::top) connections: u64,
    pub(in crate::top) log_bytes: u64,
    /// 0 without a quota.
    pub(in crate::top) log_quota_bytes: u64,
    /// Messages refused, by reason.
    pub(in crate::top) rejected: BTreeMap<String, u64>,
    /// By group and stream.
    pub(in crate::top) groups: BTreeMap<(String, String), Reader>,
    pub(in crate::top) tables: BTreeMap<String, Stored>,
    pub(in crate::top) rules: BTreeMap<String, Fired>,
    pub(in crate::top) firings: u64,
    pub(in crate::top) open_runs: u64,
    /// Runs that were given up and wait for a person.
    pub(in crate::top) dead_runs: u64,
    /// Runs by outcome.
    pub(in crate::top) runs: BTreeMap<String, u64>,
    /// By target.
    pub(in crate::top) breakers: BTreeMap<String, Target>,
    /// By metric and site.
    pub(in crate::top) fleet: BTreeMap<(String, String), Values>,
    pub(in crate::top) active_devices: u64,
    pub(in crate::top) silent_devices: u64,
    pub(in crate::top) readings: Sides,
    pub(in crate::top) messages: Sides,
    /// Newest first.
    pub(in crate::top) alerts: Vec<Alert>,
}

/// How far a group of consumers is in a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Reader {
    pub(in crate::top) lag_records: u64,
    pub(in crate::top) lag_seconds: f64,
    pub(in crate::top) deduplicated_rows: u64,
}

/// What was committed to a table since its writers started.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Stored {
    pub(in crate::top) rows: u64,
    pub(in crate::top) files: u64,
    pub(in crate::top) bytes: u64,
    pub(in crate::top) buffered_rows: u64,
}

/// What a rule did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Fired {
    pub(in crate::top) matches: u64,
    pub(in crate::top) errors: u64,
}

/// What steps are sent to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Target {
    /// Of its breaker: `closed`, `half_open` or `open`; the worst of all processes.
    pub(in crate::top) state: String,
    /// Steps that wait or run.
    pub(in crate::top) pending: u64,
}

/// The values of a metric at a site, over the last full minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Values {
    pub(in crate::top) readings: u64,
    pub(in crate::top) min: Option<f64>,
    /// Of several processes: the mean of theirs, weighed by their readings.
    pub(in crate::top) mean: Option<f64>,
    pub(in crate::top) max: Option<f64>,
    /// When the last reading came, in seconds of Unix time.
    pub(in crate::top) last_seconds: Option<f64>,
}

/// One side of the balance against the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Sides {
    pub(in crate::top) parts: BTreeMap<String, i64>,
    /// What came in less everything that became of it: 0 at rest. `None` where nobody tells.
    pub(in crate::top) difference: Option<i64>,
}

impl Picture {
    /// All `snapshots` as one.
    pub(super) fn of(snapshots: &[&Snapshot]) -> Self {
        let mut picture = Self::default();
        for snapshot in snapshots {
            picture.add_totals(snapshot);
            picture.add_readers(snapshot);
            picture.add_work(snapshot);
            picture.add_fleet(snapshot);
            for alert in &snapshot.alerts {
                if !picture.alerts.contains(alert) {
                    picture.alerts.push(alert.clone());
                }
            }
        }
        picture.alerts.sort_by_key(|alert| std::cmp::Reverse(alert.time_ms));
        picture.alerts.truncate(ALERTS);
        picture
    }

    fn add_totals(&mut self, snapshot: &Snapshot) {
        let totals = &snapshot.totals;
        self.time_ms = self.time_ms.max(snapshot.time_ms);
        self.unacknowledged_messages += totals.unacknowledged_messages.unwrap_or(0);
        self.connections += totals.connections.unwrap_or(0);
        self.log_bytes += totals.log_bytes.unwrap_or(0);
        self.log_quota_bytes += totals.log_quota_bytes.unwrap_or(0);
        for (reason, count) in &totals.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
        if let Some(balance) = &snapshot.balance {
            self.readings.add(&balance.readings, balance.difference_readings);
            self.messages.add(&balance.messages, balance.difference_messages);
        }
    }

    fn add_readers(&mut self, snapshot: &Snapshot) {
        for group in &snapshot.groups {
            let reader = self.groups.entry((group.group.clone(), group.stream.clone())).or_default();
            reader.lag_records += group.lag_records;
            reader.lag_seconds = reader.lag_seconds.max(group.lag_seconds);
            reader.deduplicated_rows += group.deduplicated_rows;
        }
        for table in &snapshot.tables {
            let stored = self.tables.entry(table.table.clone()).or_default();
            stored.rows += table.rows;
            stored.files += table.files;
            stored.bytes += table.bytes;
            stored.buffered_rows += table.buffered_rows;
        }
    }

    fn add_work(&mut self, snapshot: &Snapshot) {
        for rule in &snapshot.rules {
            let fired = self.rules.entry(rule.rule.clone()).or_default();
            fired.matches += rule.matches;
            fired.errors += rule.errors;
        }
        let Some(workflows) = &snapshot.workflows else { return };
        self.firings += workflows.firings;
        self.open_runs += workflows.open_runs;
        self.dead_runs += workflows.dead_runs;
        for (outcome, count) in &workflows.runs {
            *self.runs.entry(outcome.clone()).or_default() += count;
        }
        for breaker in &workflows.breakers {
            let target = self.breakers.entry(breaker.target.clone()).or_default();
            target.pending += breaker.pending;
            if target.state.is_empty() || severity(&breaker.state) > severity(&target.state) {
                target.state.clone_from(&breaker.state);
            }
        }
    }

    fn add_fleet(&mut self, snapshot: &Snapshot) {
        if let Some(devices) = snapshot.devices {
            self.active_devices += devices.active;
            self.silent_devices += devices.silent;
        }
        for pair in &snapshot.fleet {
            let values = self.fleet.entry((pair.metric.clone(), pair.site.clone())).or_default();
            values.mean = weighed((values.mean, values.readings), (pair.mean, pair.readings));
            values.readings += pair.readings;
            values.min = both(values.min, pair.min, f64::min);
            values.max = both(values.max, pair.max, f64::max);
            values.last_seconds = both(values.last_seconds, pair.last_seconds, f64::max);
        }
    }

    /// The longest lag of the groups whose name `is` accepts, in seconds.
    pub(in crate::top) fn lag_seconds(&self, is: impl Fn(&str) -> bool) -> f64 {
        let chosen = self.groups.iter().filter(|((group, _), _)| is(group));
        chosen.map(|(_, reader)| reader.lag_seconds).fold(0.0, f64::max)
    }

    /// Files committed to all tables since their writers started.
    pub(in crate::top) fn files(&self) -> u64 {
        self.tables.values().map(|table| table.files).sum()
    }
}

impl Sides {
    /// A part of it, 0 where nobody tells.
    pub(in crate::top) fn part(&self, name: &str) -> i64 {
        self.parts.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, parts: &BTreeMap<String, i64>, difference: Option<i64>) {
        for (part, count) in parts {
            *self.parts.entry(part.clone()).or_default() += count;
        }
        if let Some(difference) = difference {
            self.difference = Some(self.difference.unwrap_or(0) + difference);
        }
    }
}

/// How bad the state of a breaker is.
fn severity(state: &str) -> u8 {
    match state {
        "open" => 2,
        "closed" => 0,
        _ => 1,
    }
}

fn both(one: Option<f64>, other: Option<f64>, choose: fn(f64, f64) -> f64) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(choose(one, other)),
        (one, other) => one.or(other),
    }
}

fn weighed(one: (Option<f64>, u64), other: (Option<f64>, u64)) -> Option<f64> {
    let ((Some(mean), weight), (Some(other_mean), other_weight)) = (one, other) else { return one.0.or(other.0) };
    let (weight, other_weight) = (float(weight), float(other_weight));
    let all = weight + other_weight;
    if all > 0.0 { Some((mean * weight + other_mean * other_weight) / all) } else { Some(mean) }
}
