//! The report: `chaos.json` for programs, `chaos.md` for people.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::outcome::{Outcome, Verdict};
use crate::scenarios::Scenario;
use crate::setting::Setting;
use crate::tier::Tier;

/// Everything a campaign found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tier: Tier,
    seed: u64,
    command: String,
    scenarios: Vec<Entry>,
}

/// One scenario.
#[derive(Debug, Serialize)]
struct Entry {
    name: &'static str,
    about: &'static str,
    seconds: f64,
    /// Median, 99th percentile and longest of the starts after a fault, in milliseconds.
    recovery_ms: Option<[f64; 3]>,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(setting: &Setting) -> Self {
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        Self { tier: setting.tier, seed: setting.seed, command, scenarios: Vec::new() }
    }

    /// Takes in a scenario.
    pub(crate) fn add(&mut self, scenario: Scenario, outcome: Outcome, took: Duration) {
        let recovery_ms = percentiles(&outcome.recovery_ms);
        let Scenario { name, about, .. } = scenario;
        self.scenarios.push(Entry { name, about, seconds: took.as_secs_f64(), recovery_ms, outcome });
    }

    /// Whether nothing broke.
    pub(crate) fn kept(&self) -> bool {
        self.scenarios.iter().all(|entry| entry.outcome.kept())
    }

    /// Writes both files to `directory`.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let written = || -> anyhow::Result<()> {
            fs::create_dir_all(directory)?;
            fs::write(directory.join("chaos.json"), serde_json::to_string_pretty(self)?)?;
            Ok(fs::write(directory.join("chaos.md"), self.markdown())?)
        };
        written().with_context(|| directory.display().to_string())
    }

    /// For people.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# Chaos: `chaos {}`\n\n", self.command);
        let verdict = if self.kept() { "The promise was kept." } else { "**The promise was broken.**" };
        text.push_str(verdict);
        text.push_str("\n\n| scenario | faults | messages judged | lost | duplicated | altered | reordered | alerts wrong | start after a fault, ms (median, p99, longest) | seconds |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
        for entry in &self.scenarios {
            row(&mut text, entry);
        }
        self.faults(&mut text);
        self.remarks(&mut text);
        for entry in &self.scenarios {
            entry.outcome.series.iter().for_each(|series| series.table(entry.name, &mut text));
        }
        text
    }

    fn faults(&self, text: &mut String) {
        text.push_str("\n## Faults\n\n");
        for entry in &self.scenarios {
            for (kind, count) in &entry.outcome.faults {
                line(text, format_args!("- {}: {count} x {kind}", entry.name));
            }
        }
    }

    fn remarks(&self, text: &mut String) {
        text.push_str("\n## Figures, violations, and what was not run\n\n");
        for entry in &self.scenarios {
            workflows(text, entry);
            broker(text, entry);
            for (name, value) in &entry.outcome.figures {
                line(text, format_args!("- {}: {name} = {value:.3}", entry.name));
            }
            for violation in &entry.outcome.violations {
                line(text, format_args!("- **{}: {violation}**", entry.name));
            }
            for why in &entry.outcome.not_run {
                line(text, format_args!("- {}: not run: {why}", entry.name));
            }
        }
    }
}

fn row(text: &mut String, entry: &Entry) {
    let Verdict { lost, duplicated, altered, invented, reordered, messages_judged, .. } = entry.outcome.verdict;
    let verdict = &entry.outcome.verdict;
    let alerts = verdict.alerts_missing + verdict.alerts_doubled + verdict.alerts_invented + verdict.alerts_altered;
    let faults: u64 = entry.outcome.faults.values().sum();
    let recovery =
        entry.recovery_ms.map_or_else(String::new, |[p50, p99, most]| format!("{p50:.0}, {p99:.0}, {most:.0}"));
    line(
        text,
        format_args!(
            "| {} | {faults} | {messages_judged} | {lost} | {duplicated} | {} | {reordered} | {alerts} | {recovery} | {:.0} |",
            entry.name,
            altered + invented,
            entry.seconds
        ),
    );
}

/// What rules started, where some have steps.
fn workflows(text: &mut String, entry: &Entry) {
    let Verdict { firings, requests, events, .. } = entry.outcome.verdict;
    if firings > 0 {
        let wrong = entry.outcome.verdict.wrong_effects();
        line(
            text,
            format_args!(
                "- {}: {firings} firings judged, {requests} requests, {events} events, {wrong} effects wrong",
                entry.name
            ),
        );
    }
}

/// What a broker did, where there is one.
fn broker(text: &mut String, entry: &Entry) {
    let Verdict { messages_witnessed, messages_lost_by_broker, .. } = entry.outcome.verdict;
    if messages_witnessed > 0 {
        line(
            text,
            format_args!(
                "- {}: {messages_witnessed} messages seen by a second subscriber of the broker, \
                 {messages_lost_by_broker} acknowledged by the broker and delivered to nobody",
                entry.name
            ),
        );
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{words}").ok();
}

fn percentiles(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let rank = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(rank).copied()
    };
    Some([at(0.5)?, at(0.99)?, at(1.0)?])
}
