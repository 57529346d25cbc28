//! Steps on the file system that stand after a power cut.
//!
//! A name stands only when its directory was synced, a content only when its file was; and a file is
//! synced before it gets the name under which somebody looks for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::error::SinkError;

/// Creates a file that did not exist, with `content`, and syncs it. Its directory is not synced.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), SinkError> {
    let mut file = create_new(path)?;
    file.write_all(content).map_err(SinkError::io("cannot write", path))?;
    file.sync_all().map_err(SinkError::io("cannot sync", path))
}

/// Opens a file for writing that did not exist.
pub(crate) fn create_new(path: &Path) -> Result<File, SinkError> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(SinkError::io("cannot create", path))
}

/// Gives the synced file `from` the name `to`, in one step, unless that name is taken; then `from` is gone.
/// The directory of `to` is not synced.
///
/// A hard link, because `rename` replaces what is there and the standard library has no other.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    match fs::remove_file(from) {
        // The next owner of a partition takes our staging away at any moment; what has its name has it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes the names in directory `path` durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), SinkError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(SinkError::io("cannot sync directory", path))
}

/// Creates directory `path`, if it is missing. Its parent is not synced.
pub(crate) fn create_dir(path: &Path) -> Result<(), SinkError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.map_err(SinkError::io("cannot create directory", path)),
    }
}

/// Levels above a directory of ours that Weir itself may have created: table, root, data directory, its parent.
const OUR_LEVELS: usize = 4;

/// Creates directory `path` and those above it, and syncs them: also those that exist, because a process
/// killed earlier may have created them and not synced.
pub(crate) fn create_dirs_synced(path: &Path) -> Result<(), SinkError> {
    fs::create_dir_all(path).map_err(SinkError::io("cannot create directory", path))?;
    let path = path.canonicalize().map_err(SinkError::io("cannot resolve", path))?;
    sync_dir(&path)?;
    for parent in path.ancestors().skip(1).take(OUR_LEVELS) {
        match sync_dir(parent) {
            // A directory we may not read we did not create.
            Err(SinkError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => break,
            other => other?,
        }
    }
    Ok(())
}
