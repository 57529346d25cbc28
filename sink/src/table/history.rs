//! Where the rows of a data file came from, and which commit added it.

use std::path::Path;

use super::{DataFile, Table, resolve};
use crate::delta::log::read_if_there;
use crate::delta::{Action, LOG_DIR, application};
use crate::error::SinkError;
use crate::layout::PartName;

/// What the name of a data file says of its rows. Both offsets are of records that have a row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Partition of the stream.
    pub partition: u32,
    /// Offset of the first record.
    pub first: u64,
    /// Offset of the last one.
    pub last: u64,
}

/// A commit of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its number: the table's version from then on.
    pub version: u64,
    /// When, in milliseconds since the Unix epoch, by the clock of the committer; `None` if it does not say.
    pub millis: Option<i64>,
}

impl DataFile {
    /// Where its rows came from; `None` if another program wrote it, for example one that merged files.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        let PartName { partition, first, last, .. } = PartName::parse(self.path.file_name()?.to_str()?)?;
        Some(Origin { partition, first, last })
    }
}

impl Table {
    /// The commit of Weir that added `file` to this table, which is in `dir`; `None` if it is no longer in the log, or
    /// another program added the file.
    ///
    /// Found by halving: a file is added in the commit that moves the position of its partition past it. Reads commits
    /// that name the partition, and those in between that do not.
    ///
    /// # Errors
    /// [`SinkError::Damaged`] if a commit cannot be read.
    pub fn commit_of(&self, dir: &Path, file: &DataFile) -> Result<Option<Commit>, SinkError> {
        let name = self.snapshot.metadata.as_ref().and_then(|metadata| metadata.name.as_deref());
        let (Some(origin), Some(name)) = (file.origin(), name) else { return Ok(None) };
        let (log, app) = (dir.join(LOG_DIR), application::position(name, origin.partition));
        let (mut low, mut high) = (0, self.snapshot.version.saturating_add(1));
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match next_position(&log, middle, high, &app)? {
                Some(past) if past.position > origin.last => {
                    high = middle;
                    found = Some(past);
                }
                Some(before) => low = before.version + 1,
                None => high = middle,
            }
        }
        let Some(Positioned { version, actions, .. }) = found else { return Ok(None) };
        let named = |action: &Action| action.add.as_ref().and_then(|add| resolve(dir, &add.path).ok());
        if !actions.iter().filter_map(named).any(|path| path == file.path) {
            return Ok(None);
        }
        let millis = actions.iter().find_map(|action| action.commit_info.as_ref()?.timestamp);
        Ok(Some(Commit { version, millis }))
    }
}

/// A commit that moves the position of a partition.
struct Positioned {
    version: u64,
    actions: Vec<Action>,
    position: u64,
}

/// The first of the commits `from..to` that gives a position of `app`. Commits that another program deleted are old,
/// and give none.
fn next_position(log: &Path, from: u64, to: u64, app: &str) -> Result<Option<Positioned>, SinkError> {
    for version in from..to {
        let Some(actions) = read_if_there(log, version)? else { continue };
        let txn = actions.iter().filter_map(|action| action.txn.as_ref()).find(|txn| txn.app_id == app);
        if let Some(position) = txn.and_then(|txn| u64::try_from(txn.version).ok()) {
            return Ok(Some(Positioned { version, actions, position }));
        }
    }
    Ok(None)
}
