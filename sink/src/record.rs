//! The third step of a commit, alone or among others who commit to the same table.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use streams::consume::Passed;
use streams::faults::{Point, point};

use crate::commit::{Committer, StagedFile, discard, discard_file};
use crate::delta::action::CommitInfo;
use crate::delta::{Action, Snapshot, Txn, application, checkpoint, log, schema};
use crate::durable;
use crate::error::SinkError;
use crate::ownership::MAX_RACES;

impl Committer {
    /// Step 3: writes the commit.
    ///
    /// # Errors
    /// [`SinkError::Fenced`], [`SinkError::Conflict`], [`SinkError::Io`].
    pub(crate) fn record(&mut self, files: &[StagedFile], passed: &[Passed]) -> Result<(), SinkError> {
        let millis = self.clock.now().as_micros() / 1000;
        let advanced: Vec<Passed> = passed.iter().copied().filter(|passed| self.is_ahead(*passed)).collect();
        let operation = if files.is_empty() { "ADVANCE" } else { "WRITE" };
        let mut actions = vec![CommitInfo::of(millis, operation)];
        for passed in &advanced {
            actions.push(txn(&self.spec.name, *passed, millis)?.into());
        }
        actions.extend(files.iter().map(|file| Action::from(file.add(millis))));
        let staged = self.scratch().join("commit.staged");
        log::stage_commit(&actions, &staged)?;
        self.pending = actions;
        self.name(&staged)?;
        self.positions.extend(advanced.iter().map(|passed| (passed.partition, passed.next)));
        Ok(())
    }

    /// Makes the staged commit the next version.
    fn name(&mut self, staged: &Path) -> Result<(), SinkError> {
        loop {
            match log::name_commit(&self.paths.log, self.version + 1, staged) {
                Ok(()) => {
                    self.version += 1;
                    return Ok(());
                }
                // Who lost the race tries again at once: the winner has a disk to sync before its next commit.
                Err(SinkError::Conflict { .. }) if self.ownership.is_some() && self.conflicts < MAX_RACES => {
                    self.conflicts += 1;
                    if self.pass_others()? == Passage::Ours {
                        discard_file(staged);
                        return durable::sync_dir(&self.paths.log);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the commits of others since our last, and only those; stops behind the one that was to be written.
    ///
    /// # Errors
    /// [`SinkError::Fenced`] if one is about a partition of ours, [`SinkError::Incompatible`] if one makes it
    /// another table.
    fn pass_others(&mut self) -> Result<Passage, SinkError> {
        let Some(owned) = &self.ownership else { return Ok(Passage::Others) };
        while let Some(actions) = log::read_if_there(&self.paths.log, self.version + 1)? {
            // A link can have been made although it was said to have failed: over a network, or before its sync.
            if self.is_pending(&actions) {
                self.version += 1;
                return Ok(Passage::Ours);
            }
            if let Some(partition) = owned.touched(&self.spec.name, &actions) {
                return Err(SinkError::Fenced { table: self.paths.table.clone(), partition });
            }
            for action in &actions {
                self.check_table(action)?;
            }
            self.version += 1;
        }
        Ok(Passage::Others)
    }

    /// Whether `actions` are the commit that was to be written: the name of a file is of one owner and one record.
    fn is_pending(&self, actions: &[Action]) -> bool {
        let file = |actions: &[Action]| actions.iter().find_map(|action| Some(action.add.as_ref()?.path.clone()));
        let pending = file(&self.pending);
        actions == self.pending || (pending.is_some() && file(actions) == pending)
    }

    fn check_table(&self, action: &Action) -> Result<(), SinkError> {
        action.protocol.as_ref().map_or(Ok(()), |protocol| protocol.check(&self.paths.log))?;
        match &action.meta_data {
            Some(metadata) if !schema::matches(metadata, &self.spec) => Err(SinkError::incompatible(
                &self.paths.table,
                format!("another program changed the columns to {}", metadata.schema_string),
            )),
            _ => Ok(()),
        }
    }

    /// What `error` is: the next owner of a partition takes our staging away, and then whatever we do fails. If so,
    /// takes back what was placed of `files`: no commit names it.
    pub(crate) fn explained(&mut self, error: SinkError, files: &[StagedFile]) -> SinkError {
        let fenced = match (error, &self.ownership) {
            (error @ SinkError::Fenced { .. }, _) => error,
            (error, None) => return error,
            (error, Some(_)) => match self.pass_others() {
                Err(fenced @ SinkError::Fenced { .. }) => fenced,
                _ => return error,
            },
        };
        discard(files);
        self.take_back(files);
        fenced
    }

    /// Deletes placed files. The names are of our epoch, so no other owner can have made one of them.
    fn take_back(&self, files: &[StagedFile]) {
        let mut dirs = BTreeSet::new();
        for file in files {
            let path = self.paths.table.join(file.path());
            match fs::remove_file(&path) {
                Ok(()) => dirs.extend(path.parent().map(Path::to_owned)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The new owner deletes it as well.
                Err(error) => tracing::warn!(path = %path.display(), %error, "placed file not removed"),
            }
        }
        for dir in dirs {
            if let Err(error) = durable::sync_dir(&dir) {
                tracing::warn!(path = %dir.display(), %error, "removal of placed files not synced");
            }
        }
    }

    /// Whether `passed` goes beyond what the table says of its partition.
    pub(crate) fn is_ahead(&self, passed: Passed) -> bool {
        passed.next > self.positions.get(&passed.partition).copied().unwrap_or(0)
    }

    /// Whether this commit is to be followed by a checkpoint. Of several writers it is who committed the version
    /// that is a multiple; whoever comes long after makes up for one that died.
    pub(crate) fn checkpoint_due(&mut self) -> bool {
        let every = self.checkpoint_commits;
        if self.ownership.is_none() {
            return self.version - self.checkpointed >= every;
        }
        let multiple = self.version - self.version % every;
        if multiple > self.checkpointed && checkpoint::path(&self.paths.log, multiple).exists() {
            self.checkpointed = multiple;
        }
        let since = self.version - self.checkpointed;
        (multiple == self.version && since > 0) || since >= every.saturating_mul(2)
    }

    /// Writes a checkpoint. The commit stands without it: a failure is logged, and the next commit tries again.
    pub(crate) fn checkpoint(&mut self) {
        point(Point::CheckpointWrite);
        let staged = self.scratch().join("checkpoint.staged");
        let written = Snapshot::read_up_to(&self.paths.log, self.version)
            .and_then(|snapshot| checkpoint::write(&self.paths.log, snapshot.unwrap_or_default(), &staged));
        match written {
            Ok(()) => self.checkpointed = self.version,
            Err(error) => {
                discard_file(&staged);
                tracing::warn!(table = %self.spec.name, version = self.version, %error, "checkpoint not written");
            }
        }
    }

    /// Where commits and checkpoints are staged.
    fn scratch(&self) -> &Path {
        self.ownership.as_ref().map_or(&self.paths.staging, |owned| owned.scratch())
    }
}

/// What was found in the commits since ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// Nothing that concerns us.
    Others,
    /// The very commit that was to be written.
    Ours,
}

fn txn(table: &str, passed: Passed, millis: i64) -> Result<Txn, SinkError> {
    let version = i64::try_from(passed.next).map_err(|_| {
        SinkError::Config(format!("offset {} of partition {} is too large", passed.next, passed.partition))
    })?;
    Ok(Txn { app_id: application::position(table, passed.partition), version, last_updated: Some(millis) })
}
