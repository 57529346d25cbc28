//! The file under the store of positions, as redb wants it: what changes it goes through [`Disk`] like every
//! other change, so that it can be made to fail and be recorded.

use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::disk::{Disk, DiskFile};

/// Bytes copied at once by [`Backend::write_again`].
const STEP: usize = 1024 * 1024;

/// One file of redb.
#[derive(Debug)]
pub(super) struct Backend {
    disk: Arc<dyn Disk>,
    file: DiskFile,
    /// The same file: redb's own, for its locks.
    locks: FileBackend,
}

impl Backend {
    pub(super) fn new(disk: Arc<dyn Disk>, file: DiskFile) -> Result<Self, redb::Error> {
        let locks = FileBackend::new(file.file.try_clone()?)?;
        Ok(Self { disk, file, locks })
    }

    /// Writes the file over itself and syncs it: had its last sync failed before the restart, the system would
    /// show us bytes that it never writes, and redb would build on them.
    pub(super) fn write_again(&self) -> io::Result<()> {
        let length = self.file.file.metadata()?.len();
        let mut at = 0;
        while at < length {
            let step = usize::try_from(length - at).unwrap_or(STEP).min(STEP);
            let mut bytes = vec![0; step];
            self.file.file.read_exact_at(&mut bytes, at)?;
            self.disk.write_at(&self.file, &bytes, at)?;
            at += u64::try_from(step).unwrap_or(u64::MAX);
        }
        self.disk.sync(&self.file)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.truncate(&self.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(&self.file)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write_at(&self.file, data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.locks.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.query_lock_range(start, end)
    }
}
