//! Settings of the sink.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::SinkError;

/// Rows are sorted by a 32-bit index, and a flush holds them all in memory.
const MAX_ROLL_ROWS: usize = 16 * 1024 * 1024;

/// Where tables are, and when what is buffered becomes files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// Directory that holds the tables, one directory each. Default `weir-data/tables`.
    pub root: PathBuf,
    /// Directory for files not yet part of a table. On the file system of `root`, and outside every table,
    /// because a `**/*.parquet` glob reads every folder. Default `weir-data/staging`. Not used if `shared`: then
    /// it is `.staging` below `root`, because whoever takes a partition over must reach what its former owner
    /// staged.
    pub staging: PathBuf,
    /// Whether other processes write the same tables, each its own partitions. Default false: a table belongs to
    /// the process that has it open. Needs `root` on one file system that every writer sees alike: exclusive hard
    /// links, atomic rename, fsync, and locks that die with their process.
    pub shared: bool,
    /// Rows buffered, of all partitions, that make a flush due: 1 to 16 Mi, default 1,000,000. About 70
    /// bytes each are held in memory, and as much again of the largest partition while its files are written.
    pub roll_rows: usize,
    /// Bytes buffered, of all partitions, that make a flush due: at least 1, default 128 MiB.
    pub roll_bytes: usize,
    /// Age of the oldest buffered row that makes a flush due: more than zero, default 60 s. Smaller shows
    /// rows sooner and makes more, smaller files.
    pub roll_age: Duration,
    /// Commits from one checkpoint of the log to the next: at least 1, default 100. Opening the table reads
    /// the last checkpoint and at most about this many commits.
    pub checkpoint_commits: u64,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            root: PathBuf::from("weir-data/tables"),
            staging: PathBuf::from("weir-data/staging"),
            shared: false,
            roll_rows: 1_000_000,
            roll_bytes: 128 * 1024 * 1024,
            roll_age: Duration::from_secs(60),
            checkpoint_commits: 100,
        }
    }
}

impl SinkConfig {
    /// Where the files of `table` are until they are part of it.
    pub(crate) fn staging_of(&self, table: &str) -> PathBuf {
        if self.shared { self.shared_staging_of(table) } else { self.staging.join(table) }
    }

    /// The same of processes that share the table. No table has a dot in its name, and no file in there ends in
    /// `.parquet`.
    pub(crate) fn shared_staging_of(&self, table: &str) -> PathBuf {
        self.root.join(".staging").join(table)
    }

    /// Checks every bound. Touches no file.
    ///
    /// # Errors
    /// [`SinkError::Config`] naming the setting, its value and its bound.
    pub fn check(&self) -> Result<(), SinkError> {
        let refuse = |setting: &str, value: &dyn std::fmt::Debug, bound: &str| {
            Err(SinkError::Config(format!("sink.{setting} is {value:?}, expected {bound}")))
        };
        if !(1..=MAX_ROLL_ROWS).contains(&self.roll_rows) {
            return refuse("roll_rows", &self.roll_rows, &format!("1 to {MAX_ROLL_ROWS}"));
        }
        if self.roll_bytes == 0 {
            return refuse("roll_bytes", &self.roll_bytes, "at least 1");
        }
        if self.roll_age.is_zero() {
            return refuse("roll_age", &self.roll_age, "more than zero");
        }
        if self.checkpoint_commits == 0 {
            return refuse("checkpoint_commits", &self.checkpoint_commits, "at least 1");
        }
        Ok(())
    }
}
