//! What became of the message, out of all that was found.

use std::collections::BTreeSet;

use chrono::DateTime;
use telemetry::Timestamp;

use super::notes;
use super::readings::Found;
use super::view::{Explanation, Fate, Searched, Sighting, Stored, Verdict};
use crate::dlq::view::{Source, time};

/// Which of those found in the stream is in the table: the one received when the row says. Where nothing is in the table,
/// the first: deduplication keeps it.
pub(super) fn kept(found: &[Found], table: &Stored) -> Option<usize> {
    let received: Vec<String> = found.iter().map(|found| time(found.received_at)).collect();
    kept_of(&received, table)
}

fn kept_of(received: &[String], table: &Stored) -> Option<usize> {
    if table.rows.is_empty() {
        return (!received.is_empty()).then_some(0);
    }
    received.iter().position(|received| table.rows.iter().any(|row| row.received_at == *received))
}

pub(super) fn sightings(found: &[Found], kept: Option<usize>) -> Vec<Sighting> {
    let fate = |at| if Some(at) == kept { Fate::Kept } else { Fate::LeftOut };
    found.iter().enumerate().map(|(at, found)| found.sighting(fate(at))).collect()
}

/// Decides again which one is kept, by another table.
pub(super) fn keep(explanation: &mut Explanation) {
    let received: Vec<String> = explanation.copies.iter().map(|copy| copy.received_at.clone()).collect();
    let kept = kept_of(&received, &explanation.table);
    for (at, copy) in explanation.copies.iter_mut().enumerate() {
        copy.fate = if Some(at) == kept { Fate::Kept } else { Fate::LeftOut };
    }
    if explanation.readings.is_empty() {
        explanation.readings = explanation.table.rows.iter().map(|row| row.reading.clone()).collect();
    }
}

/// When the first row was received that the table has.
pub(super) fn received_at(table: &Stored) -> Option<Timestamp> {
    let first = table.rows.iter().map(|row| row.received_at.as_str()).min()?;
    let micros = DateTime::parse_from_rfc3339(first).ok()?.timestamp_micros();
    Some(Timestamp::from_micros(micros))
}

/// Offsets between which the message is by the names of the files that have it.
pub(super) fn offsets(table: &Stored) -> Option<(u64, u64)> {
    let ranges = || table.rows.iter().filter_map(|row| row.offsets);
    Some((ranges().map(|(first, _)| first).min()?, ranges().map(|(_, last)| last).max()?))
}

/// Sets the verdict, and says it and what there is to note.
pub(super) fn judge(explanation: &mut Explanation) {
    (explanation.verdict, explanation.says) = verdict(explanation);
    explanation.notes = notes::of(explanation);
}

fn verdict(explanation: &Explanation) -> (Verdict, String) {
    let table = &explanation.table;
    let kept = explanation.copies.iter().find(|copy| copy.fate == Fate::Kept);
    if !table.rows.is_empty() {
        return stored(table, kept);
    }
    let Some(first) = kept else { return not_found(explanation) };
    let offset = first.offset;
    let at = format!("in the stream at offset {offset}");
    match table.position {
        _ if table.version.is_none() => (Verdict::InStream, format!("{at}; no table was looked into")),
        Some(position) if position > offset && table.files_left == 0 && table.problem.is_none() => {
            (Verdict::Missing, format!("{at}; the table is past it, at {position}, and does not hold it"))
        }
        Some(position) if position > offset => (
            Verdict::Unclear,
            format!("{at}; the table is past it, at {position}, and not all of it was looked through"),
        ),
        position => {
            let (position, end) = (position.unwrap_or(0), explanation.searched.end);
            let behind = end.saturating_sub(position);
            (
                Verdict::Waiting,
                format!("{at}, not yet in the table: it is at {position} of {end}, {behind} records behind"),
            )
        }
    }
}

/// A message that the table has. `kept` is what is still in the stream of it.
fn stored(table: &Stored, kept: Option<&Sighting>) -> (Verdict, String) {
    let rows = table.rows.len();
    let received: BTreeSet<&str> = table.rows.iter().map(|row| row.received_at.as_str()).collect();
    if received.len() > 1 {
        let received: Vec<&str> = received.into_iter().collect();
        return (Verdict::StoredTwice, format!("in the table more than once: received at {}", received.join(" and ")));
    }
    match kept.map(|kept| kept.readings) {
        Some(sent) if rows > sent => {
            (Verdict::StoredTwice, format!("in the table more than once: {rows} rows of {sent} readings"))
        }
        Some(sent) if rows < sent && table.files_left == 0 && table.problem.is_none() => {
            (Verdict::Missing, format!("in the table in part: {rows} of {sent} readings"))
        }
        Some(sent) if rows < sent => {
            (Verdict::Unclear, format!("in the table: {rows} of {sent} readings, and not all of it was looked through"))
        }
        _ => (Verdict::Stored, format!("in the table once: {rows} {}", if rows == 1 { "reading" } else { "readings" })),
    }
}

fn not_found(explanation: &Explanation) -> (Verdict, String) {
    let refused = explanation.letters.iter().find(|letter| letter.exact && letter.id.source == Source::Ingest);
    if let Some(letter) = refused {
        return (Verdict::Refused, format!("refused: {}, dead letter {}", letter.reason, letter.id));
    }
    let searched = std::iter::once(&explanation.searched).chain(&explanation.letters_searched);
    let mut places: Vec<String> = searched.map(place).collect();
    let Stored { files, files_left, version, .. } = &explanation.table;
    places.insert(
        0,
        match version {
            None => "no table".to_owned(),
            Some(_) if *files_left > 0 => format!("{files} of {} files of the table", files + files_left),
            Some(version) => format!("the table as of version {version}, {files} files"),
        },
    );
    (Verdict::Unknown, format!("not found in {}", places.join("; ")))
}

/// What was searched, for a person.
pub(super) fn place(searched: &Searched) -> String {
    let Searched { stream, partition, from, to, first, end, unreadable } = searched;
    let all = match searched.is_all() {
        true if *first == 0 => "all there ever was".to_owned(),
        true => format!("all that is retained, from {first}"),
        false => format!("of {first}..{end} retained"),
    };
    let unreadable = if *unreadable > 0 { format!(", {unreadable} unreadable") } else { String::new() };
    format!("{stream}/{partition} offsets {from}..{to} ({all}{unreadable})")
}
