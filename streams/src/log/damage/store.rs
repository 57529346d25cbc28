//! The store of positions: what it shows after damage is what was committed, or an earlier commit, or nothing.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry::Timestamp;

use super::fixture::Fixture;
use super::{Damage, FileReport};
use crate::log::disk::Disk;
use crate::log::manifest::Layout;
use crate::log::model::Unsynced;
use crate::log::model::promise::Held;
use crate::log::model::seen::{GROUPS, partitions, specs, text};
use crate::log::positions::Positions;

/// A page of redb, most of which are never written.
const PAGE: usize = 4096;

/// Damages every `step`-th byte of the pages that hold something, and some of each page that does not; the cuts
/// are to every length around the pages' borders.
pub(super) fn positions(fixture: &Fixture, step: usize) -> Result<[FileReport; 2], String> {
    let (path, closed) = fixture.file("redb", false)?;
    let store = Store::beside(fixture, path)?;
    Ok([
        one(fixture, &store, FileReport::of("positions", closed.len()), closed, step)?,
        one(fixture, &store, FileReport::of("positions, not closed", fixture.unclosed.len()), &fixture.unclosed, step)?,
    ])
}

fn one(
    fixture: &Fixture,
    store: &Store,
    mut report: FileReport,
    whole: &[u8],
    step: usize,
) -> Result<FileReport, String> {
    let holds =
        |at: usize| whole.get(at / PAGE * PAGE..).is_some_and(|page| page.iter().take(PAGE).any(|byte| *byte != 0));
    let flips = |at: &usize| if holds(*at) { at.is_multiple_of(step.max(1)) } else { at % PAGE == at / PAGE % PAGE };
    let cuts = |at: &usize| matches!(at % PAGE, 0 | 1 | 4095) || *at < PAGE && at.is_multiple_of(step.max(1));
    let flips = (0..whole.len()).filter(flips).map(Damage::Flip);
    for damage in flips.chain((0..whole.len()).filter(cuts).map(Damage::Cut)) {
        fs::write(&store.path, damage.done_to(whole)).map_err(text)?;
        let outcome = store.look(fixture, &mut report);
        report.judge(&damage, outcome);
    }
    Ok(report)
}

/// A store in a directory of its own.
struct Store {
    path: PathBuf,
    layout: Layout,
    disk: Arc<dyn Disk>,
}

impl Store {
    fn beside(fixture: &Fixture, path: &Path) -> Result<Self, String> {
        let dir = fixture.config.dir.with_extension("store");
        fs::create_dir_all(&dir).map_err(text)?;
        let disk: Arc<dyn Disk> = Arc::new(Unsynced);
        let manifest = fixture.config.dir.join("manifest");
        let layout =
            Layout::open(disk.as_ref(), &manifest, &specs(), false, Timestamp::from_micros(0)).map_err(text)?;
        Ok(Self { path: dir.join(path), layout, disk })
    }

    fn look(&self, fixture: &Fixture, report: &mut FileReport) -> Result<(), String> {
        let opened = catch_unwind(AssertUnwindSafe(|| -> Result<(usize, Vec<Held>), String> {
            let positions = Positions::open(&self.disk, &self.path, &self.layout).map_err(text)?;
            Ok((positions.damaged(), shown(&positions)?))
        }));
        let outcome = match opened {
            Err(_) => Err("a panic".to_owned()),
            // An error at the start: a person decides.
            Ok(Err(_)) => {
                report.refused += 1;
                Ok(())
            }
            Ok(Ok((aside, shown))) if aside > 0 => {
                report.refused += 1;
                if shown.iter().all(Held::is_empty) { Ok(()) } else { Err("begins again with positions".to_owned()) }
            }
            Ok(Ok((_, shown))) if fixture.commits.last() == Some(&shown) => Ok(()),
            Ok(Ok((_, shown))) if fixture.commits.contains(&shown) => {
                report.fell_back += 1;
                Ok(())
            }
            Ok(Ok(_)) => Err("shows what was never committed".to_owned()),
        };
        // What was put aside.
        for entry in fs::read_dir(self.path.parent().unwrap_or(&self.path)).map_err(text)? {
            fs::remove_file(entry.map_err(text)?.path()).map_err(text)?;
        }
        outcome
    }
}

fn shown(positions: &Positions) -> Result<Vec<Held>, String> {
    let mut all = Vec::new();
    for (group, _) in GROUPS {
        let mut held = Held::new();
        for (slot, of) in partitions().iter().enumerate() {
            if let Some(position) = positions.get(group, of).map_err(text)? {
                held.insert(slot, (position.offset, position.state));
            }
        }
        all.push(held);
    }
    Ok(all)
}
