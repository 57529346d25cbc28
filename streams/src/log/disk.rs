//! Everything the log does to the disk that changes it, in one place: so that tests can make it fail at any
//! call and record the calls.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::contract::Error;

/// A file of the log, with the path it was opened by.
#[derive(Debug)]
pub(super) struct DiskFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// The changes the log makes. The defaults are the operating system's.
pub(super) trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Creates an empty file, in place of one that may be there.
    fn create(&self, path: &Path) -> io::Result<DiskFile> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(DiskFile { path: path.to_owned(), file })
    }

    /// Writes all of `bytes` at `at`.
    fn write_at(&self, file: &DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        file.file.write_all_at(bytes, at)
    }

    /// Makes the file's content and length durable.
    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        file.file.sync_data()
    }

    /// Cuts the file to `len` bytes.
    fn truncate(&self, file: &DiskFile, len: u64) -> io::Result<()> {
        file.file.set_len(len)
    }

    /// Renames a file within its directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// The operating system's disk.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {}

/// Opens a file of the log for reading and writing.
pub(super) fn open(path: &Path) -> io::Result<DiskFile> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(DiskFile { path: path.to_owned(), file })
}

/// Writes a whole file so that after a crash either the old or the new one is there, never a part.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = path.with_extension(STAGED);
    let file = disk.create(&staged)?;
    disk.write_at(&file, bytes, 0)?;
    disk.sync(&file)?;
    disk.rename(&staged, path)?;
    disk.sync_dir(parent(path))
}

/// Extension of files that are not yet renamed into place; a start removes what it finds of them.
pub(super) const STAGED: &str = "tmp";

/// Creates `path` and what is missing above it, each name made durable in the directory that holds it.
pub(super) fn create_dirs(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    create_dirs(disk, parent(path))?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => disk.sync_dir(parent(path)),
    }
}

/// An error that says what was being done to which path.
pub(super) fn io_error(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let context = format!("{doing} {}", path.display());
    move |source| Error::Io { context, source }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
