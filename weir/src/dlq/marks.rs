//! What was done about letters: a small redb file.
//!
//! Marks are conveniences (see [`super`]), so a file that cannot be believed is put aside and begun anew, and one that
//! failed is opened again at the next use.

use std::fs;
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use telemetry::Timestamp;

use super::limits::CACHE_BYTES;
use super::view::{LetterId, Source, State};

/// Source, offset and row to: state, time in microseconds, redrives.
const MARKS: TableDefinition<'_, (u8, u64, u32), (u8, i64, u32)> = TableDefinition::new("marks");
const REDRIVEN: u8 = 1;
const DROPPED: u8 = 2;

/// What was done about one letter; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// How often it was put back.
    pub(super) redrives: u32,
    /// Whether it was dropped.
    pub(super) dropped: bool,
    /// When it was put back last, or dropped.
    pub(super) at: Option<Timestamp>,
}

impl Mark {
    pub(super) fn state(&self) -> State {
        match (self.dropped, self.redrives) {
            (true, _) => State::Dropped,
            (false, 0) => State::Waiting,
            (false, _) => State::Redriven,
        }
    }
}

/// The file of marks. All functions block.
#[derive(Debug)]
pub(super) struct Marks {
    path: PathBuf,
    /// `None` after redb failed: then it is opened again.
    database: Mutex<Option<Database>>,
}

impl Marks {
    /// Opens or creates the file at `path`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let marks = Self { path: path.to_owned(), database: Mutex::new(None) };
        marks.with(|_| Ok(()))?;
        Ok(marks)
    }

    /// The marks of `letters`, in their order.
    pub(super) fn of(&self, letters: &[LetterId]) -> anyhow::Result<Vec<Mark>> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(MARKS)?;
            let mark = |id: &LetterId| Ok(table.get(key(*id))?.map(|found| mark(found.value())).unwrap_or_default());
            letters.iter().map(mark).collect()
        })
    }

    /// Writes `marks` in one durable step, and forgets those of letters before the `starts` of their streams.
    pub(super) fn set(&self, marks: &[(LetterId, Mark)], starts: &[(Source, u64)]) -> anyhow::Result<()> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(MARKS)?;
                for (id, mark) in marks {
                    let state = if mark.dropped { DROPPED } else { REDRIVEN };
                    let at = mark.at.map_or(0, Timestamp::as_micros);
                    table.insert(key(*id), (state, at, mark.redrives))?;
                }
                for (source, start) in starts {
                    table.retain_in((tag(*source), 0, 0)..(tag(*source), *start, 0), |_, _| false)?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Number of marks.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        use redb::ReadableTableMetadata;
        self.with(|database| Ok(database.begin_read()?.open_table(MARKS)?.len()?)).unwrap()
    }

    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, redb::Error>) -> anyhow::Result<T> {
        let failed = || self.path.display().to_string();
        let mut held = self.held();
        let database = match held.take() {
            Some(database) => database,
            None => open(&self.path).with_context(failed)?,
        };
        let done = work(&database).with_context(failed)?;
        // Only what worked is used again: redb refuses everything after a failure.
        *held = Some(database);
        Ok(done)
    }

    fn held(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(id: LetterId) -> (u8, u64, u32) {
    (tag(id.source), id.offset, id.row)
}

fn tag(source: Source) -> u8 {
    match source {
        Source::Ingest => 0,
        Source::Workflows => 1,
    }
}

fn mark((state, at, redrives): (u8, i64, u32)) -> Mark {
    Mark { redrives, dropped: state == DROPPED, at: Some(Timestamp::from_micros(at)) }
}

/// Opens the file, or a new one where it is damaged.
fn open(path: &Path) -> anyhow::Result<Database> {
    match attempt(path) {
        Err(Unopened::Damaged(why)) => {
            put_aside(path, &why)?;
            attempt(path).map_err(|error| error.into_error())
        }
        opened => opened.map_err(|error| error.into_error()),
    }
}

enum Unopened {
    /// What is in the file cannot be believed.
    Damaged(String),
    /// All else, such as a full disk.
    Failed(redb::Error),
}

impl Unopened {
    fn into_error(self) -> anyhow::Error {
        match self {
            Self::Damaged(why) => anyhow::anyhow!("damaged: {why}"),
            Self::Failed(error) => error.into(),
        }
    }
}

impl From<redb::Error> for Unopened {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(why) => Self::Damaged(why),
            redb::Error::TableTypeMismatch { .. } => Self::Damaged(error.to_string()),
            redb::Error::Io(error) => match error.kind() {
                // It ends before what it says is in it, or does not begin as redb's files do.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
                _ => Self::Failed(error.into()),
            },
            error => Self::Failed(error),
        }
    }
}

fn attempt(path: &Path) -> Result<Database, Unopened> {
    let opened = catch_unwind(|| -> Result<Database, redb::Error> {
        let mut builder = Database::builder();
        let database = builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path)?;
        let transaction = database.begin_write()?;
        let marks = transaction.open_table(MARKS)?.iter()?.count();
        transaction.commit()?;
        tracing::debug!(marks, path = %path.display(), "marks of dead letters opened");
        Ok(database)
    });
    // redb takes some damage for a bug of its own.
    opened.unwrap_or_else(|_| Err(redb::Error::Corrupted("redb panicked".to_owned()))).map_err(Into::into)
}

/// Takes a damaged file out of the way, for a person to look at.
fn put_aside(path: &Path, why: &str) -> io::Result<()> {
    let name = |number: u32| path.with_extension(format!("redb.damaged-{number}"));
    let aside = (1..).map(name).find(|aside| !aside.exists()).unwrap_or_else(|| name(0));
    tracing::error!(path = %path.display(), aside = %aside.display(), why, "the marks of dead letters are damaged, letters that were redriven or dropped show as waiting");
    fs::rename(path, aside)
}
