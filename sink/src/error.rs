//! Why a table cannot be opened, read or committed to.

use std::io;
use std::path::{Path, PathBuf};

/// Each variant is a different thing for a caller to do.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A setting is outside its bound or contradicts another. Change the configuration.
    #[error("{0}")]
    Config(String),
    /// Another process has the table open, and one of the two does not share it. Stop it, or give this one
    /// another root.
    #[error("{} is being written by another process (lock held on {})", table.display(), lock.display())]
    Locked {
        /// Directory of the table.
        table: PathBuf,
        /// The locked file.
        lock: PathBuf,
    },
    /// What is on disk contradicts the log: something was deleted, cut or changed behind Weir's back.
    /// Nothing is written; a person must decide.
    #[error("{}: {detail}", path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and what was expected.
        detail: String,
    },
    /// The table needs more of the Delta protocol, or has other columns or partitions, than this version
    /// writes. Nothing is written; a person must decide.
    #[error("{}: {detail}", path.display())]
    Incompatible {
        /// Directory of the table.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// Another process took a partition over. Nothing of this commit is visible. The process must end: whatever
    /// it does for this partition is no longer its own; a restart claims what is free.
    #[error(
        "{}: partition {partition} was taken over by another process: this one is superseded, and what it did not \
         commit is left to the new owner",
        table.display()
    )]
    Fenced {
        /// Directory of the table.
        table: PathBuf,
        /// The partition.
        partition: u32,
    },
    /// Another writer committed this version first: to a table that is not shared, or many times in a row. A
    /// restart reads its commit and goes on behind it.
    #[error("{} exists already: another writer committed to the table", path.display())]
    Conflict {
        /// The commit that was to be written.
        path: PathBuf,
    },
    /// The consumer skipped back behind what the table holds. Going on would store rows twice.
    #[error("partition {partition}: record {offset} was applied, but the table already holds all before {committed}")]
    Behind {
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
        /// First offset the table does not hold.
        committed: u64,
    },
    /// Columns could not be encoded or decoded.
    #[error("{context}: {source}")]
    Columns {
        /// What was being done, with the path.
        context: String,
        /// The reason.
        source: parquet::errors::ParquetError,
    },
    /// An earlier flush failed, so what is on disk is known only after a restart.
    #[error("the sink stopped after a failed flush")]
    Stopped,
    /// The operating system refused. What was committed stands, the rest is repeated after a restart.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// The system's error.
        source: io::Error,
    },
}

impl SinkError {
    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), detail: detail.into() }
    }

    pub(crate) fn incompatible(path: &Path, detail: impl Into<String>) -> Self {
        Self::Incompatible { path: path.to_owned(), detail: detail.into() }
    }

    /// For `map_err`: an [`SinkError::Io`] that says what was done to `path`.
    pub(crate) fn io<'a>(action: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { context: format!("{action} {}", path.display()), source }
    }

    /// A [`SinkError::Columns`] that says what was being done.
    pub(crate) fn rows(context: &str, source: impl Into<parquet::errors::ParquetError>) -> Self {
        Self::Columns { context: context.to_owned(), source: source.into() }
    }

    /// For `map_err`: a [`SinkError::Columns`] that says what was done to `path`.
    pub(crate) fn columns<'a, E: Into<parquet::errors::ParquetError>>(
        action: &'a str,
        path: &'a Path,
    ) -> impl FnOnce(E) -> Self + 'a {
        move |source| Self::Columns { context: format!("{action} {}", path.display()), source: source.into() }
    }
}
