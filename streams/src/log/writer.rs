//! The one thread that writes: it gathers what was submitted into a group, writes it, syncs it, and only then
//! shows it to readers and resolves the tickets, in order.
//!
//! The first failed write or sync ends it, and with it all appending: after a failed sync the system may have
//! thrown away what it could not write, so a second sync proves nothing. A restart recovers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus::IntCounter;
use telemetry::Timestamp;

use super::config::GROUP_BYTES;
use super::disk::DiskFile;
use super::format::{self, Frame, SegmentHeader};
use super::index::Entry;
use super::queue::{Pending, Raise, Work};
use super::retention;
use super::segment;
use super::shared::Shared;
use super::stop::{PanicGuard, answer, stop};
use super::tail::{self, Tail};
use super::view::{Active, Sealed, View};
use crate::contract::{AppendError, StreamName};
use crate::faults::{Point, Tooth, point, tooth};
use crate::spans::Commits;

/// How often retention looks at ages when nothing else makes it look.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10);

/// Owner of the files that are written.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    file: Arc<DiskFile>,
    segment: u64,
    /// Durable bytes of the active segment.
    bytes: u64,
    next_group: u64,
    /// Next offset of each slot.
    next: Vec<u64>,
    /// Of the active segment.
    tail: Tail,
    /// The group being written.
    buffer: Vec<u8>,
    /// Records appended, of each stream.
    counters: Vec<IntCounter>,
}

/// A change of the disk that failed; the text says which and why.
#[derive(Debug)]
struct Stopped(String);

/// Records of the group being written: slot, and where each will stand.
type Placed = Vec<(usize, Entry)>;

impl Writer {
    /// A writer that goes on at the end of the active segment, and of its tail, with group `next_group`.
    pub(super) fn new(shared: Arc<Shared>, next_group: u64, tail: Tail) -> Self {
        let (file, segment, bytes, next) = {
            let view = shared.view();
            (view.active.file.clone(), view.active.number, view.active.bytes, view.ends.clone())
        };
        let counter = |name: &StreamName| shared.metrics.appended_records.with_label_values(&[name.as_str()]);
        let counters = shared.layout.names().map(counter).collect();
        Self { shared, file, segment, bytes, next_group, next, tail, buffer: Vec::new(), counters }
    }

    /// Seals the active segment if it is full, deletes what may go, and says whether there is room.
    pub(super) fn prepare(&mut self) -> Result<(), String> {
        self.roll_if_full().and_then(|_| self.maintain()).map_err(|Stopped(why)| why)
    }

    /// Starts the thread.
    pub(super) fn spawn(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("weir-log".to_owned()).spawn(move || self.run())
    }

    fn run(mut self) {
        let _guard = PanicGuard(self.shared.clone());
        let outcome = self.work();
        if let Err(Stopped(why)) = outcome {
            stop(&self.shared, &why);
        }
    }

    fn work(&mut self) -> Result<(), Stopped> {
        loop {
            match self.shared.queue.take(GROUP_BYTES, MAINTAIN_EVERY) {
                Work::Write(groups) => {
                    self.commit(groups)?;
                    if self.roll_if_full()? || self.shared.queue.take_nudge() {
                        self.maintain()?;
                    }
                    self.show_usage();
                }
                Work::Maintain => self.maintain()?,
                Work::Raise(Raise { to, done }) => {
                    let raised = self.raise(&to);
                    let answer = raised.as_ref().map_err(|Stopped(why)| why.clone()).copied();
                    // Who asked may be gone; what was raised stands all the same.
                    drop(done.send(answer));
                    raised?;
                }
                Work::Stop => return Ok(()),
            }
        }
    }

    /// Makes groups durable together, and answers them.
    fn commit(&mut self, groups: Vec<Pending>) -> Result<(), Stopped> {
        if groups.iter().all(|group| group.records.is_empty()) {
            // Nothing to make durable, and all before it is.
            groups.into_iter().for_each(|group| answer(group, Ok(Vec::new())));
            return Ok(());
        }
        let (clock, metrics) = (self.shared.clock.clone(), self.shared.metrics.clone());
        let (began, appended_at) = (clock.monotonic(), clock.now());
        let (number, at, starts) = (self.next_group, self.bytes, self.next.clone());
        let (offsets, records) = self.encode(&groups, appended_at, &starts);
        let commits = Commits::begin(&self.shared.tracing, &*clock, groups.iter().map(|group| group.trace));
        let written = self.write();
        let commits = commits.map(|commits| commits.until(clock.now()));
        if let Err(Stopped(why)) = written {
            // Told first, so that whoever sees a failed ticket also sees why.
            stop(&self.shared, &why);
            groups.into_iter().for_each(|group| answer(group, Err(AppendError::Failed(why.clone()))));
            self.report(commits, Some(&why));
            return Err(Stopped(why));
        }
        self.publish(&records, appended_at);
        metrics.commit_seconds.observe((clock.monotonic().saturating_sub(began)).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a histogram of sizes")]
        metrics.commit_bytes.observe(self.buffer.len() as f64);
        metrics.appended_bytes.inc_by(widen(self.buffer.len()));
        self.count(&groups);
        for (group, offsets) in groups.into_iter().zip(offsets) {
            answer(group, Ok(offsets));
        }
        // Last: nobody waits for it.
        self.report(commits, None);
        let group = tail::Group { number, at, starts: &starts, appended_at, records: &records };
        self.tail.add(self.shared.disk.as_ref(), tail::interval(self.shared.config.segment_bytes), &group);
        self.buffer.clear();
        self.buffer.shrink_to(GROUP_BYTES);
        Ok(())
    }

    /// Puts the groups' records into the buffer. Gives the offsets of each group, and where each record will be.
    fn encode(&mut self, groups: &[Pending], appended_at: Timestamp, starts: &[u64]) -> (Vec<Vec<u64>>, Placed) {
        let mut all = Vec::with_capacity(groups.len());
        let mut frames = Vec::new();
        let mut slots = Vec::new();
        for group in groups {
            let mut offsets = Vec::with_capacity(group.records.len());
            for record in &group.records {
                let (place, rows, payload) = (record.place, record.rows, record.payload.as_ref());
                let appended_at = record.appended_at.unwrap_or(appended_at);
                let Some(next) = self.next.get_mut(place.slot) else { continue };
                let offset = *next;
                *next += 1;
                let (stream, partition) = (place.stream, place.partition);
                frames.push(Frame { stream, partition, offset, appended_at, rows, payload });
                slots.push((place.slot, offset));
                offsets.push(offset);
            }
            all.push(offsets);
        }
        let log_id = self.shared.layout.log_id;
        let places = format::encode_group(&mut self.buffer, log_id, self.next_group, starts, &frames);
        let placed = slots.into_iter().zip(places).map(|((slot, offset), (at, length))| {
            // In bounds by the checks of LogConfig.
            let position = u32::try_from(self.bytes + widen(at)).unwrap_or(u32::MAX);
            (slot, Entry { offset, position, length: u32::try_from(length).unwrap_or(u32::MAX) })
        });
        (all, placed.collect())
    }

    fn write(&self) -> Result<(), Stopped> {
        let (disk, clock) = (&self.shared.disk, &self.shared.clock);
        point(Point::LogWrite);
        let written = disk.write_at(&self.file, &self.buffer, self.bytes);
        if !tooth(Tooth::WriteErrorIgnored) {
            written.map_err(stopped("write", &self.file))?;
        }
        point(Point::LogWritten);
        let began = clock.monotonic();
        self.sync().map_err(stopped("sync", &self.file))?;
        point(Point::LogSynced);
        self.shared.metrics.sync_seconds.observe(clock.monotonic().saturating_sub(began).as_secs_f64());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if !self.shared.config.sync || tooth(Tooth::LogSyncSkipped) {
            return Ok(());
        }
        match self.shared.disk.sync(&self.file) {
            Err(_) if tooth(Tooth::SyncRetried) => self.shared.disk.sync(&self.file),
            synced => synced,
        }
    }

    /// Shows what is durable now to readers.
    fn publish(&mut self, records: &[(usize, Entry)], appended_at: Timestamp) {
        self.bytes += widen(self.buffer.len());
        self.next_group += 1;
        {
            let mut view = self.shared.view_mut();
            for (slot, entry) in records {
                if let Some(entries) = view.active.slots.get_mut(*slot) {
                    entries.push(*entry);
                }
            }
            view.active.bytes = self.bytes;
            view.active.newest = view.active.newest.max(appended_at);
            view.ends.clone_from(&self.next);
        }
        self.shared.used.fetch_add(widen(self.buffer.len()), Ordering::Relaxed);
        self.shared.appended.send_modify(|commits| *commits += 1);
    }

    fn report(&self, commits: Option<Commits>, error: Option<&str>) {
        if let Some(commits) = commits {
            commits.report(&self.shared.tracing, error, |span| span);
        }
    }

    fn count(&self, groups: &[Pending]) {
        for record in groups.iter().flat_map(|group| &group.records) {
            let counter = usize::try_from(record.place.stream).ok().and_then(|stream| self.counters.get(stream));
            counter.inspect(|counter| counter.inc());
        }
    }

    fn roll_if_full(&mut self) -> Result<bool, Stopped> {
        let full = self.bytes >= self.shared.config.segment_bytes;
        if full {
            self.roll()?;
        }
        Ok(full)
    }

    /// Seals the active segment and begins the next. The index is durable before the next segment's name is.
    fn roll(&mut self) -> Result<(), Stopped> {
        let shared = self.shared.clone();
        point(Point::SegmentSeal);
        let index = shared.view().active.index(&self.next, self.next_group);
        let path = shared.paths.index(self.segment);
        let index_bytes = index
            .write(shared.disk.as_ref(), &path, shared.layout.log_id, self.segment)
            .map_err(|error| Stopped(format!("write index {}: {error}", path.display())))?;
        point(Point::SegmentIndexed);
        shared.used.fetch_add(index_bytes, Ordering::Relaxed);
        self.begin_next(|view, full| {
            let Active { number, starts, bytes, newest, .. } = full;
            view.sealed.push_back(Sealed { number, bytes: bytes + index_bytes, newest, starts });
        })
    }

    /// Begins the next segment; `keep` gets the one before, with the view.
    fn begin_next(&mut self, keep: impl FnOnce(&mut View, Active)) -> Result<(), Stopped> {
        let shared = self.shared.clone();
        let (log_id, number) = (shared.layout.log_id, self.segment + 1);
        let header = SegmentHeader { log_id, number, first_group: self.next_group, starts: self.next.clone() };
        let active = segment::begin(shared.disk.as_ref(), &shared.paths, header)
            .map_err(|error| Stopped(format!("begin segment {}: {error}", shared.paths.segment(number).display())))?;
        shared.used.fetch_add(active.bytes, Ordering::Relaxed);
        (self.segment, self.file, self.bytes) = (active.number, active.file.clone(), active.bytes);
        let tail = Tail::begin(shared.paths.tail(number), log_id, &active, active.bytes, None);
        std::mem::replace(&mut self.tail, tail).remove(shared.disk.as_ref());
        let mut view = shared.view_mut();
        let full = std::mem::replace(&mut view.active, active);
        keep(&mut view, full);
        Ok(())
    }

    /// Goes up to these next offsets, in a segment that says so. A first segment without records is replaced by it, so
    /// that partitions begin there.
    fn raise(&mut self, to: &[(usize, u64)]) -> Result<(), Stopped> {
        let shared = self.shared.clone();
        let fresh = self.next.iter().all(|next| *next == 0) && shared.view().sealed.is_empty();
        for (slot, offset) in to {
            if let Some(next) = self.next.get_mut(*slot) {
                *next = (*next).max(*offset);
            }
        }
        if fresh {
            // A crash in between leaves no segment at all, as in a new log.
            let (path, segments) = (shared.paths.segment(self.segment), shared.paths.segments());
            let removed = shared.disk.remove(&path).and_then(|()| shared.disk.sync_dir(&segments));
            removed.map_err(|error| Stopped(format!("remove {}: {error}", path.display())))?;
            self.begin_next(|_, _| {})?;
        } else {
            self.roll()?;
        }
        self.shared.view_mut().ends.clone_from(&self.next);
        Ok(())
    }

    /// Deletes what may go, then says whether there is room.
    fn maintain(&mut self) -> Result<(), Stopped> {
        self.delete_expired()?;
        if self.used() >= self.shared.config.quota_bytes && self.may_roll_for_room() {
            self.roll()?;
            self.delete_expired()?;
        }
        self.show_usage();
        Ok(())
    }

    /// A quota near the size of a segment could otherwise be held by the active one alone.
    fn may_roll_for_room(&self) -> bool {
        let view = self.shared.view();
        let empty = view.active.starts.as_ref() == self.next.as_slice();
        !empty && retention::all_passed(&view.active.starts, &self.next, &self.passed())
    }

    fn delete_expired(&mut self) -> Result<(), Stopped> {
        // What is moved here has no groups yet that would hold it.
        if self.shared.copying.load(Ordering::Relaxed) {
            return Ok(());
        }
        loop {
            if !self.delete_oldest()? {
                return Ok(());
            }
        }
    }

    /// Deletes the oldest segment if it may go; `false` if not, or if the system refuses. Readers lose it
    /// first. One directory sync each, so that a crash never leaves a hole between segments.
    fn delete_oldest(&self) -> Result<bool, Stopped> {
        let (shared, disk) = (&self.shared, &self.shared.disk);
        let Some(oldest) = self.take_expired() else { return Ok(false) };
        let path = shared.paths.segment(oldest.number);
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot delete segment, trying again later");
            shared.view_mut().sealed.push_front(oldest);
            return Ok(false);
        }
        if let Err(error) = disk.remove(&shared.paths.index(oldest.number)) {
            tracing::warn!(segment = oldest.number, %error, "cannot delete index, the next start removes it");
        }
        point(Point::SegmentRemoved);
        let segments = shared.paths.segments();
        disk.sync_dir(&segments).map_err(|error| Stopped(format!("sync {}: {error}", segments.display())))?;
        shared.used.fetch_sub(oldest.bytes, Ordering::Relaxed);
        tracing::debug!(segment = oldest.number, bytes = oldest.bytes, "deleted segment");
        Ok(true)
    }

    /// Takes the oldest segment out of the view, if it may go. Positions are looked at under the view's lock: a
    /// commit shows its positions first and looks at the view second.
    fn take_expired(&self) -> Option<Sealed> {
        let mut view = self.shared.view_mut();
        let (passed, now) = (self.passed(), self.shared.clock.now());
        let active_starts = &view.active.starts;
        let goes = retention::expired(&view.sealed, active_starts, &passed, self.used(), &self.shared.config, now);
        if goes { view.sealed.pop_front() } else { None }
    }

    fn passed(&self) -> Vec<Option<u64>> {
        let spans = self.shared.positions.spans(self.next.len());
        spans.into_iter().map(|span| span.map(|(low, _)| low)).collect()
    }

    fn used(&self) -> u64 {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Sets the gauges, and whether submits are refused.
    fn show_usage(&self) {
        let (shared, used, quota) = (&self.shared, self.used(), self.shared.config.quota_bytes);
        shared.metrics.used_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        shared.metrics.segments.set(i64::try_from(shared.view().sealed.len() + 1).unwrap_or(i64::MAX));
        let full = used >= quota;
        match (shared.full.swap(full, Ordering::Relaxed), full) {
            (false, true) => tracing::warn!(used, quota, "quota of the streams reached, appends are refused"),
            (true, false) => tracing::warn!(used, quota, "streams have room again, appends are accepted"),
            _ => {}
        }
    }
}

fn stopped(doing: &str, file: &DiskFile) -> impl FnOnce(io::Error) -> Stopped {
    let context = format!("{doing} {}", file.path.display());
    move |error| Stopped(format!("{context}: {error}"))
}

fn widen(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
