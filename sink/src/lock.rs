//! Who may have the table open: one process, or several that all share it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::config::SinkConfig;
use crate::error::SinkError;

/// Takes the lock of table `name`, alone or with others as `config` says; held until the file is dropped. Those
/// who share do not wait for each other by it: it only keeps out who does not share.
///
/// # Errors
/// [`SinkError::Locked`].
pub(crate) fn take(config: &SinkConfig, table: &Path, name: &str) -> Result<File, SinkError> {
    let path = config.root.join(format!(".{name}.lock"));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(SinkError::io("cannot open", &path))?;
    let taken = if config.shared { file.try_lock_shared() } else { file.try_lock() };
    match taken {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SinkError::Locked { table: table.to_owned(), lock: path }),
        Err(TryLockError::Error(error)) => Err(SinkError::io("cannot lock", &path)(error)),
    }
}
