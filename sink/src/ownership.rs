//! Which partitions of a shared table are this process's, and how it takes them from who had them.
//!
//! ```text
//! prepare   a staging directory for each partition, of the epoch to come     ROOT/.staging/readings/00003-0000000007-…
//! fence     a commit: weir-owner/readings/3 is 7                              from here on no other owner commits
//! clear     the staging directories of lower epochs                          from here on no other owner places files
//! ```
//!
//! A file gets into the table only by a hard link from the staging directory of its partition and epoch, and such
//! a directory is made before its fence and never again. So whoever was superseded, and stood still for an hour
//! in whatever step, can neither place a file nor commit. Nobody waits for anybody. docs/adr/0016.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use telemetry::Clock;

use crate::delta::action::CommitInfo;
use crate::delta::{Action, Snapshot, Txn, application, log};
use crate::durable;
use crate::error::SinkError;
use crate::layout::StagingName;
use crate::leftovers::entries;

/// Versions in a row that others may commit between a look at the log and our own commit. Each cost its writer a
/// sync of the disk, and ours only costs a link, so a few are usual with many writers, and so many are a fault.
pub(crate) const MAX_RACES: u64 = 1000;
/// Tries to remove a directory in which its former owner may just be creating a file.
const REMOVALS: usize = 16;

/// The partitions of this process.
#[derive(Debug)]
pub(crate) struct Ownership {
    areas: BTreeMap<u32, Area>,
}

/// What belongs to this process while it owns one partition.
#[derive(Debug)]
struct Area {
    epoch: u64,
    staging: PathBuf,
}

/// Names of staging directories that no other process makes, nor this one again.
#[derive(Debug)]
pub(crate) struct Namer {
    micros: u64,
    process: u32,
}

impl Namer {
    /// A process and the time name it: nothing here draws random numbers.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { micros: clock.now().as_micros().unsigned_abs(), process: std::process::id() }
    }

    fn unique(&self) -> String {
        static NAMED: AtomicU64 = AtomicU64::new(0);
        format!("{:x}-{:x}-{:x}", self.micros, self.process, NAMED.fetch_add(1, Ordering::Relaxed))
    }
}

/// A fence is written.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) ownership: Ownership,
    /// Versions that others committed first.
    pub(crate) conflicts: u64,
}

/// Takes `partitions` of `table`: from this commit on nobody else commits anything of theirs. `snapshot` is then
/// as of it.
///
/// # Errors
/// [`SinkError::Conflict`] if others committed again and again.
pub(crate) fn take(
    table: &str,
    staging: &Path,
    log: &Path,
    partitions: &BTreeSet<u32>,
    snapshot: &mut Snapshot,
    clock: &dyn Clock,
) -> Result<Taken, SinkError> {
    let namer = Namer::new(clock);
    let mut conflicts = 0;
    loop {
        snapshot.catch_up(log)?;
        let ownership = Ownership::prepare(table, staging, partitions, snapshot, &namer)?;
        let fence = ownership.fence(table, clock.now().as_micros() / 1000)?;
        let staged = ownership.scratch().join("fence.staged");
        match log::write_commit(log, snapshot.version + 1, &fence, &staged) {
            Ok(()) => {
                snapshot.advance(fence);
                return Ok(Taken { ownership, conflicts });
            }
            Err(error) => {
                ownership.abandon();
                conflicts += 1;
                if !is_race(&error) || conflicts > MAX_RACES {
                    return Err(error);
                }
            }
        }
    }
}

/// Whether somebody else was faster: with this version, or with these partitions, and then our directories are gone.
fn is_race(error: &SinkError) -> bool {
    match error {
        SinkError::Conflict { .. } => true,
        SinkError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

impl Ownership {
    /// Makes the staging directories of the next epochs. Nothing is owned yet.
    pub(crate) fn prepare(
        table: &str,
        staging: &Path,
        partitions: &BTreeSet<u32>,
        snapshot: &Snapshot,
        namer: &Namer,
    ) -> Result<Self, SinkError> {
        let mut areas = BTreeMap::new();
        for partition in partitions.iter().copied() {
            let held = snapshot.txns.get(&application::owner(table, partition));
            let held = held.map_or(Ok(0), |txn| u64::try_from(txn.version));
            let held = held.map_err(|_| SinkError::damaged(staging, "the log has an owner of negative epoch"))?;
            let name = StagingName { partition, epoch: held + 1 };
            let path = staging.join(format!("{name}-{}", namer.unique()));
            fs::create_dir(&path).map_err(SinkError::io("cannot create directory", &path))?;
            areas.insert(partition, Area { epoch: held + 1, staging: path });
        }
        Ok(Self { areas })
    }

    fn fence(&self, table: &str, millis: i64) -> Result<Vec<Action>, SinkError> {
        let mut actions = vec![CommitInfo::of(millis, "OWN")];
        for (partition, area) in &self.areas {
            let version = i64::try_from(area.epoch).map_err(|_| {
                SinkError::Config(format!("epoch {} of partition {partition} is too large", area.epoch))
            })?;
            let app_id = application::owner(table, *partition);
            actions.push(Txn { app_id, version, last_updated: Some(millis) }.into());
        }
        Ok(actions)
    }

    /// Removes the directories: the epochs became somebody else's, or nothing was to be owned.
    pub(crate) fn abandon(self) {
        for area in self.areas.values() {
            match fs::remove_dir_all(&area.staging) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // It has a name of its own and is in nobody's way; the next owner removes it.
                    tracing::warn!(path = %area.staging.display(), %error, "staging directory not removed");
                }
                _ => {}
            }
        }
    }

    /// Takes the staging directories of lower epochs away. After it no other owner can place a file: the link
    /// needs the staged file.
    pub(crate) fn clear_superseded(&self, staging: &Path) -> Result<(), SinkError> {
        for (name, path) in entries(staging, fs::FileType::is_dir)? {
            let superseded = StagingName::parse(&name)
                .is_some_and(|name| self.epoch(name.partition).is_some_and(|own| name.epoch < own));
            if superseded {
                remove_dir(&path)?;
                tracing::info!(path = %path.display(), "staging directory of a former owner removed");
            }
        }
        durable::sync_dir(staging)
    }

    /// Epoch of `partition`, if it is ours.
    pub(crate) fn epoch(&self, partition: u32) -> Option<u64> {
        self.areas.get(&partition).map(|area| area.epoch)
    }

    /// Where files of `partition` are staged, if it is ours.
    pub(crate) fn staging(&self, partition: u32) -> Option<&Path> {
        self.areas.get(&partition).map(|area| area.staging.as_path())
    }

    /// Where commits and checkpoints are staged: with the lowest partition.
    pub(crate) fn scratch(&self) -> &Path {
        self.areas.values().next().map_or(Path::new(""), |area| &area.staging)
    }

    /// The partition of ours that `actions`, a commit of somebody else, says anything about.
    pub(crate) fn touched(&self, table: &str, actions: &[Action]) -> Option<u32> {
        let txns = actions.iter().filter_map(|action| action.txn.as_ref());
        let mut touched = txns.filter_map(|txn| application::partition_of(&txn.app_id, table));
        touched.find(|partition| self.areas.contains_key(partition))
    }
}

/// Removes what processes that shared the table staged: none of them has it open.
pub(crate) fn clear_all(staging: &Path) -> Result<(), SinkError> {
    if !staging.exists() {
        return Ok(());
    }
    entries(staging, fs::FileType::is_dir)?.iter().try_for_each(|(_, path)| remove_dir(path))
}

/// Removes `path` and what is in it. It loses its name first, in one step: who staged there creates and links by
/// that name, so nothing new comes in, and the files it left cannot be linked once they are unlinked.
fn remove_dir(path: &Path) -> Result<(), SinkError> {
    let gone = path.with_extension("gone");
    match fs::rename(path, &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(SinkError::io("cannot rename", path))?,
    }
    let mut removed = Ok(());
    for _ in 0..REMOVALS {
        removed = fs::remove_dir_all(&gone);
        match &removed {
            // A file was being created when the name went.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            _ => break,
        }
    }
    removed.map_err(SinkError::io("cannot remove", &gone))
}
