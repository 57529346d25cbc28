//! The three steps that make rows part of the table.
//!
//! ```text
//! stage    files in STAGING, synced              crash: deleted when the table is opened
//! place    the same files in the table's folders crash: deleted when the table is opened, no commit names them
//! record   commit N of the log, with positions   crash: before its name is there, as above; after it, done
//! ```
//!
//! Each step is durable before the next begins, so the log never names what a power cut can take away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streams::consume::Passed;
use streams::faults::{Point, Tooth, point, tooth};
use telemetry::Clock;

use crate::buffer::PartitionRows;
use crate::compute::{self, Encoded};
use crate::delta::{Action, Add};
use crate::durable;
use crate::error::SinkError;
use crate::layout::{Hour, PARTITION_COLUMNS, PartName};
use crate::ownership::Ownership;
use crate::spec::TableSpec;
use crate::trace::{CommitTrace, PLACE, RECORD, STAGE};

/// Files written before they are synced, one after the other: the file system commits its journal once for
/// many, and few are open at a time.
const SYNC_GROUP: usize = 32;

/// Where the parts of a table are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The table.
    pub(crate) table: PathBuf,
    /// Its log.
    pub(crate) log: PathBuf,
    /// Files of this table that are not yet part of it.
    pub(crate) staging: PathBuf,
}

/// Commits to one table: alone, or to the partitions it owns.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) spec: TableSpec,
    pub(crate) paths: Paths,
    pub(crate) clock: Arc<dyn Clock>,
    /// The last commit.
    pub(crate) version: u64,
    /// The last commit with a checkpoint; 0 before the first.
    pub(crate) checkpointed: u64,
    pub(crate) checkpoint_commits: u64,
    /// The partitions it commits rows of.
    pub(crate) partitions: BTreeSet<u32>,
    /// First offset not in the table, by partition of ours.
    pub(crate) positions: BTreeMap<u32, u64>,
    /// Set if other processes write the table too.
    pub(crate) ownership: Option<Ownership>,
    /// The commit under way, or the last one.
    pub(crate) pending: Vec<Action>,
    /// Versions that others committed first, since the last commit.
    pub(crate) conflicts: u64,
    /// Spans of the commit under way, if it has rows of traced messages.
    pub(crate) trace: Option<CommitTrace>,
    /// Held as long as this lives.
    pub(crate) _lock: File,
}

/// A file on its way into the table.
#[derive(Debug)]
pub(crate) struct StagedFile {
    staged: PathBuf,
    hour: Hour,
    name: PartName,
    bytes: u64,
    rows: u64,
    stats: String,
}

/// What a commit added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) rows: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Versions that others committed first.
    pub(crate) conflicts: u64,
}

impl Committer {
    /// As [`Committer::commit`], told as spans to `trace`.
    ///
    /// # Errors
    /// As that.
    pub(crate) fn commit_traced(
        &mut self,
        rows: BTreeMap<u32, PartitionRows>,
        passed: &[Passed],
        trace: Option<CommitTrace>,
    ) -> Result<Committed, SinkError> {
        self.trace = trace;
        let committed = self.commit(rows, passed);
        if let Some(trace) = self.trace.take() {
            trace.ended(&self.spec.name, self.version, &committed, || self.clock.now());
        }
        committed
    }

    /// Makes `rows` part of the table, and all before `passed` done, in one step.
    ///
    /// # Errors
    /// Whatever happened, the table is as before or has all of the commit; which, a restart finds out. After
    /// [`SinkError::Fenced`] it is as before, and so are its folders.
    pub(crate) fn commit(
        &mut self,
        rows: BTreeMap<u32, PartitionRows>,
        passed: &[Passed],
    ) -> Result<Committed, SinkError> {
        self.conflicts = 0;
        self.pending.clear();
        let files = self.stage(rows).map_err(|error| self.explained(error, &[]))?;
        self.did(STAGE);
        self.publish(&files, passed).map_err(|error| self.explained(error, &files))?;
        if self.checkpoint_due() {
            self.checkpoint();
        }
        let committed = Committed { conflicts: self.conflicts, ..Committed::default() };
        Ok(files.iter().fold(committed, |sum, file| Committed {
            rows: sum.rows + file.rows,
            files: sum.files + 1,
            bytes: sum.bytes + file.bytes,
            ..sum
        }))
    }

    /// Steps 2 and 3.
    fn publish(&mut self, files: &[StagedFile], passed: &[Passed]) -> Result<(), SinkError> {
        if tooth(Tooth::RenameAfterCommit) {
            self.record(files, passed)?;
        }
        if let Err(error) = self.place(files) {
            discard(files);
            return Err(error);
        }
        self.did(PLACE);
        point(Point::TablePlaced);
        if !tooth(Tooth::RenameAfterCommit) {
            self.record(files, passed)?;
            self.did(RECORD);
        }
        Ok(())
    }

    /// A step is done.
    fn did(&mut self, step: &'static str) {
        if let Some(trace) = &mut self.trace {
            trace.step(step, self.clock.now());
        }
    }

    /// Step 1: sorts the rows, and writes a file for each partition and hour to the staging directory.
    pub(crate) fn stage(&self, rows: BTreeMap<u32, PartitionRows>) -> Result<Vec<StagedFile>, SinkError> {
        let mut files = Vec::new();
        let staged = self.stage_into(&mut files, rows);
        if staged.is_err() {
            // On a full disk this gives the space back at once. What it cannot remove, a restart does.
            discard(&files);
        }
        staged.map(|()| files)
    }

    fn stage_into(&self, files: &mut Vec<StagedFile>, rows: BTreeMap<u32, PartitionRows>) -> Result<(), SinkError> {
        let mut unsynced = Vec::with_capacity(SYNC_GROUP);
        compute::encode_all(rows, &self.spec, |encoded| {
            let staged = self.staging(encoded.partition).join(format!("{}.staged", files.len()));
            point(Point::ParquetWrite);
            let (file, open) = self.stage_file(staged, encoded)?;
            files.push(file);
            unsynced.push(open);
            if unsynced.len() == SYNC_GROUP {
                sync_all(&mut unsynced, &self.paths.staging)?;
            }
            Ok(())
        })?;
        sync_all(&mut unsynced, &self.paths.staging)?;
        point(Point::ParquetSynced);
        Ok(())
    }

    fn stage_file(&self, staged: PathBuf, encoded: Encoded) -> Result<(StagedFile, File), SinkError> {
        let Encoded { partition, hour, offsets: (first, last), rows, stats, bytes } = encoded;
        let mut file = durable::create_new(&staged)?;
        let written = file.write_all(&bytes).map_err(SinkError::io("cannot write", &staged));
        written.inspect_err(|_| discard_file(&staged))?;
        point(Point::ParquetClosed);
        let epoch = self.ownership.as_ref().and_then(|owned| owned.epoch(partition));
        let name = PartName { partition, first, last, epoch };
        Ok((StagedFile { staged, hour, name, bytes: bytes.len() as u64, rows, stats }, file))
    }

    /// Rows and positions of other partitions are not this sink's to commit.
    ///
    /// # Errors
    /// [`SinkError::Config`].
    pub(crate) fn check_ours(&self, partition: u32) -> Result<(), SinkError> {
        if self.partitions.contains(&partition) {
            return Ok(());
        }
        Err(SinkError::Config(format!(
            "the sink of {} was given partition {partition}, expected one of {:?}, which it was opened for",
            self.spec.name, self.partitions
        )))
    }

    fn staging(&self, partition: u32) -> &Path {
        self.ownership.as_ref().and_then(|owned| owned.staging(partition)).unwrap_or(&self.paths.staging)
    }

    /// Step 2: moves the files to their folders, and makes every name on the way to them durable.
    pub(crate) fn place(&self, files: &[StagedFile]) -> Result<(), SinkError> {
        if files.is_empty() {
            return Ok(());
        }
        let hours: BTreeSet<Hour> = files.iter().map(|file| file.hour).collect();
        let mut dirs = BTreeSet::from([self.paths.table.clone()]);
        for hour in hours {
            let dir = self.paths.table.join(hour.directory());
            if let Some(date) = dir.parent() {
                durable::create_dir(date)?;
                dirs.insert(date.to_owned());
            }
            durable::create_dir(&dir)?;
            dirs.insert(dir);
        }
        for file in files {
            let path = self.paths.table.join(file.path());
            durable::publish(&file.staged, &path).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => SinkError::damaged(&path, "a file of this name is in the way"),
                _ => SinkError::io("cannot publish", &path)(source),
            })?;
            point(Point::ParquetPlaced);
        }
        // Also directories that were there: who made them may have been killed before syncing them.
        dirs.iter().rev().try_for_each(|dir| durable::sync_dir(dir))
    }
}

impl StagedFile {
    /// Path below the table.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.hour.directory(), self.name)
    }

    pub(crate) fn add(&self, millis: i64) -> Add {
        let [date, hour] = PARTITION_COLUMNS.map(str::to_owned);
        Add {
            // Nothing in our names needs percent-encoding.
            path: self.path(),
            partition_values: BTreeMap::from([
                (date, Some(self.hour.date())),
                (hour, Some(self.hour.of_day().to_string())),
            ]),
            size: self.bytes,
            modification_time: millis,
            data_change: true,
            stats: Some(self.stats.clone()),
        }
    }
}

/// Syncs `files`, after all of them were written: the first sync commits the journal for the others too.
fn sync_all(files: &mut Vec<File>, dir: &Path) -> Result<(), SinkError> {
    for file in files.drain(..) {
        if tooth(Tooth::ParquetSyncSkipped) {
            continue;
        }
        file.sync_all().map_err(SinkError::io("cannot sync a file in", dir))?;
    }
    Ok(())
}

pub(crate) fn discard(files: &[StagedFile]) {
    files.iter().for_each(|file| discard_file(&file.staged));
}

pub(crate) fn discard_file(staged: &Path) {
    match fs::remove_file(staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %staged.display(), %error, "staged file not removed");
        }
        _ => {}
    }
}
