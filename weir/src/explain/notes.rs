//! What has not happened yet, and what is not there any more: with offsets, so that a person can tell when it will be, or
//! since when.

use super::judge::offsets;
use super::view::{Explanation, Fate, Searched};

pub(super) fn of(explanation: &Explanation) -> Vec<String> {
    let mut notes = Vec::new();
    not_yet(explanation, &mut notes);
    not_any_more(explanation, &mut notes);
    notes
}

fn not_yet(explanation: &Explanation, notes: &mut Vec<String>) {
    let kept = explanation.copies.iter().find(|copy| copy.fate == Fate::Kept).map(|copy| copy.offset);
    let firing = explanation.runs.iter().filter_map(|run| run.offset).max();
    for (group, what, offset) in [("rules", "the message", kept), ("workflows", "the firing", firing)] {
        let Some(offset) = offset else { continue };
        for at in explanation.groups.iter().filter(|at| at.group == group && at.position <= offset) {
            let behind = at.end.saturating_sub(at.position);
            notes.push(format!(
                "group {group} has not passed {what} at offset {offset} of {}: by what it committed it is at {} of {}, \
                 {behind} records behind",
                at.stream, at.position, at.end
            ));
        }
    }
    let table = &explanation.alerts_table;
    let position = table.position.unwrap_or(0);
    let waiting = explanation.alerts.iter().find(|alert| alert.fate == Fate::Kept && alert.offset >= position);
    if let Some(alert) = waiting.filter(|_| table.version.is_some()) {
        let (offset, end) = (alert.offset, explanation.alerts_searched.end);
        notes.push(format!("the table of alerts does not hold offset {offset} yet: it is at {position} of {end}"));
    }
}

fn not_any_more(explanation: &Explanation, notes: &mut Vec<String>) {
    let has_kept = explanation.copies.iter().any(|copy| copy.fate == Fate::Kept);
    if let (false, Some((first, last))) = (has_kept, offsets(&explanation.table)) {
        let Searched { stream, partition, first: retained, .. } = &explanation.searched;
        notes.push(format!(
            "what is stored was at offsets {first}..={last} of {stream}/{partition}, which is retained from {retained} on"
        ));
    }
    let found = !explanation.copies.is_empty() || !explanation.table.rows.is_empty();
    for searched in [&explanation.alerts_searched, &explanation.firings_searched] {
        // The search wanted to begin earlier.
        if found && searched.first > 0 && searched.from == searched.first {
            let Searched { stream, partition, first, .. } = searched;
            notes.push(format!("{stream}/{partition} is retained from offset {first} on: what was before it is gone"));
        }
    }
}
