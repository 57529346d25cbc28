//! The embedded log: durable partitioned streams in one directory of this machine.
//!
//! All partitions of all streams share one sequence of segment files, so that one `fdatasync` makes a whole
//! group of records durable. In reading order: [`config`](LogConfig), `format` (bytes of a segment),
//! `manifest` (which streams), `queue`, `writer` and `stop` (the way of an append), `view`, `index`, `tail`, `cache` and
//! `read` (the way back), `retention`, `positions` and `backend` (the file under it), `scan` and `recover` (opening),
//! `disk` (what changes files), `metrics`; for tests and the harness `model` (crashes) and `damage`.
//!
//! ```text
//!  dir/lock             held while open
//!      manifest         streams, partitions, log id
//!      positions.redb   how far consumers have come (.damaged-N: one that was put aside, docs/adr/0009)
//!      segments/00000000000000000007.log   records
//!               00000000000000000007.idx   where they are, once the segment is full
//!               00000000000000000007.tail  where they are so far, until then
//! ```

mod backend;
mod cache;
mod config;
#[cfg(any(test, feature = "faults"))]
pub mod damage;
mod disk;
mod format;
mod import;
mod index;
mod manifest;
mod metrics;
#[cfg(any(test, feature = "faults"))]
pub mod model;
mod positions;
mod queue;
mod read;
mod recover;
mod retention;
mod scan;
mod segment;
mod shared;
mod stop;
mod tail;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use telemetry::Clock;
use telemetry::trace::Tracing;
use tokio::sync::{oneshot, watch};

pub use config::LogConfig;
pub use metrics::LogMetrics;
pub use recover::Recovery;

use crate::contract::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, StreamSpec, Streams, Ticket,
};
use crate::faults::{Point, point};
use disk::{Disk, RealDisk};
use manifest::{Layout, Place};
use positions::Positions;
use queue::{Pending, PendingRecord, Queue};
use recover::Opened;
use shared::{Paths, Shared};
use writer::Writer;

/// Durable partitioned streams in one directory.
///
/// Dropping it is a crash: what is queued and not yet written is given up, and the directory can be opened
/// again once the write under way is done, for which the drop waits. Nothing that was acknowledged needs [`EmbeddedLog::close`].
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    recovery: Recovery,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// How the log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Bytes of all segments.
    pub used_bytes: u64,
    /// Bytes at which appends are refused.
    pub quota_bytes: u64,
    /// Whether appends are refused because consumers have not passed what fills the quota.
    pub full: bool,
    /// Bytes submitted and not yet being written.
    pub queued_bytes: usize,
    /// Segments, the active one included.
    pub segments: usize,
    /// Why nothing more is accepted, after a failed write.
    pub failed: Option<String>,
}

impl EmbeddedLog {
    /// Opens the log in `config.dir`, or creates it with the streams of `specs`; recovers what a crash left.
    /// Streams may be added later, but the partitions of one never change. What the disk needs for groups that are
    /// traced goes to `tracing`. Blocks.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, [`Error::Incompatible`] if the settings are out of bounds or
    /// contradict what is on disk, [`Error::Positions`] or [`Error::Io`] if a file cannot be read or written.
    pub fn open(
        config: LogConfig,
        specs: Vec<StreamSpec>,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        metrics: LogMetrics,
    ) -> Result<Arc<Self>, Error> {
        Self::open_on(Arc::new(RealDisk), config, specs, clock, tracing, metrics)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        config: LogConfig,
        specs: Vec<StreamSpec>,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        metrics: LogMetrics,
    ) -> Result<Arc<Self>, Error> {
        config.check()?;
        let paths = Paths::new(&config.dir);
        let segments = paths.segments();
        disk::create_dirs(disk.as_ref(), &segments).map_err(disk::io_error("create", &segments))?;
        let lock = lock(&paths)?;
        let fresh = recover::numbers(&segments)?.is_empty();
        let copy = import::Copy::read(&paths.copy())?;
        let layout = Layout::open(disk.as_ref(), &paths.manifest(), &specs, fresh, clock.now())?;
        let positions = Positions::open(&disk, &paths.positions(), &layout)?;
        let spans = positions.spans(layout.slots());
        let passed: Vec<_> = spans.into_iter().map(|span| span.map(|(_, high)| high)).collect();
        let opened = recover::open(disk.as_ref(), &paths, &layout, &passed)?;
        let Opened { view, next_group, tail, mut recovery } = opened;
        positions.raise(&layout, |slot| view.bounds(slot).start)?;
        recovery.damaged_positions = positions.damaged();
        metrics.damaged_positions.set(i64::try_from(recovery.damaged_positions).unwrap_or(i64::MAX));
        metrics.quarantined.inc_by(recovery.quarantined_records);
        metrics.quota_bytes.set(i64::try_from(config.quota_bytes).unwrap_or(i64::MAX));
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue_bytes, metrics.queue_bytes.clone()),
            used: AtomicU64::new(view.used()),
            full: AtomicBool::new(false),
            copying: AtomicBool::new(copy.as_ref().is_some_and(|copy| !copy.finished)),
            view: RwLock::new(view),
            appended: watch::Sender::new(0),
            failed: watch::Sender::new(copy.and_then(|copy| copy.refusal())),
            cache: cache::Cache::default(),
            quarantined: Mutex::default(),
            _lock: lock,
            config,
            paths,
            specs,
            layout,
            disk,
            clock,
            tracing,
            metrics,
            positions,
        });
        let mut writer = Writer::new(shared.clone(), next_group, tail);
        writer.prepare().map_err(|why| stopped("open", shared.paths.dir(), why))?;
        let thread = writer.spawn().map_err(disk::io_error("start the writer thread of", shared.paths.dir()))?;
        Ok(Arc::new(Self { shared, recovery, writer: Mutex::new(Some(thread)) }))
    }

    /// What opening found.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Becomes the reason when a write fails: from then on nothing is accepted, and only a restart helps.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.subscribe()
    }

    /// How the log stands now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            used_bytes: self.shared.used.load(Ordering::Relaxed),
            quota_bytes: self.shared.config.quota_bytes,
            full: self.shared.full.load(Ordering::Relaxed),
            queued_bytes: self.shared.queue.bytes(),
            segments: self.shared.view().sealed.len() + 1,
            failed: self.shared.failed.borrow().clone(),
        }
    }

    /// Accepts no more, writes what is queued and stops the writer thread. Reading still works. Not needed for
    /// durability.
    ///
    /// # Errors
    /// [`Error::Io`] if the log had failed, or fails now.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.queue.close();
        let thread = self.take_thread();
        let joined = blocking(move || thread.is_none_or(|thread| thread.join().is_ok())).await;
        let failed = self.shared.failed.borrow().clone();
        match failed.or_else(|| (!joined).then(|| "the writer thread panicked".to_owned())) {
            None => Ok(()),
            Some(why) => Err(stopped("close", self.shared.paths.dir(), why)),
        }
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn place(&self, of: &Partition) -> Result<Place, Error> {
        self.shared.layout.find(of).ok_or_else(|| Error::UnknownPartition(of.clone()))
    }

    /// The records with their places and the room they need, if the group can be appended at all.
    fn check(&self, group: Vec<Append>) -> Result<(Vec<PendingRecord>, usize), AppendError> {
        let mut bytes = 0;
        let mut records = Vec::with_capacity(group.len());
        for Append { to, rows, payload, trace: _ } in group {
            let place = self.place(&to).map_err(|error| AppendError::Refused(error.to_string()))?;
            let (size, limit) = (payload.len(), self.shared.config.record_bytes);
            if size > limit {
                return Err(AppendError::Refused(format!("record of {size} bytes for {to}, {limit} are allowed")));
            }
            bytes += LogConfig::charge(size);
            records.push(PendingRecord { place, rows, payload, appended_at: None });
        }
        let limit = self.shared.queue.capacity();
        if bytes > limit {
            return Err(AppendError::Refused(format!("group of {bytes} bytes, {limit} are allowed")));
        }
        // An empty group takes a place in the queue too, and all places together have a bound.
        Ok((records, bytes.max(LogConfig::charge(0))))
    }

    fn closed(&self) -> AppendError {
        self.shared.refusal(true).unwrap_or_else(|| AppendError::Failed("the log is closed".to_owned()))
    }
}

#[async_trait]
impl Streams for EmbeddedLog {
    fn specs(&self) -> &[StreamSpec] {
        &self.shared.specs
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        let derived = group.iter().all(|append| append.to.stream.is_derived());
        let trace = group.iter().find_map(|append| append.trace);
        let (records, bytes) = self.check(group)?;
        self.shared.refusal(derived).map_or(Ok(()), Err)?;
        let Some(room) = self.shared.queue.room(bytes).await else { return Err(self.closed()) };
        // It may have become full, or failed, while we waited.
        self.shared.refusal(derived).map_or(Ok(()), Err)?;
        let (done, durable) = oneshot::channel();
        let pending = Pending { records, bytes, trace, done, room };
        self.shared.queue.push(pending).map_err(|_| self.closed())?;
        Ok(Box::pin(async move {
            durable.await.unwrap_or_else(|_| Err(AppendError::Failed("the writer stopped".to_owned())))
        }))
    }

    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error> {
        let place = self.place(from)?;
        let bounds = self.shared.view().bounds(place.slot);
        if offset == bounds.end {
            return Ok(Read { records: Vec::new(), next: offset, lost: 0 });
        }
        let (shared, from) = (self.shared.clone(), from.clone());
        blocking(move || read::read(&shared, &from, place, offset, max_bytes)).await
    }

    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error> {
        let place = self.place(of)?;
        Ok(self.shared.view().bounds(place.slot))
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.shared.appended.subscribe()
    }

    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error> {
        self.place(of)?;
        let (shared, group, of) = (self.shared.clone(), group.clone(), of.clone());
        blocking(move || shared.positions.get(&group, &of)).await
    }

    async fn commit(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        let mut placed = Vec::with_capacity(positions.len());
        for (of, position) in positions {
            placed.push((self.place(&of)?, of, position));
        }
        if placed.is_empty() {
            return Ok(());
        }
        let (shared, group) = (self.shared.clone(), group.clone());
        blocking(move || {
            point(Point::PositionCommit);
            shared.positions.commit(&group, &placed, |slot| shared.view().bounds(slot))?;
            point(Point::PositionCommitted);
            shared.queue.nudge();
            Ok(())
        })
        .await
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        let of = |(slot, group, offset)| {
            let (_, partition) = self.shared.layout.partition(slot)?;
            Some(GroupPosition { group, partition, offset })
        };
        let mut groups: Vec<_> = self.shared.positions.groups().into_iter().filter_map(of).collect();
        groups.sort_unstable();
        Ok(groups)
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // Their tickets resolve to `Failed` when they are dropped.
        drop(self.shared.queue.abandon());
        if let Some(thread) = self.take_thread()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread of the streams panicked");
        }
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("dir", &self.shared.paths.dir()).finish_non_exhaustive()
    }
}

fn stopped(doing: &str, dir: &Path, why: String) -> Error {
    disk::io_error(doing, dir)(std::io::Error::other(why))
}

/// Runs what blocks on a thread made for it. A panic in it goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: nobody polls this future any more.
            Err(_) => futures::future::pending().await,
        },
    }
}

fn lock(paths: &Paths) -> Result<File, Error> {
    let path = paths.lock();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(disk::io_error("lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: paths.dir().display().to_string() }),
        Err(TryLockError::Error(error)) => Err(disk::io_error("lock", &path)(error)),
    }
}
