//! Reading the log up to now, and writing one commit behind it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use streams::faults::{Point, Tooth, point, tooth};

use super::action::{Action, Add, Metadata, Protocol, Remove, Txn};
use super::{PROTOCOL, checkpoint};
use crate::durable;
use crate::error::SinkError;

/// What the log says as of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The last commit read.
    pub(crate) version: u64,
    /// The checkpoint it was read from; `None` if from the first commit on.
    pub(crate) checkpoint: Option<u64>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) metadata: Option<Metadata>,
    /// By application id.
    pub(crate) txns: BTreeMap<String, Txn>,
    /// Files of the table, by path.
    pub(crate) files: BTreeMap<String, Add>,
    /// Files that were of the table once, by path.
    pub(crate) removed: BTreeMap<String, Remove>,
}

/// Path of commit `version`.
pub(crate) fn commit_path(log: &Path, version: u64) -> PathBuf {
    log.join(format!("{version:020}.json"))
}

/// Writes commit `version`, durably and only if nobody did.
///
/// # Errors
/// As [`stage_commit`] and [`name_commit`].
pub(crate) fn write_commit(log: &Path, version: u64, actions: &[Action], staged: &Path) -> Result<(), SinkError> {
    stage_commit(actions, staged)?;
    name_commit(log, version, staged)
}

/// Writes `actions` to the new file `staged`, outside the table, and syncs it. It does not say which version it
/// will be.
pub(crate) fn stage_commit(actions: &[Action], staged: &Path) -> Result<(), SinkError> {
    let mut lines = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut lines, action)
            .map_err(|source| SinkError::Io { context: "cannot encode an action".to_owned(), source: source.into() })?;
        lines.push(b'\n');
    }
    durable::write_new(staged, &lines)?;
    point(Point::DeltaStaged);
    Ok(())
}

/// Makes the staged commit version `version`, durably, in one step, and only if nobody did.
///
/// # Errors
/// [`SinkError::Conflict`] if the version exists: `staged` is still there, for another. After any other error the
/// version may or may not exist.
pub(crate) fn name_commit(log: &Path, version: u64, staged: &Path) -> Result<(), SinkError> {
    let path = commit_path(log, version);
    durable::publish(staged, &path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SinkError::Conflict { path: path.clone() },
        _ => SinkError::io("cannot publish", &path)(source),
    })?;
    point(Point::DeltaNamed);
    if !tooth(Tooth::DeltaDirectorySyncSkipped) {
        durable::sync_dir(log)?;
    }
    point(Point::DeltaSynced);
    Ok(())
}

/// The actions of commit `version`; `None` if it does not exist.
pub(crate) fn read_if_there(log: &Path, version: u64) -> Result<Option<Vec<Action>>, SinkError> {
    let path = commit_path(log, version);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SinkError::io("cannot stat", &path)(error)),
        Ok(_) => read_commit(&path).map(Some),
    }
}

impl Snapshot {
    /// Reads the newest checkpoint and all commits behind it; `None` if there is no commit. Others may commit
    /// meanwhile: then it is as of one of their commits.
    ///
    /// # Errors
    /// [`SinkError::Damaged`] if a commit is missing or cannot be read, [`SinkError::Incompatible`] if the
    /// table needs a newer protocol.
    pub(crate) fn read(log: &Path) -> Result<Option<Self>, SinkError> {
        Self::read_up_to(log, u64::MAX)
    }

    /// As [`Snapshot::read`], without the commits after `limit`.
    pub(crate) fn read_up_to(log: &Path, limit: u64) -> Result<Option<Self>, SinkError> {
        let Some(listing) = Listing::of(log, limit)? else { return Ok(None) };
        let mut snapshot = Self::default();
        let mut next = 0;
        if let Some(version) = listing.checkpoint {
            for action in checkpoint::read(&checkpoint::path(log, version))? {
                snapshot.apply(action);
            }
            (snapshot.version, snapshot.checkpoint, next) = (version, Some(version), version + 1);
        }
        // Commits at or before the checkpoint are not needed, and may be gone.
        for version in next..listing.last.map_or(next, |last| last + 1) {
            for action in read_commit(&commit_path(log, version))? {
                snapshot.apply(action);
            }
            snapshot.version = version;
        }
        snapshot.check_protocol(log)?;
        Ok(Some(snapshot))
    }

    /// Reads on to the last commit there is.
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    pub(crate) fn catch_up(&mut self, log: &Path) -> Result<(), SinkError> {
        while let Some(actions) = read_if_there(log, self.version + 1)? {
            self.advance(actions);
        }
        self.check_protocol(log)
    }

    /// Takes in `actions`, which are the next commit.
    pub(crate) fn advance(&mut self, actions: Vec<Action>) {
        actions.into_iter().for_each(|action| self.apply(action));
        self.version += 1;
    }

    fn apply(&mut self, action: Action) {
        if let Some(protocol) = action.protocol {
            self.protocol = Some(protocol);
        }
        if let Some(metadata) = action.meta_data {
            self.metadata = Some(metadata);
        }
        if let Some(txn) = action.txn {
            self.txns.insert(txn.app_id.clone(), txn);
        }
        if let Some(remove) = action.remove {
            self.files.remove(&remove.path);
            self.removed.insert(remove.path.clone(), remove);
        }
        if let Some(add) = action.add {
            self.removed.remove(&add.path);
            self.files.insert(add.path.clone(), add);
        }
    }

    fn check_protocol(&self, log: &Path) -> Result<(), SinkError> {
        match &self.protocol {
            None => Err(SinkError::damaged(log, "no commit names the protocol")),
            Some(protocol) => protocol.check(log),
        }
    }

    /// Everything that still holds, as actions.
    pub(crate) fn into_actions(self) -> Vec<Action> {
        let mut actions: Vec<Action> = Vec::with_capacity(self.files.len() + self.txns.len() + 2);
        actions.extend(self.protocol.map(Action::from));
        actions.extend(self.metadata.map(Action::from));
        actions.extend(self.txns.into_values().map(Action::from));
        actions.extend(self.removed.into_values().map(Action::from));
        actions.extend(self.files.into_values().map(Action::from));
        actions
    }
}

impl Protocol {
    /// Whether this code may read and write the table whose log is `log`.
    ///
    /// # Errors
    /// [`SinkError::Incompatible`].
    pub(crate) fn check(&self, log: &Path) -> Result<(), SinkError> {
        let Self { min_reader_version: reader, min_writer_version: writer } = self;
        if *reader <= PROTOCOL.0 && *writer <= PROTOCOL.1 {
            return Ok(());
        }
        Err(SinkError::incompatible(
            log,
            format!(
                "the table needs reader version {reader} and writer version {writer} of the delta protocol, expected \
                 at most {} and {}",
                PROTOCOL.0, PROTOCOL.1
            ),
        ))
    }
}

fn read_commit(path: &Path) -> Result<Vec<Action>, SinkError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SinkError::damaged(path, "the commit is missing, though later ones exist"));
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(SinkError::damaged(path, "the commit is not text"));
        }
        other => other.map_err(SinkError::io("cannot read", path))?,
    };
    if text.trim().is_empty() {
        return Err(SinkError::damaged(path, "the commit is empty"));
    }
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| SinkError::damaged(path, format!("line {number} is not an action: {error}")))
    };
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// What is in the directory of the log.
#[derive(Debug)]
struct Listing {
    /// The newest checkpoint.
    checkpoint: Option<u64>,
    /// The newest commit that is there as JSON.
    last: Option<u64>,
}

impl Listing {
    /// What it has of versions up to `limit`.
    fn of(log: &Path, limit: u64) -> Result<Option<Self>, SinkError> {
        let up_to_limit = |version: &u64| *version <= limit;
        let (mut checkpoint, mut last) = (None, None);
        let entries = match fs::read_dir(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(SinkError::io("cannot list", log))?,
        };
        for entry in entries {
            let name = entry.map_err(SinkError::io("cannot list", log))?.file_name();
            let Some(name) = name.to_str() else { continue };
            checkpoint = checkpoint.max(version_of(name, ".checkpoint.parquet").filter(up_to_limit));
            last = last.max(version_of(name, ".json").filter(up_to_limit));
        }
        Ok((checkpoint.is_some() || last.is_some()).then_some(Self { checkpoint, last }))
    }
}

/// The version in the name of a commit or checkpoint: 20 digits, then `suffix`.
fn version_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}
