//! The outbox of a process that has stopped, to look at: read into memory, so that looking changes nothing, and what a
//! kill left to be repaired is repaired in the copy.

use std::fs;
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadOnlyDatabase, StorageBackend};

use super::{Plans, Store, StoreError, corrupted};
use crate::workflows::limits;

impl Store {
    /// A copy of `workflows.redb` in `dir`, in memory; `None` if there is none.
    pub(in crate::workflows) fn copy(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join("workflows.redb");
        if !path.exists() {
            return Ok(None);
        }
        let database = open(&path).map_err(|source| StoreError { path: path.clone(), source: Box::new(source) })?;
        Ok(Some(Self { path, database, plans: Plans::default() }))
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    // Only to see whether somebody writes it: a copy would be of no moment.
    if let Err(error @ DatabaseError::DatabaseAlreadyOpen) = ReadOnlyDatabase::open(path) {
        return Err(error.into());
    }
    let length = fs::metadata(path)?.len();
    if length > limits::COPY_BYTES {
        return Err(corrupted(format!("{length} bytes, at most {} are looked at", limits::COPY_BYTES)));
    }
    let (bytes, memory) = (fs::read(path)?, InMemoryBackend::new());
    let failed = |error| corrupted(format!("a copy cannot be made: {error}"));
    memory.set_len(length).map_err(failed)?;
    memory.write(0, &bytes).map_err(failed)?;
    drop(bytes);
    let mut builder = Database::builder();
    Ok(builder.set_cache_size(limits::CACHE_BYTES).create_with_backend(memory)?)
}
