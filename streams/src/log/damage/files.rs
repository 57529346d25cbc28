//! Files that are read at a start: each damage is followed by a start, a look at everything, and an append.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::fixture::{Fixture, wide};
use super::{Damage, FileReport};
use crate::contract::{Partition, Streams};
use crate::log::model::seen::{partitions, text};
use crate::log::{EmbeddedLog, read};

/// What may come of damage to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    /// Nothing: it can be made again.
    Nothing,
    /// The log refuses to open.
    Refusal,
    /// Records of the active segment.
    Active,
    /// Records of the full segment, whose index is lost as well.
    Full,
}

/// Damages all of them, every `step`-th byte.
pub(super) fn all(fixture: &Fixture, step: usize) -> Result<Vec<FileReport>, String> {
    let mut reports = vec![
        one(fixture, "index", fixture.file("idx", false)?, Cost::Nothing, step)?,
        one(fixture, "active segment", fixture.file("log", true)?, Cost::Active, step)?,
        // A scan of 1 MiB at each start: fewer of them.
        one(fixture, "full segment without index", fixture.file("log", false)?, Cost::Full, step * 509)?,
    ];
    if let Ok(tail) = fixture.file("tail", true) {
        reports.push(one(fixture, "tail", tail, Cost::Nothing, step)?);
    }
    let manifest = fixture.files.iter().find(|(path, _)| path == Path::new("manifest"));
    reports.push(one(fixture, "manifest", manifest.ok_or("no manifest")?, Cost::Refusal, step)?);
    Ok(reports)
}

fn one(
    fixture: &Fixture,
    file: &'static str,
    (path, whole): &(std::path::PathBuf, Vec<u8>),
    cost: Cost,
    step: usize,
) -> Result<FileReport, String> {
    let mut report = FileReport::of(file, whole.len());
    for damage in Damage::every(step, whole.len()) {
        fixture.restore(path)?;
        fs::write(fixture.config.dir.join(path), damage.done_to(whole)).map_err(text)?;
        if cost == Cost::Full {
            fs::remove_file(fixture.config.dir.join(path).with_extension("idx")).map_err(text)?;
        }
        let look = || fixture.open().map(|log| look(fixture, &log, cost));
        let outcome = match catch_unwind(AssertUnwindSafe(look)) {
            Err(_) => Err("a panic".to_owned()),
            Ok(Err(_)) if cost == Cost::Refusal => {
                report.refused += 1;
                Ok(())
            }
            Ok(Err(why)) => Err(format!("does not open: {why}")),
            Ok(Ok(_)) if cost == Cost::Refusal => Err("opens though it is damaged".to_owned()),
            Ok(Ok(lost)) => lost.map(|lost| report.lossy += u64::from(lost > 0)),
        };
        report.judge(&damage, outcome);
    }
    fixture.restore(path)?;
    Ok(report)
}

/// Reads everything and appends; gives the number of records lost.
fn look(fixture: &Fixture, log: &EmbeddedLog, cost: Cost) -> Result<u64, String> {
    let (mut all_lost, mut ends) = (0, Vec::new());
    let active = fixture.groups.first().ok_or("no groups")?;
    for (slot, of) in partitions().iter().enumerate() {
        let (end, lost) = partition(fixture, log, slot, of)?;
        let begins = active.get(slot).copied().unwrap_or(0);
        let allowed = |offset: &u64| match cost {
            Cost::Nothing | Cost::Refusal => false,
            Cost::Active => *offset >= begins,
            Cost::Full => *offset < begins,
        };
        if let Some(offset) = lost.iter().find(|offset| !allowed(offset)) {
            return Err(format!("{of}/{offset} is lost"));
        }
        all_lost += wide(lost.len());
        ends.push(end);
    }
    // Whole groups may be cut off the end, where damage and a torn write look the same; not below what a consumer
    // passed, whose offsets are not given again.
    let kept =
        |group: &Vec<u64>| group.iter().enumerate().map(|(slot, end)| *end.max(&fixture.passed(slot))).eq(ends.clone());
    if !(fixture.groups.last() == Some(&ends) || cost == Cost::Active && fixture.groups.iter().any(kept)) {
        return Err(format!("ends at {ends:?}"));
    }
    let records = (0..ends.len()).map(|slot| (slot, b"goes on".to_vec())).collect();
    fixture.opener.append(log, None, records)?;
    Ok(all_lost)
}

/// Reads a partition; gives its end and the offsets lost.
fn partition(fixture: &Fixture, log: &EmbeddedLog, slot: usize, of: &Partition) -> Result<(u64, Vec<u64>), String> {
    let bounds = log.bounds(of).map_err(text)?;
    // With its index gone and not one group of it left, nothing tells where the oldest segment began.
    let begins = fixture.groups.first().and_then(|begins| begins.get(slot)).copied();
    if bounds.start != 0 && Some(bounds.start) != begins {
        return Err(format!("{of} begins at {}", bounds.start));
    }
    let place = log.shared.layout.find(of).ok_or("no place")?;
    let (mut lost, mut offset): (Vec<u64>, u64) = ((0..bounds.start).collect(), bounds.start);
    while offset < bounds.end {
        let read = read::read(&log.shared, of, place, offset, 1 << 20).map_err(text)?;
        let mut there = read.records.iter().peekable();
        let before = lost.len();
        for at in offset..read.next {
            let Some(record) = there.next_if(|record| record.offset == at) else {
                lost.push(at);
                continue;
            };
            let written = usize::try_from(at).ok().and_then(|at| fixture.records.get(slot)?.get(at));
            if written != Some(&record.payload) {
                return Err(format!("{of}/{at}: returned what was not written"));
            }
        }
        if there.next().is_some() || wide(lost.len() - before) != read.lost || read.next == offset {
            return Err(format!("{of} at {offset}: {} counted as lost, {}", read.lost, lost.len() - before));
        }
        offset = read.next;
    }
    Ok((bounds.end, lost))
}
