//! What the writer thread, the submitters and the readers share.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use telemetry::Clock;
use telemetry::trace::Tracing;
use tokio::sync::watch;

use super::cache::Cache;
use super::config::LogConfig;
use super::disk::Disk;
use super::manifest::Layout;
use super::metrics::LogMetrics;
use super::positions::Positions;
use super::queue::Queue;
use super::view::View;
use crate::contract::{AppendError, StreamSpec};

/// Extension of tails.
pub(super) const TAIL: &str = "tail";
/// Damaged records remembered, so that reading one again does not count it again.
const REMEMBERED: usize = 65_536;

/// State behind every handle of one open log.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: LogConfig,
    pub(super) paths: Paths,
    pub(super) specs: Vec<StreamSpec>,
    pub(super) layout: Layout,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tracing: Tracing,
    pub(super) metrics: LogMetrics,
    pub(super) positions: Positions,
    pub(super) queue: Queue,
    pub(super) cache: Cache,
    pub(super) view: RwLock<View>,
    /// Counts group commits.
    pub(super) appended: watch::Sender<u64>,
    /// Why the log stopped.
    pub(super) failed: watch::Sender<Option<String>>,
    /// Bytes of all segments.
    pub(super) used: AtomicU64,
    /// Whether submits are refused because of the quota.
    pub(super) full: AtomicBool,
    /// Whether streams are being moved here.
    pub(super) copying: AtomicBool,
    /// Segment, slot and offset of records found damaged by reads.
    pub(super) quarantined: Mutex<BTreeSet<(u64, usize, u64)>>,
    /// Held until the last user is gone.
    pub(super) _lock: File,
}

impl Shared {
    pub(super) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing more is accepted, if so; `derived` streams go on when the quota is reached.
    pub(super) fn refusal(&self, derived: bool) -> Option<AppendError> {
        if let Some(why) = self.failed.borrow().as_ref() {
            return Some(AppendError::Failed(why.clone()));
        }
        let full = !derived && self.full.load(Ordering::Relaxed);
        full.then(|| AppendError::Full { used: self.used.load(Ordering::Relaxed), quota: self.config.quota_bytes })
    }

    /// Counts a record that a read found damaged.
    pub(super) fn quarantine(&self, segment: u64, slot: usize, offset: u64) {
        let mut known = self.quarantined.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED && known.insert((segment, slot, offset)) {
            self.metrics.quarantined.inc();
            tracing::error!(segment, slot, offset, "record is damaged on disk and is left out");
        }
    }
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    dir: PathBuf,
}

impl Paths {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(super) fn manifest(&self) -> PathBuf {
        self.dir.join("manifest")
    }

    pub(super) fn positions(&self) -> PathBuf {
        self.dir.join("positions.redb")
    }

    /// Says what these streams are a copy of, if they are one.
    pub(super) fn copy(&self) -> PathBuf {
        self.dir.join("copy")
    }

    pub(super) fn segments(&self) -> PathBuf {
        self.dir.join("segments")
    }

    pub(super) fn segment(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:020}.log"))
    }

    pub(super) fn index(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:020}.idx"))
    }

    pub(super) fn tail(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:020}.{TAIL}"))
    }

    /// Where a segment of which nothing can be read is put aside.
    pub(super) fn damaged(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:020}.damaged"))
    }
}
