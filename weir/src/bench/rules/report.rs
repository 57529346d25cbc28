//! The figures, for a person and as JSON.

use std::fmt;

use serde::Serialize;

/// Everything measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) costs: Vec<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pipeline: Option<Share>,
}

/// What one case costs, in nanoseconds a row and rule.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    pub(super) kind: &'static str,
    pub(super) rules: usize,
    pub(super) batch_rows: usize,
    /// Median of the runs.
    pub(super) nanoseconds: f64,
    pub(super) nanoseconds_least: f64,
    pub(super) nanoseconds_most: f64,
    /// Of rows times rules.
    pub(super) matches_per_million: f64,
}

/// Rules in the whole pipeline.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) rules: usize,
    pub(super) readings: u64,
    pub(super) readings_per_second: f64,
    /// Time in evaluations, by the wall: on a machine that is busy, more than their CPU.
    pub(super) evaluation_seconds: f64,
    /// CPU of the process from its start to its end, everything stored.
    pub(super) cpu_seconds: f64,
    pub(super) share: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24}{:>6}{:>12}{:>20}{:>18}{:>16}",
            "rules", "", "batch rows", "ns a row and rule", "least to most", "us a batch"
        )?;
        for cost in &self.costs {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let batch = cost.nanoseconds * cost.batch_rows as f64 * cost.rules as f64 / 1e3;
            let range = format!("{:.1} to {:.1}", cost.nanoseconds_least, cost.nanoseconds_most);
            writeln!(
                f,
                "{:<24}{:>6}{:>12}{:>20.1}{:>18}{:>16.1}",
                cost.kind, cost.rules, cost.batch_rows, cost.nanoseconds, range, batch
            )?;
        }
        self.pipeline.as_ref().map_or(Ok(()), |share| write!(f, "{share}"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "pipeline with {} rules: {:.0} readings/s, {:.2} s in evaluations of {:.2} s CPU: {:.1} %",
            self.rules,
            self.readings_per_second,
            self.evaluation_seconds,
            self.cpu_seconds,
            self.share * 100.0
        )
    }
}
