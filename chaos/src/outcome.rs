//! What came of a scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::series::Series;

/// What the judge found, summed over rounds. Counts are readings unless their names say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Verdict {
    pub(crate) messages_sent: u64,
    pub(crate) messages_acknowledged: u64,
    pub(crate) messages_judged: u64,
    pub(crate) readings_sent: u64,
    pub(crate) readings_stored: u64,
    pub(crate) alerts: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) altered: u64,
    pub(crate) invented: u64,
    pub(crate) reordered: u64,
    pub(crate) alerts_missing: u64,
    pub(crate) alerts_doubled: u64,
    pub(crate) alerts_invented: u64,
    pub(crate) stray_files: u64,
    pub(crate) missing_files: u64,
    pub(crate) alerts_altered: u64,
    pub(crate) damaged_files: u64,
    pub(crate) log_damage: u64,
    pub(crate) firings: u64,
    pub(crate) requests: u64,
    pub(crate) events: u64,
    pub(crate) firings_missing: u64,
    pub(crate) firings_doubled: u64,
    pub(crate) firings_invented: u64,
    pub(crate) firings_reordered: u64,
    pub(crate) events_missing: u64,
    pub(crate) events_doubled: u64,
    pub(crate) events_invented: u64,
    pub(crate) keys_differ: u64,
    pub(crate) commands_missing: u64,
    pub(crate) messages_witnessed: u64,
    pub(crate) messages_lost_by_broker: u64,
}

impl Verdict {
    /// What is wrong, by name; empty if the promise was kept.
    pub(crate) fn faults(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("altered", self.altered),
            ("invented", self.invented),
            ("reordered", self.reordered),
            ("alerts_missing", self.alerts_missing),
            ("alerts_doubled", self.alerts_doubled),
            ("alerts_invented", self.alerts_invented),
            ("stray_files", self.stray_files),
            ("missing_files", self.missing_files),
            ("alerts_altered", self.alerts_altered),
            ("damaged_files", self.damaged_files),
            ("log_damage", self.log_damage),
            ("firings_missing", self.firings_missing),
            ("firings_doubled", self.firings_doubled),
            ("firings_invented", self.firings_invented),
            ("firings_reordered", self.firings_reordered),
            ("events_missing", self.events_missing),
            ("events_doubled", self.events_doubled),
            ("events_invented", self.events_invented),
            ("keys_differ", self.keys_differ),
            ("commands_missing", self.commands_missing),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// What is wrong with the effects of rules.
    pub(crate) fn wrong_effects(&self) -> u64 {
        [
            self.firings_missing,
            self.firings_doubled,
            self.firings_invented,
            self.firings_reordered,
            self.events_missing,
            self.events_doubled,
            self.events_invented,
            self.keys_differ,
            self.commands_missing,
        ]
        .iter()
        .sum()
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.messages_sent, other.messages_sent),
            (&mut self.messages_acknowledged, other.messages_acknowledged),
            (&mut self.messages_judged, other.messages_judged),
            (&mut self.readings_sent, other.readings_sent),
            (&mut self.readings_stored, other.readings_stored),
            (&mut self.alerts, other.alerts),
            (&mut self.lost, other.lost),
            (&mut self.duplicated, other.duplicated),
            (&mut self.altered, other.altered),
            (&mut self.invented, other.invented),
            (&mut self.reordered, other.reordered),
            (&mut self.alerts_missing, other.alerts_missing),
            (&mut self.alerts_doubled, other.alerts_doubled),
            (&mut self.alerts_invented, other.alerts_invented),
            (&mut self.stray_files, other.stray_files),
            (&mut self.missing_files, other.missing_files),
            (&mut self.alerts_altered, other.alerts_altered),
            (&mut self.damaged_files, other.damaged_files),
            (&mut self.log_damage, other.log_damage),
            (&mut self.firings, other.firings),
            (&mut self.requests, other.requests),
            (&mut self.events, other.events),
            (&mut self.firings_missing, other.firings_missing),
            (&mut self.firings_doubled, other.firings_doubled),
            (&mut self.firings_invented, other.firings_invented),
            (&mut self.firings_reordered, other.firings_reordered),
            (&mut self.events_missing, other.events_missing),
            (&mut self.events_doubled, other.events_doubled),
            (&mut self.events_invented, other.events_invented),
            (&mut self.keys_differ, other.keys_differ),
            (&mut self.commands_missing, other.commands_missing),
            (&mut self.messages_witnessed, other.messages_witnessed),
            (&mut self.messages_lost_by_broker, other.messages_lost_by_broker),
        ] {
            *sum += more;
        }
    }
}

/// What came of a scenario, or of one of its rounds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// Faults done, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// What the judge found.
    pub(crate) verdict: Verdict,
    /// From the start of the process until it was ready, in milliseconds, after each fault.
    #[serde(skip)]
    pub(crate) recovery_ms: Vec<f64>,
    /// What broke, each with the seed and the round that does it again.
    pub(crate) violations: Vec<String>,
    /// Why something was not run.
    pub(crate) not_run: Vec<String>,
    /// Other figures, by name with unit.
    pub(crate) figures: BTreeMap<String, f64>,
    /// What was measured again and again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) series: Vec<Series>,
}

impl Outcome {
    /// One that could not be run, because of `why`.
    pub(crate) fn not_run(why: impl Into<String>) -> Self {
        Self { not_run: vec![why.into()], ..Self::default() }
    }

    /// Counts a fault.
    pub(crate) fn fault(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }

    /// Notes how long a start took.
    pub(crate) fn recovered(&mut self, time: Duration) {
        self.recovery_ms.push(time.as_secs_f64() * 1000.0);
    }

    /// Takes in the outcome of another round.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.verdict.add(&other.verdict);
        self.recovery_ms.extend(other.recovery_ms);
        self.violations.extend(other.violations);
        self.not_run.extend(other.not_run);
        self.figures.extend(other.figures);
        self.series.extend(other.series);
    }

    /// Whether nothing broke.
    pub(crate) fn kept(&self) -> bool {
        self.violations.is_empty()
    }
}
