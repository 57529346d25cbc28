//! How far each consumer group has come: a redb file, one transaction a commit.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::disk::{Disk, STAGED};
use super::manifest::{Layout, Place};
use crate::contract::{Error, GroupName, Partition, Position};

/// Group, stream and partition to offset and state.
const POSITIONS: TableDefinition<'_, (&str, &str, u32), (u64, &[u8])> = TableDefinition::new("positions");
/// The store holds some hundred small entries; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The store of positions.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    database: Database,
    /// Held over a whole commit, so that `offsets` follow the file's order.
    committing: Mutex<()>,
    /// What retention looks at, by slot and group.
    offsets: Mutex<Offsets>,
}

#[derive(Debug)]
struct Offsets {
    committed: BTreeMap<(usize, GroupName), u64>,
    /// Slots and offsets of the commit under way.
    arriving: Vec<(usize, u64)>,
}

impl Positions {
    /// Opens or creates the file at `path`; blocks.
    pub(super) fn open(disk: &dyn Disk, path: &Path, layout: &Layout) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Positions(format!("{}: {error}", path.display()));
        if !path.exists() {
            create(disk, path).map_err(|error| failed(&error))?;
        }
        let database = builder().open(path).map_err(|error| failed(&error))?;
        let committed = load(&database, layout).map_err(|error| failed(&error))?;
        let offsets = Mutex::new(Offsets { committed, arriving: Vec::new() });
        Ok(Self { path: path.to_owned(), database, committing: Mutex::default(), offsets })
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

    /// The lowest and the highest position of any group, of each slot; `None` where no group is registered.
    pub(super) fn spans(&self, slots: usize) -> Vec<Option<(u64, u64)>> {
        let mut spans: Vec<Option<(u64, u64)>> = vec![None; slots];
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

/// Creates the file under another name and renames it: a crash in between must not leave half a file.
fn create(disk: &dyn Disk, path: &Path) -> Result<(), redb::Error> {
    let staged = path.with_extension(STAGED);
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let database = builder().create(&staged)?;
    let transaction = database.begin_write()?;
    transaction.open_table(POSITIONS)?;
    transaction.commit()?;
    drop(database);
    disk.rename(&staged, path)?;
    Ok(disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?)
}

/// Offsets of open streams: a stream that is not open any more holds nothing back.
fn load(database: &Database, layout: &Layout) -> Result<BTreeMap<(usize, GroupName), u64>, redb::Error> {
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
