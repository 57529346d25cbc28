//! What a backtest found, for a person and as JSON.

use std::fmt;

use serde::Serialize;

use super::super::moment;
use super::difference::Difference;
use super::labels::Score;
use crate::admin::table;

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) files: usize,
    pub(super) rows: u64,
    /// Of the labels, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recording: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) windows: Vec<[String; 2]>,
    /// One or two rule sets.
    pub(super) sets: Vec<Rules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<Difference>,
}

/// What the rules of one file or directory did.
#[derive(Debug, Serialize)]
pub(super) struct Rules {
    pub(super) path: String,
    pub(super) rules: Vec<RuleReport>,
    /// Of all rules together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<Score>,
    pub(super) devices_and_days: Top,
    pub(super) evaluation_seconds: f64,
    pub(super) nanoseconds_per_row_and_rule: f64,
}

/// What one rule did.
#[derive(Debug, Serialize)]
pub(super) struct RuleReport {
    pub(super) rule: String,
    /// Readings, or messages, that it was true on.
    pub(super) matches: u64,
    /// Distinct ids: what its cool-down left.
    pub(super) firings: u64,
    pub(super) devices: u64,
    /// Readings, or messages, that it failed on.
    pub(super) errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<Score>,
}

/// The devices and days with the most firings.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Top {
    pub(super) first: Vec<DeviceDay>,
    /// Devices and days that are not among them, and their firings.
    pub(super) others: u64,
    pub(super) others_firings: u64,
}

/// A device on a day, by its own clock, UTC.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct DeviceDay {
    pub(super) device: String,
    pub(super) day: String,
    pub(super) firings: u64,
}

/// The first `top` of `counts`, and the rest in one.
pub(super) fn top(counts: &[((&str, i64), u64)], top: usize) -> Top {
    let (first, others) = counts.split_at(top.min(counts.len()));
    let named = |((device, day), firings): &((&str, i64), u64)| DeviceDay {
        device: (*device).to_owned(),
        day: moment::date(*day),
        firings: *firings,
    };
    Top {
        first: first.iter().map(named).collect(),
        others: super::tally::count(others.len()),
        others_firings: others.iter().map(|(_, firings)| firings).sum(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} readings in {} files", self.rows, self.files)?;
        if let Some(recording) = &self.recording {
            writeln!(f, "{} labelled windows of {recording}", self.windows.len())?;
            for (number, [from, to]) in (1..).zip(&self.windows) {
                writeln!(f, "  {number}: {from} to {to}")?;
            }
        }
        for set in &self.sets {
            write!(f, "\n{set}")?;
        }
        self.difference.as_ref().map_or(Ok(()), |difference| write!(f, "\n{difference}"))
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path)?;
        let cells = |rule: &RuleReport| {
            [
                rule.rule.clone(),
                rule.matches.to_string(),
                rule.firings.to_string(),
                rule.devices.to_string(),
                rule.errors.to_string(),
            ]
        };
        let rows: Vec<_> = self.rules.iter().map(cells).collect();
        f.write_str(&table::text(["rule", "matches", "firings", "devices", "errors"], &rows))?;
        for rule in &self.rules {
            if let Some(error) = &rule.first_error {
                writeln!(f, "rule {} failed first with: {}", rule.rule, table::printable(error))?;
            }
        }
        self.scores(f)?;
        self.days(f)?;
        writeln!(
            f,
            "\nevaluated in {:.3} s: {:.1} ns a reading and rule",
            self.evaluation_seconds, self.nanoseconds_per_row_and_rule
        )
    }
}

impl Rules {
    fn scores(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_rules = self.rules.iter().filter_map(|rule| Some((rule.rule.as_str(), rule.score.as_ref()?)));
        let all: Vec<_> = of_rules.chain(self.score.iter().map(|score| ("all together", score))).collect();
        if all.is_empty() {
            return Ok(());
        }
        let cells = |(rule, score): &(&str, &Score)| {
            let times: Vec<String> = score.seconds_to_detect.iter().map(|time| hours(*time)).collect();
            [
                (*rule).to_owned(),
                format!("{} ({} of {})", ratio(score.precision), score.firings_in_windows, score.firings),
                format!("{} ({} of {})", ratio(score.recall), score.windows_detected, score.windows),
                times.join(", "),
            ]
        };
        let rows: Vec<_> = all.iter().map(cells).collect();
        writeln!(f)?;
        f.write_str(&table::text(["rule", "precision", "recall", "time to detect, by window"], &rows))
    }

    fn days(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Top { first, others, others_firings } = &self.devices_and_days;
        if first.is_empty() {
            return Ok(());
        }
        let cells = |day: &DeviceDay| [day.device.clone(), day.day.clone(), day.firings.to_string()];
        let rows: Vec<_> = first.iter().map(cells).collect();
        writeln!(f)?;
        f.write_str(&table::text(["device", "day", "firings"], &rows))?;
        if *others > 0 {
            writeln!(f, "and {others} more devices and days with {others_firings} firings")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |rules: &[String]| if rules.is_empty() { "-".to_owned() } else { rules.join(", ") };
        writeln!(f, "difference")?;
        writeln!(f, "rules only in the first   {}", names(&self.rules_only_first))?;
        writeln!(f, "rules only in the second  {}", names(&self.rules_only_second))?;
        let mut rows: Vec<_> = self
            .by_rule
            .iter()
            .map(|of| [of.rule.clone(), of.only_first.to_string(), of.only_second.to_string(), of.common.to_string()])
            .collect();
        rows.push([
            "all together".to_owned(),
            self.firings_only_first.to_string(),
            self.firings_only_second.to_string(),
            self.firings_common.to_string(),
        ]);
        f.write_str(&table::text(["firings by device and time", "only first", "only second", "common"], &rows))
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"))
}

fn hours(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "not".to_owned(), |seconds| format!("{:.1} h", seconds / 3600.0))
}
