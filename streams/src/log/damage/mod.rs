//! A bit flipped and a cut at every byte of what the log keeps: what is wrong is never returned, what is lost is
//! counted exactly, and the rest is read.
//!
//! `fixture` makes a log with a full segment of 1 MiB, its index, a small active segment, a manifest, and a store
//! of positions with snapshots of deduplication. `sealed` damages the full segment under one open log, as damage
//! comes to a log that runs; `files` damages what is read at a start, each time with a start; `store` the
//! positions.

mod files;
mod fixture;
mod sealed;
mod store;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use fixture::Fixture;

/// Violations reported of each file.
const REPORTED: usize = 10;

/// What damage did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DamageReport {
    /// By kind of file.
    pub files: Vec<FileReport>,
}

/// What damage did to one kind of file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// What it is.
    pub file: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Bits flipped, each in another byte.
    pub flips: u64,
    /// Lengths it was cut to.
    pub cuts: u64,
    /// Cases in which records were lost, all of them counted.
    pub lossy: u64,
    /// Cases in which the log refused to open or put the file aside.
    pub refused: u64,
    /// Cases in which the store of positions showed those of an earlier commit.
    pub fell_back: u64,
    /// What was returned wrongly, counted wrongly or lost without need. Empty is good.
    pub violations: Vec<String>,
}

impl DamageReport {
    /// All violations, with the file.
    pub fn violations(&self) -> impl Iterator<Item = String> {
        let of = |report: &FileReport| {
            let file = report.file;
            report.violations.iter().map(move |why| format!("{file}: {why}")).collect::<Vec<_>>()
        };
        self.files.iter().flat_map(of)
    }
}

impl FileReport {
    fn of(file: &'static str, bytes: usize) -> Self {
        Self { file, bytes: u64::try_from(bytes).unwrap_or(u64::MAX), ..Self::default() }
    }

    fn judge(&mut self, damage: &Damage, outcome: Result<(), String>) {
        match damage {
            Damage::Flip(_) => self.flips += 1,
            Damage::Cut(_) => self.cuts += 1,
        }
        if let Err(why) = outcome
            && self.violations.len() < REPORTED
        {
            self.violations.push(format!("{damage:?}: {why}"));
        }
    }
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// One bit of this byte.
    Flip(usize),
    /// To this length.
    Cut(usize),
}

impl Damage {
    /// Every `step`-th flip and cut of a file of `length`, the ends always.
    fn every(step: usize, length: usize) -> impl Iterator<Item = Self> {
        let step = step.max(1);
        let at = move || (0..length).filter(move |at| at % step == 0 || at + 1 == length);
        at().map(Self::Flip).chain(at().map(Self::Cut))
    }

    fn done_to(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flip(at) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit(at)),
            Self::Cut(length) => bytes.truncate(length),
        }
        bytes
    }
}

/// The bit to flip in the byte `at`.
fn bit(at: usize) -> u8 {
    1 << (at % 8)
}

/// Damages every `step`-th byte of every file, in a directory of its own under `dir`, which had better be in
/// memory. Blocks.
///
/// # Errors
/// If the directory cannot be used. A promise broken is no error, but in the report.
pub fn damage(dir: &Path, seed: u64, step: usize) -> Result<DamageReport, String> {
    let home = dir.join(format!("weir-damage-{}-{seed}", std::process::id()));
    let outcome = (|| {
        let fixture = Fixture::make(&home, seed)?;
        let mut files = vec![sealed::segment(&fixture, step)?];
        files.extend(files::all(&fixture, step)?);
        files.extend(store::positions(&fixture, step)?);
        Ok(DamageReport { files })
    })();
    drop(fs::remove_dir_all(&home));
    outcome
}
