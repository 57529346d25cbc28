//! The file of the store: created whole, believed only once it is synced and checked, put aside when it is damaged.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::Database;
use redb::backends::FileBackend;

use super::{COUNTERS, DEAD, ENDED, PLANS, READY, RUNS, SEEN, TRIMMED};
use crate::workflows::limits;

/// Bytes written over themselves at once.
const STEP: usize = 1024 * 1024;

/// Opens or creates the file.
pub(super) fn open(path: &Path) -> Result<Database, redb::Error> {
    if !path.exists() {
        create(path)?;
    }
    match open_checked(path) {
        Err(Unopened::Damaged(why)) => {
            put_aside(path, &why)?;
            create(path)?;
            open_checked(path).map_err(Unopened::into_error)
        }
        opened => opened.map_err(Unopened::into_error),
    }
}

/// Why the file cannot be opened.
enum Unopened {
    /// What is in it cannot be believed.
    Damaged(String),
    /// All else, such as a system that refuses: another attempt may succeed.
    Failed(redb::Error),
}

impl Unopened {
    fn into_error(self) -> redb::Error {
        match self {
            Self::Damaged(why) => redb::Error::Corrupted(why),
            Self::Failed(error) => error,
        }
    }
}

impl From<redb::Error> for Unopened {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(why) => Self::Damaged(why),
            redb::Error::Io(error) => match error.kind() {
                // The file ends before what it says is in it, or does not begin as redb's files do.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
                _ => Self::Failed(error.into()),
            },
            error => Self::Failed(error),
        }
    }
}

fn open_checked(path: &Path) -> Result<Database, Unopened> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(redb::Error::from)?;
    if file.metadata().map_err(redb::Error::from)?.len() == 0 {
        // redb would make a new store of it.
        return Err(Unopened::Damaged("the file is empty".to_owned()));
    }
    write_again(&file).map_err(redb::Error::from)?;
    // redb checks every page, and yet takes some damage for a bug of its own.
    let opened = catch_unwind(AssertUnwindSafe(|| -> Result<Database, redb::Error> {
        let mut builder = Database::builder();
        builder.set_cache_size(limits::CACHE_BYTES).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(FileBackend::new(file)?)?;
        make_tables(&database)?;
        Ok(database)
    }));
    Ok(opened.map_err(|_| Unopened::Damaged("redb panicked".to_owned()))??)
}

/// Writes the file over itself and syncs it: had its last sync failed before the restart, the system would show bytes
/// that it never writes, and redb would build on them.
fn write_again(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0; STEP];
    let mut at = 0;
    while at < length {
        let step = usize::try_from(length - at).unwrap_or(STEP).min(STEP);
        let part = bytes.get_mut(..step).unwrap_or_default();
        file.read_exact_at(part, at)?;
        file.write_all_at(part, at)?;
        at += u64::try_from(step).unwrap_or(u64::MAX);
    }
    file.sync_data()
}

/// Creates the file under another name and renames it: a crash in between must not leave half a file.
fn create(path: &Path) -> Result<(), redb::Error> {
    let staged = path.with_extension("redb.tmp");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&staged)?;
    let database =
        Database::builder().set_cache_size(limits::CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
    make_tables(&database)?;
    drop(database);
    File::open(&staged)?.sync_all()?;
    fs::rename(&staged, path)?;
    Ok(sync_dir(path)?)
}

/// A read of a table that was never written is an error.
fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(RUNS)?;
    transaction.open_table(PLANS)?;
    transaction.open_table(READY)?;
    transaction.open_table(DEAD)?;
    transaction.open_table(ENDED)?;
    transaction.open_table(SEEN)?;
    transaction.open_table(COUNTERS)?;
    transaction.open_table(TRIMMED)?;
    Ok(transaction.commit()?)
}

/// Takes a damaged file out of the way, for a person to look at.
fn put_aside(path: &Path, why: &str) -> io::Result<()> {
    let aside = (1_u64..)
        .map(|number| path.with_extension(format!("redb.damaged-{number}")))
        .find(|aside| !aside.exists())
        .ok_or_else(|| io::Error::other("no name is left for a damaged store"))?;
    tracing::error!(path = %path.display(), aside = %aside.display(), why, "the outbox is damaged, workflows begin again with what is retained");
    fs::rename(path, &aside)?;
    sync_dir(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
