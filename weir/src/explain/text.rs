//! An explanation as a person reads it.

use std::fmt::{self, Write};

use processors::workflows::StepState;
use serde_json::Value;
use telemetry::Timestamp;

use super::judge::place;
use super::view::{Alert, Explanation, Fate, Progress, Run, Searched, Stored};
use crate::admin::table;
use crate::dlq::view::time;

/// The whole text; ends with a line break.
///
/// # Errors
/// Never: a text can be written to.
pub(crate) fn text(explanation: &Explanation) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let who = &explanation.who;
    let device = table::printable(&who.device);
    writeln!(text, "device {device} boot {} seq {}: {}", who.boot, who.seq, table::printable(&explanation.says))?;
    for note in &explanation.notes {
        writeln!(text, "  {}", table::printable(note))?;
    }
    readings(&mut text, explanation)?;
    copies(&mut text, explanation)?;
    stored(&mut text, &explanation.table)?;
    fired(&mut text, explanation)?;
    for run in &explanation.runs {
        started(&mut text, run)?;
    }
    letters(&mut text, explanation)?;
    groups(&mut text, &explanation.groups)?;
    Ok(text)
}

fn readings(text: &mut String, explanation: &Explanation) -> fmt::Result {
    if explanation.readings.is_empty() {
        return Ok(());
    }
    let rows = explanation.readings.iter().map(|reading| {
        let value = match &reading.value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        [reading.metric.clone(), value, optional(&reading.unit), reading.time.clone(), optional(&reading.site)]
    });
    write!(text, "\n{}", table::text(["metric", "value", "unit", "measured", "site"], &rows.collect::<Vec<_>>()))
}

fn copies(text: &mut String, explanation: &Explanation) -> fmt::Result {
    let partition = explanation.partition;
    writeln!(text, "\nstream readings/{partition}")?;
    for copy in &explanation.copies {
        let fate = match copy.fate {
            Fate::Kept => "",
            Fate::LeftOut => ": came again, left out",
        };
        writeln!(
            text,
            "  offset {} row {}, received {}, appended {}{fate}",
            copy.offset, copy.row, copy.received_at, copy.appended_at
        )?;
    }
    searched(text, &explanation.searched)
}

fn searched(text: &mut String, searched: &Searched) -> fmt::Result {
    writeln!(text, "  searched {}", place(searched))
}

fn stored(text: &mut String, stored: &Stored) -> fmt::Result {
    writeln!(text, "\ntable {}", table::printable(&stored.table))?;
    if let Some(problem) = &stored.problem {
        writeln!(text, "  {}", table::printable(problem))?;
    }
    let Some(version) = stored.version else { return Ok(()) };
    for rows in stored.rows.chunk_by(|a, b| a.file == b.file) {
        let Some(first) = rows.first() else { continue };
        let commit = first.version.map_or_else(String::new, |version| format!(", version {version}"));
        let at = first.committed_at.as_ref().map_or_else(String::new, |at| format!(" committed {at}"));
        writeln!(text, "  {}{commit}{at}", table::printable(&first.file))?;
        for row in rows {
            let metric = table::printable(&row.reading.metric);
            writeln!(text, "    row {} of row group {}: {metric}", row.row, row.row_group)?;
        }
    }
    let position = stored.position.map_or_else(|| "nothing".to_owned(), |position| format!("offset {position}"));
    let left = if stored.files_left > 0 { format!(", {} not looked at", stored.files_left) } else { String::new() };
    writeln!(text, "  version {version} holds the partition up to {position}; {} files looked at{left}", stored.files)
}

fn fired(text: &mut String, explanation: &Explanation) -> fmt::Result {
    let Explanation { alerts, alerts_searched, alerts_table, partition, .. } = explanation;
    writeln!(text, "\nalerts/{partition}")?;
    for alert in alerts {
        let Alert { rule, severity, message, offset, appended_at, alert_id, fate, .. } = alert;
        let again = if *fate == Fate::LeftOut { ": again after a crash, left out" } else { "" };
        writeln!(text, "  offset {offset}, appended {appended_at}, alert {alert_id}{again}")?;
        writeln!(text, "    {rule} ({severity}): {}", table::printable(message))?;
    }
    if alerts.is_empty() {
        let why =
            if explanation.copies.is_empty() { "nothing to search for" } else { "no rule fired, as far as is known" };
        writeln!(text, "  {why}")?;
    }
    searched(text, alerts_searched)?;
    if alerts.is_empty() && alerts_table.rows.is_empty() { Ok(()) } else { stored(text, alerts_table) }
}

fn started(text: &mut String, run: &Run) -> fmt::Result {
    let at = run.offset.map_or_else(String::new, |offset| format!(", offset {offset} of workflows"));
    writeln!(text, "\nrun {} of {}{at}", run.id, run.rule)?;
    if let Some(note) = &run.note {
        writeln!(text, "  {}", table::printable(note))?;
    }
    let Some(detail) = &run.detail else { return Ok(()) };
    let moment = |micros: i64| time(Timestamp::from_micros(micros));
    let ended = detail.summary.ended_at.map_or_else(String::new, |at| format!(", ended {}", moment(at)));
    writeln!(text, "  {}, taken {}{ended}", detail.summary.state.as_str(), moment(detail.summary.admitted_at))?;
    if let Some(letter) = detail.letter {
        writeln!(text, "  its dead letter is record {letter} of workflow_dead_letters")?;
    }
    for step in &detail.progress {
        let state = match step.state {
            StepState::Pending => "pending",
            StepState::Done => "done",
            StepState::Dead => "dead",
            StepState::Failed => "failed",
        };
        let span = [("begun", step.begun_at), ("ended", step.ended_at)];
        let span = span.into_iter().filter_map(|(what, at)| Some(format!(", {what} {}", moment(at?))));
        let (index, attempts, span) = (step.index, step.attempts, span.collect::<String>());
        writeln!(text, "  step {index} {}: {state}, {attempts} attempts{span}", table::printable(&step.target))?;
        if !step.last.is_empty() {
            writeln!(text, "    {}", table::printable(&step.last))?;
        }
    }
    Ok(())
}

fn letters(text: &mut String, explanation: &Explanation) -> fmt::Result {
    writeln!(text, "\ndead letters")?;
    for letter in &explanation.letters {
        let state = letter.state.map_or_else(String::new, |state| format!(", {state}"));
        let sure = if letter.exact { "" } else { ": of this device, boot and seq are not known" };
        writeln!(text, "  {}{state}, received {}{sure}", letter.id, letter.received_at)?;
        writeln!(text, "    {}: {}", letter.reason, table::printable(&letter.detail))?;
    }
    explanation.letters_searched.iter().try_for_each(|place| searched(text, place))
}

fn groups(text: &mut String, groups: &[Progress]) -> fmt::Result {
    let row = |at: &Progress| {
        let behind = at.end.saturating_sub(at.position);
        [at.group.clone(), at.stream.clone(), at.position.to_string(), at.end.to_string(), behind.to_string()]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    write!(text, "\n{}", table::text(["group", "stream", "position", "end", "behind"], &rows))
}
