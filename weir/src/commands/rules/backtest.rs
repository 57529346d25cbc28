//! `weir rules backtest`: the live engine over recorded readings.
//!
//! The ids of firings hold no place in a stream, so these are the ids that the live run gave, or would have given.

mod difference;
mod labels;
mod messages;
mod recorded;
mod report;
mod tally;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use processors::RuleSet;
use telemetry::{Clock, Timestamp};

use self::difference::difference;
use self::labels::Labels;
use self::recorded::{Read, Selection};
use self::report::{Report, RuleReport, Rules};
use self::tally::{Named, Tally};
use super::arguments::Backtest;
use super::moment;

/// Reads the table once, evaluates one or two rule sets on it, and prints what fired.
pub(super) fn run(arguments: &Backtest, clock: &dyn Clock) -> anyhow::Result<ExitCode> {
    let labels = arguments.labels.as_deref().map(|path| Labels::read(path, arguments.recording.as_deref()));
    let labels = labels.transpose()?;
    let mut sets = vec![(arguments.rules.as_path(), RuleSet::load(&arguments.rules)?)];
    if let Some(other) = &arguments.other {
        sets.push((other, RuleSet::load(other)?));
    }
    let mut tallies: Vec<Tally> = sets.iter().map(|(_, rules)| Tally::new(rules.rules().len())).collect();
    let read = recorded::each(&arguments.table, &selection(arguments, &sets), |batch| {
        sets.iter().zip(&mut tallies).try_for_each(|((_, rules), tally)| tally.add(rules, batch, clock))
    })?;
    let firings: Vec<Vec<Named<'_>>> = tallies.iter().map(Tally::firings).collect();
    if let (Some(path), Some((_, rules)), Some(firings)) = (&arguments.firings, sets.first(), firings.first()) {
        write(path, rules, firings).with_context(|| path.display().to_string())?;
    }
    let report = report(read, &sets, &tallies, &firings, labels.as_ref(), arguments.top);
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(ExitCode::SUCCESS)
}

fn selection(arguments: &Backtest, sets: &[(&Path, RuleSet)]) -> Selection {
    Selection {
        from: arguments.from,
        to: arguments.to,
        devices: arguments.devices.clone(),
        messages: sets.iter().flat_map(|(_, rules)| rules.rules()).any(|rule| rule.is_over_messages()),
    }
}

fn report(
    read: Read,
    sets: &[(&Path, RuleSet)],
    tallies: &[Tally],
    firings: &[Vec<Named<'_>>],
    labels: Option<&Labels>,
    top: usize,
) -> Report {
    let each = sets.iter().zip(tallies).zip(firings);
    let rules = each.map(|(((path, rules), tally), firings)| of_set(path, rules, tally, firings, labels, top));
    let difference = match (sets, firings) {
        ([(_, first), (_, second)], [of_first, of_second]) => Some(difference((first, of_first), (second, of_second))),
        _ => None,
    };
    Report {
        files: read.files,
        rows: read.rows,
        recording: labels.map(|labels| labels.recording.clone()),
        windows: labels.map_or_else(Vec::new, |labels| {
            labels.windows.iter().map(|window| [moment::text(window.from), moment::text(window.to)]).collect()
        }),
        sets: rules.collect(),
        difference,
    }
}

fn of_set(
    path: &Path,
    rules: &RuleSet,
    tally: &Tally,
    firings: &[Named<'_>],
    labels: Option<&Labels>,
    top: usize,
) -> Rules {
    let score = |rule: Option<usize>| {
        let of = firings.iter().filter(|firing| rule.is_none_or(|rule| rule == firing.rule));
        let times: Vec<Timestamp> = of.map(|firing| firing.time).collect();
        labels.map(|labels| labels.score(&times))
    };
    let by_rule = rules.rules().iter().zip(&tally.rules).enumerate().map(|(at, (rule, counts))| {
        let (distinct, devices) = tally::of_rule(firings, at);
        RuleReport {
            rule: rule.id().to_owned(),
            matches: counts.matches,
            firings: distinct,
            devices,
            errors: counts.errors,
            first_error: counts.first_error.clone(),
            score: score(Some(at)),
        }
    });
    Rules {
        path: path.display().to_string(),
        rules: by_rule.collect(),
        // Of one rule, all is the same as its own.
        score: if rules.rules().len() > 1 { score(None) } else { None },
        devices_and_days: report::top(&tally::by_device_and_day(firings), top),
        evaluation_seconds: tally.evaluation.as_secs_f64(),
        nanoseconds_per_row_and_rule: tally.nanoseconds(),
    }
}

/// Writes all firings as CSV.
fn write(path: &Path, rules: &RuleSet, firings: &[Named<'_>]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    writeln!(out, "rule_id,run_id,device_id,time")?;
    for firing in firings {
        let rule = rules.rules().get(firing.rule).map(|rule| rule.id()).unwrap_or_default();
        let (device, time) = (quoted(firing.device), moment::text(firing.time));
        writeln!(out, "{rule},{},{device},{time}", firing.run_id)?;
    }
    out.flush().context("firings")
}

/// A field of CSV, in quotes where it must be.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
