//! The table as a reader sees it, without opening it for writing.

mod history;

use std::path::{Component, Path, PathBuf};

pub use self::history::{Commit, Origin};

use crate::delta::{LOG_DIR, Snapshot, application, stats};
use crate::error::SinkError;

/// A table as of its last commit. Later commits do not change it.
#[derive(Clone, Debug)]
pub struct Table {
    snapshot: Snapshot,
    files: Vec<DataFile>,
}

/// A data file of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Rows; `None` if another program wrote it and does not say.
    pub rows: Option<u64>,
}

impl Table {
    /// Reads the log of the table in `dir`. Takes no lock and changes nothing; data files are not touched. Writers
    /// may commit meanwhile, one or several: the table is then as of one of their commits.
    ///
    /// # Errors
    /// [`SinkError::Damaged`] if there is no log, or it cannot be read.
    pub fn open_read(dir: &Path) -> Result<Self, SinkError> {
        let log = dir.join(LOG_DIR);
        let snapshot = Snapshot::read(&log)?;
        let snapshot = snapshot.ok_or_else(|| SinkError::damaged(&log, "no table here: there is no commit"))?;
        let files = snapshot.files.values().map(|add| {
            let rows = add.stats.as_deref().and_then(stats::rows);
            Ok(DataFile { path: resolve(dir, &add.path)?, size: add.size, rows })
        });
        let files = files.collect::<Result<Vec<_>, SinkError>>()?;
        Ok(Self { snapshot, files })
    }

    /// The last commit.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.snapshot.version
    }

    /// Files that make the table, in order of path.
    #[must_use]
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// First offset of `partition` of the stream `table` whose rows are not in it; `None` before the first.
    #[must_use]
    pub fn position(&self, table: &str, partition: u32) -> Option<u64> {
        let txn = self.snapshot.txns.get(&application::position(table, partition))?;
        u64::try_from(txn.version).ok()
    }
}

/// Where the file is that the log of the table in `dir` calls `path`: relative, percent-encoded.
///
/// # Errors
/// [`SinkError::Damaged`] if it would lie outside the table.
pub(crate) fn resolve(dir: &Path, path: &str) -> Result<PathBuf, SinkError> {
    let outside = || SinkError::damaged(dir, format!("the log names file {path}, expected one below the table"));
    let relative = PathBuf::from(percent_decoded(path).ok_or_else(outside)?);
    let below = relative.components().all(|component| matches!(component, Component::Normal(_)));
    // `scheme:/…` is an absolute URI of another store.
    if below && !path.contains(":/") { Ok(dir.join(relative)) } else { Err(outside()) }
}

fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_log_are_decoded_and_stay_below_the_table() {
        let dir = Path::new("/t");
        assert_eq!(resolve(dir, "a%20b/c%3Dd.parquet").unwrap(), Path::new("/t/a b/c=d.parquet"));
        for path in ["../x", "/etc/passwd", "a/../../x", "%2e%2e/x", "s3://b/x", "%zz", "a%2"] {
            assert!(resolve(dir, path).is_err(), "{path}");
        }
    }
}
