//! How far each consumer group has come: a redb file, one transaction a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::backend::Backend;
use super::disk::{self, Disk, STAGED};
use super::manifest::{Layout, Place};
use crate::contract::{Error, GroupName, Partition, Position};

/// Group, stream and partition to offset and state.
const POSITIONS: TableDefinition<'_, (&str, &str, u32), (u64, &[u8])> = TableDefinition::new("positions");
/// Extension of a damaged file put aside, followed by a number.
const DAMAGED: &str = "redb.damaged-";
/// The store holds some hundred small entries; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The store of positions.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    database: Database,
    damaged: usize,
    /// Held over a whole commit, so that `offsets` follow the file's order.
    committing: Mutex<()>,
    /// What retention looks at, by slot and group.
    offsets: Mutex<Offsets>,
}

#[derive(Debug)]
struct Offsets {
    committed: Committed,
    /// Slots and offsets of the commit under way.
    arriving: Vec<(usize, u64)>,
}

impl Positions {
    /// Opens or creates the file at `path`; blocks.
    ///
    /// A file that is damaged is put aside, and the store begins empty (docs/adr/0009): consumers read again what
    /// is retained. Until a person takes away what was put aside nothing is deleted from the log, because groups
    /// that the damaged store named may not have registered again.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: &Path, layout: &Layout) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Positions(format!("{}: {error}", path.display()));
        if !path.exists() {
            create(disk, path).map_err(|error| failed(&error))?;
        }
        let (database, committed) = match open(disk, path, layout) {
            Err(Unopened::Damaged(why)) => {
                put_aside(disk.as_ref(), path, &why).map_err(|error| failed(&error))?;
                create(disk, path).map_err(|error| failed(&error))?;
                open(disk, path, layout).map_err(|error| failed(&error))?
            }
            opened => opened.map_err(|error| failed(&error))?,
        };
        let damaged = damaged(path).map_err(|error| failed(&error))?.len();
        if damaged > 0 {
            let dir = path.parent().unwrap_or(path).display();
            tracing::error!(%dir, damaged, "damaged stores of positions lie aside, nothing is deleted from the streams until they are removed");
        }
        let offsets = Mutex::new(Offsets { committed, arriving: Vec::new() });
        Ok(Self { path: path.to_owned(), database, damaged, committing: Mutex::default(), offsets })
    }

    /// Damaged stores that were put aside and are still there.
    pub(super) fn damaged(&self) -> usize {
        self.damaged
    }

    /// Moves positions up to where their slot begins: what a group passed is deleted, so a position before that is
    /// one that the store fell back to when its newest commit was damaged. The state stays the older one; blocks.
    pub(super) fn raise(&self, layout: &Layout, start: impl Fn(usize) -> u64) -> Result<(), Error> {
        let behind = |slot: usize, offset: u64| offset < start(slot);
        let committed = self.offsets().committed.clone();
        for ((slot, group), offset) in committed.into_iter().filter(|((slot, _), offset)| behind(*slot, *offset)) {
            let Some((place, of)) = layout.partition(slot) else { continue };
            let Some(position) = self.get(&group, &of)? else { continue };
            let raised = Position { offset: start(slot), state: position.state };
            tracing::error!(%group, partition = %of, from = offset, to = raised.offset, "a position was lost to damage, it is moved to the first record there is");
            self.commit(&group, &[(place, of, raised)], |slot| start(slot)..u64::MAX)?;
        }
        Ok(())
    }

    /// The committed position; blocks.
    pub(super) fn get(&self, group: &str, of: &Partition) -> Result<Option<Position>, Error> {
        let read = || -> Result<Option<Position>, redb::Error> {
            let table = self.database.begin_read()?.open_table(POSITIONS)?;
            let found = table.get((group, of.stream.as_str(), of.index))?;
            Ok(found.map(|found| {
                let (offset, state) = found.value();
                Position { offset, state: Bytes::copy_from_slice(state) }
            }))
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Every group and where it stands, by slot.
    pub(super) fn groups(&self) -> Vec<(usize, GroupName, u64)> {
        let offsets = self.offsets();
        offsets.committed.iter().map(|((slot, group), offset)| (*slot, group.clone(), *offset)).collect()
    }

    /// Writes all of `positions` in one durable step, if `bounds` retains them; blocks.
    ///
    /// Retention sees them before they are checked, so that nothing is deleted between the check and the
    /// moment they stand.
    pub(super) fn commit(
        &self,
        group: &GroupName,
        positions: &[(Place, Partition, Position)],
        bounds: impl Fn(usize) -> Range<u64>,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.offsets().arriving = positions.iter().map(|(place, _, position)| (place.slot, position.offset)).collect();
        let outcome = self.check_and_write(group, positions, bounds);
        let mut offsets = self.offsets();
        offsets.arriving.clear();
        if outcome.is_ok() {
            for (place, _, position) in positions {
                offsets.committed.insert((place.slot, group.clone()), position.offset);
            }
        }
        outcome
    }

    /// The lowest and the highest position of any group, of each slot; `None` where no group is registered. While
    /// a damaged store lies aside, an unknown group stands at the beginning of each slot.
    pub(super) fn spans(&self, slots: usize) -> Vec<Option<(u64, u64)>> {
        let mut spans: Vec<Option<(u64, u64)>> = vec![(self.damaged > 0).then_some((0, 0)); slots];
        let offsets = self.offsets();
        let committed = offsets.committed.iter().map(|((slot, _), offset)| (*slot, *offset));
        for (slot, offset) in committed.chain(offsets.arriving.iter().copied()) {
            if let Some(span) = spans.get_mut(slot) {
                let (low, high) = span.unwrap_or((offset, offset));
                *span = Some((low.min(offset), high.max(offset)));
            }
        }
        spans
    }

    fn check_and_write(
        &self,
        group: &str,
        positions: &[(Place, Partition, Position)],
        bounds: impl Fn(usize) -> Range<u64>,
    ) -> Result<(), Error> {
        for (place, of, position) in positions {
            let (retained, offset) = (bounds(place.slot), position.offset);
            if offset < retained.start || offset > retained.end {
                let (partition, start, end) = (of.clone(), retained.start, retained.end);
                return Err(Error::OutOfRange { partition, offset, start, end });
            }
        }
        self.write(group, positions).map_err(|error| self.failed(&error))
    }

    fn write(&self, group: &str, positions: &[(Place, Partition, Position)]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(POSITIONS)?;
            for (_, of, position) in positions {
                let value = (position.offset, position.state.as_ref());
                table.insert((group, of.stream.as_str(), of.index), value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &redb::Error) -> Error {
        Error::Positions(format!("{}: {error}", self.path.display()))
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    // The file is small, and positions that were altered on disk must not be believed.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Why the file cannot be opened.
enum Unopened {
    /// What is in it cannot be believed.
    Damaged(String),
    /// All else, such as a system that refuses: another attempt may succeed.
    Failed(redb::Error),
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

impl std::fmt::Display for Unopened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(why) => f.write_str(why),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

type Committed = BTreeMap<(usize, GroupName), u64>;

/// Opens the file, once all that is seen of it is durable, and reads the positions in it.
fn open(disk: &Arc<dyn Disk>, path: &Path, layout: &Layout) -> Result<(Database, Committed), Unopened> {
    let file = disk::open(path).map_err(redb::Error::from)?;
    if file.file.metadata().map_err(redb::Error::from)?.len() == 0 {
        // redb would make a new store of it.
        return Err(Unopened::Damaged("the file is empty".to_owned()));
    }
    let backend = Backend::new(disk.clone(), file)?;
    backend.write_again().map_err(redb::Error::from)?;
    // redb checks every page, and yet takes some damage for a bug of its own.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = builder().create_with_backend(backend).map_err(redb::Error::from)?;
        let committed = load(&database, layout)?;
        Ok((database, committed))
    }));
    opened.unwrap_or_else(|_| Err(Unopened::Damaged("redb panicked".to_owned())))
}

/// Takes a damaged file out of the way, for a person to look at.
fn put_aside(disk: &dyn Disk, path: &Path, why: &str) -> io::Result<()> {
    let number = damaged(path)?.last().map_or(1, |last| last + 1);
    let aside = path.with_extension(format!("{DAMAGED}{number}"));
    tracing::error!(path = %path.display(), aside = %aside.display(), why, "the store of positions is damaged, consumers begin again with what is retained");
    disk.rename(path, &aside)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Numbers of the damaged files put aside.
fn damaged(path: &Path) -> io::Result<BTreeSet<u64>> {
    let mut numbers: BTreeSet<u64> = BTreeSet::new();
    let prefix = path.with_extension(DAMAGED);
    let prefix = prefix.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix)).map(str::parse::<u64>);
        numbers.extend(number.and_then(Result::ok));
    }
    Ok(numbers)
}

/// Creates the file under another name and renames it: a crash in between must not leave half a file.
fn create(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), redb::Error> {
    let staged = path.with_extension(STAGED);
    let backend = Backend::new(disk.clone(), disk.create(&staged)?)?;
    let database = builder().create_with_backend(backend)?;
    let transaction = database.begin_write()?;
    transaction.open_table(POSITIONS)?;
    transaction.commit()?;
    drop(database);
    disk.rename(&staged, path)?;
    Ok(disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?)
}

/// Offsets of open streams: a stream that is not open any more holds nothing back.
fn load(database: &Database, layout: &Layout) -> Result<Committed, redb::Error> {
    let mut offsets = BTreeMap::new();
    let table = database.begin_read()?.open_table(POSITIONS)?;
    for found in table.iter()? {
        let (key, value) = found?;
        let (group, stream, index) = key.value();
        let name = crate::contract::StreamName::new(stream);
        if let Some(place) = name.and_then(|name| layout.find(&Partition::new(name, index))) {
            offsets.insert((place.slot, GroupName::from(group)), value.value().0);
        }
    }
    Ok(offsets)
}
