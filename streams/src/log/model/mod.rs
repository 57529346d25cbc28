//! Torn writes by model: every state that the rules of a disk allow after a crash, opened and judged.
//!
//! A sequence of appends, sealings, positions, deletions and restarts is played on a disk that writes down
//! every change and every promise. Then, for a crash after each change, states are built and opened by
//! [`EmbeddedLog::open`](super::EmbeddedLog::open): all of them where they are few, and ones drawn from the
//! seed where they are not. What the log acknowledged must be there, and nothing that was never submitted.
//!
//! The rules of the disk (`file`, `machine`):
//! - content is durable up to the last sync of the file. What was written since is there or not, each sector of
//!   512 bytes on its own, and a file that grew by a write is cut at any byte;
//! - after a failed sync it stays open whether the sectors ever reach the disk, whatever is synced later, until
//!   they are written again;
//! - names are durable once their directory is synced. Each change since then happened or not, on its own.
//!
//! What it does not do: sectors never hold garbage, and a crash never alters what is durable; that is `damage`.

mod check;
pub(in crate::log) mod draw;
mod file;
mod machine;
pub(in crate::log) mod promise;
mod recorder;
pub(in crate::log) mod seen;
mod sequence;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

pub(in crate::log) use check::Unsynced;

use check::{Checker, is_moment};
use draw::Draw;
use machine::{Dimension, Machine};
use promise::Story;
use seen::{Opener, partitions, text};
use sequence::Script;

/// Moments with at most so many states are tried in all of them.
const ALL_OF: u64 = 1_024;
/// States drawn at a moment that has more.
const SOME: u64 = 10;
/// At one of so many moments the recovery crashes too, at so many moments of its own.
const TWICE_EVERY: u64 = 4;
const SECOND_CRASHES: u64 = 4;
/// One of so many seeds is of a short sequence: those have several times the states.
const SHORT_EVERY: u64 = 16;
/// Violations reported; the first is what matters.
const REPORTED: usize = 20;

/// What the model found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelReport {
    /// Sequences played.
    pub sequences: u64,
    /// Moments at which a crash was tried.
    pub moments: u64,
    /// Moments of which every state was tried.
    pub exhausted_moments: u64,
    /// States judged at the exhausted moments.
    pub exhaustive: u64,
    /// States judged that were drawn.
    pub drawn: u64,
    /// Recoveries that were crashed as well.
    pub recoveries: u64,
    /// States opened, each different from all others of its sequence; what was judged at several moments counts
    /// once.
    pub states: u64,
    /// What did not keep the promise, named by seed, moment and choices. Empty is good.
    pub violations: Vec<String>,
}

/// Tries about `states` states, in a directory of its own under `dir`, which had better be in memory. The same
/// seed tries the same states. Blocks.
///
/// # Errors
/// If the directory cannot be used, or a sequence cannot be played. A promise broken is no error, but in the
/// report.
pub fn model(dir: &Path, seed: u64, states: u64) -> Result<ModelReport, String> {
    let home = dir.join(format!("weir-model-{}-{seed}", std::process::id()));
    let outcome = (|| {
        let opener = Opener::new()?;
        let mut report = ModelReport::default();
        let mut next = seed;
        while report.states < states && report.violations.len() < REPORTED {
            let script = Script { seed: next, short: next.is_multiple_of(SHORT_EVERY) };
            one(&opener, &home, &script, &mut report).map_err(|why| format!("seed {next}: {why}"))?;
            next = next.wrapping_add(1);
        }
        Ok(report)
    })();
    drop(fs::remove_dir_all(&home));
    outcome
}

/// Plays one sequence and tries its crashes.
fn one(opener: &Opener, home: &Path, script: &Script, report: &mut ModelReport) -> Result<(), String> {
    let (live, states) = (home.join("live"), home.join("states"));
    for dir in [&live, &states] {
        drop(fs::remove_dir_all(dir));
        fs::create_dir_all(dir.join("segments")).map_err(text)?;
    }
    let events = script.play(opener, &live)?;
    let mut trial = Trial {
        checker: Checker::new(opener, &states, &script.config(&states))?,
        draw: Draw::new(script.seed ^ 0x5EED),
        script,
        report,
    };
    let mut story = Story::new(partitions().len());
    for (at, event) in events.iter().enumerate() {
        story.tell(event);
        if is_moment(&events, at) {
            trial.crash(&story, at);
        }
    }
    if let Some(why) = story.broken {
        trial.violation(0, &[], &why);
    }
    let opened = trial.checker.states();
    report.states += opened;
    report.sequences += 1;
    Ok(())
}

struct Trial<'a> {
    checker: Checker<'a>,
    draw: Draw,
    script: &'a Script,
    report: &'a mut ModelReport,
}

impl Trial<'_> {
    /// Crashes at one moment.
    fn crash(&mut self, story: &Story, at: usize) {
        if self.report.violations.len() >= REPORTED {
            return;
        }
        let open = story.machine.open();
        self.report.moments += 1;
        let all = open.iter().fold(1_u64, |all, dimension| all.saturating_mul(dimension.ways));
        if all <= if self.script.short { ALL_OF } else { SOME } {
            self.report.exhausted_moments += 1;
            self.report.exhaustive += all;
            for state in 0..all {
                self.state(story, at, &open, &digits(state, &open));
            }
        } else {
            self.report.drawn += SOME;
            for _ in 0..SOME {
                let choices = Machine::draw(&open, &mut self.draw);
                self.state(story, at, &open, &choices);
            }
        }
        if self.draw.one_in(TWICE_EVERY) {
            let choices = Machine::draw(&open, &mut self.draw);
            self.report.recoveries += 1;
            let second = (&mut self.draw, SECOND_CRASHES);
            if let Err(why) = self.checker.check_twice(story, &open, &choices, second) {
                self.violation(at, &choices, &why);
            }
        }
    }

    fn state(&mut self, story: &Story, at: usize, open: &[Dimension], choices: &[u64]) {
        if let Err(why) = self.checker.check(story, open, choices) {
            self.violation(at, choices, &why);
        }
    }

    fn violation(&mut self, at: usize, choices: &[u64], why: &str) {
        if self.report.violations.len() < REPORTED {
            let seed = self.script.seed;
            self.report.violations.push(format!("seed {seed}, event {at}, choices {choices:?}: {why}"));
        }
    }
}

/// The choices that have the number `state`.
fn digits(mut state: u64, open: &[Dimension]) -> Vec<u64> {
    let digit = |dimension: &Dimension| {
        let choice = state % dimension.ways;
        state /= dimension.ways;
        choice
    };
    open.iter().map(digit).collect()
}
