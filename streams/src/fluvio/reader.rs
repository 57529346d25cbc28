//! Reads one partition: every record once, in order, without copies.
//!
//! ```text
//!  offsets of the cluster    0   1   2   3   4   5   6   7
//!  writer and sequence      a0  a1  b0  a1  b0  b1   X  a2        a1 and b0 came twice, X is damaged
//!  read                     a0  a1  b0          b1      a2        offsets 0 1 2 5 7, lost 1
//! ```
//!
//! Offsets of the contract are those of the cluster plus the base of the partition. Records that were moved here carry
//! theirs with them: copies among them may have shifted what lies behind.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::bounds::Bounds;
use super::cluster::{Cluster, Place};
use super::copies::{Copies, Seen};
use super::envelope::{Envelope, Kind};
use super::fetch::{Fetched, Fetcher};
use super::limits::{CURSORS, LOOK_BACK, LOOK_BACK_BYTES, LOOK_BACK_LEAST, pause};
use super::records::Slot;
use super::watcher::ask_once;
use crate::contract::{Error, Partition, Read, Record};

/// Reads one partition for several groups, each at its own place.
#[derive(Debug)]
pub(super) struct PartitionReader {
    partition: Partition,
    place: Place,
    cluster: Arc<Cluster>,
    bounds: Arc<Bounds>,
    /// Those that rest, the one used last at the end.
    cursors: Mutex<Vec<Cursor>>,
}

#[derive(Debug)]
struct Cursor {
    fetcher: Fetcher,
    /// Offset of the cluster behind all that was fetched.
    fetched: u64,
    /// Fetched, not looked at.
    waiting: VecDeque<Slot>,
    sieve: Sieve,
}

impl PartitionReader {
    pub(super) fn new(partition: Partition, place: Place, cluster: Arc<Cluster>, bounds: Arc<Bounds>) -> Self {
        Self { partition, place, cluster, bounds, cursors: Mutex::default() }
    }

    /// Records from `offset` on. Waits while the cluster is away, as long as there must be one.
    pub(super) async fn read(&self, offset: u64, max_bytes: usize, base: u64) -> Result<Read, Error> {
        self.bounds.wanted(&self.place);
        let mut read = Read { records: Vec::new(), next: offset, lost: 0 };
        if offset == self.known(base)?.end {
            return Ok(read);
        }
        self.check(offset, base).await?;
        let mut cursor = match self.resting(offset) {
            Some(cursor) => cursor,
            None => self.open(offset, base).await,
        };
        self.fill(&mut cursor, &mut read, max_bytes, base).await?;
        read.next = cursor.sieve.next;
        self.rest(cursor);
        Ok(read)
    }

    /// Moves records from `cursor` to `read` until there are enough of them or there is no more.
    async fn fill(&self, cursor: &mut Cursor, read: &mut Read, max_bytes: usize, base: u64) -> Result<(), Error> {
        let (mut bytes, mut failures) = (0, 0);
        loop {
            while let Some(slot) = cursor.waiting.front() {
                let len = slot.value.as_ref().map_or(0, bytes::Bytes::len);
                if !read.records.is_empty() && bytes + len > max_bytes {
                    return Ok(());
                }
                let Some(slot) = cursor.waiting.pop_front() else { break };
                let before = read.records.len();
                cursor.sieve.pass(slot, base, read);
                bytes += if read.records.len() > before { len } else { 0 };
            }
            let known = self.known(base)?;
            if cursor.fetched + base >= known.end {
                // Also where copies of moved records shifted the end: there is nothing between.
                cursor.sieve.next = cursor.sieve.next.max(known.end);
                return Ok(());
            }
            match cursor.fetcher.fetch(cursor.fetched).await {
                Ok(Fetched::Slots(slots)) => {
                    failures = 0;
                    cursor.fetched = slots.last().map_or(cursor.fetched, |last| last.offset + 1);
                    if slots.is_empty() {
                        // Above what is committed at this moment, or one batch that needs a larger reply.
                        tokio::time::sleep(super::limits::POLL_READ).await;
                    }
                    cursor.waiting.extend(slots);
                }
                Ok(Fetched::Begins(begins)) => {
                    if !read.records.is_empty() {
                        return Ok(());
                    }
                    self.skip_to(cursor, read, begins, base).await?;
                }
                Err(_) if !read.records.is_empty() => return Ok(()),
                Err(error) => {
                    failures += 1;
                    tracing::debug!(partition = %self.partition, %error, "fetch failed");
                    self.cluster.doubt().await;
                    tokio::time::sleep(pause(u64::from(self.place.1), failures)).await;
                    self.check(cursor.sieve.next, base).await?;
                }
            }
        }
    }

    /// Nothing is to be had before `begins`: it is no longer retained, or the cluster lost it.
    async fn skip_to(&self, cursor: &mut Cursor, read: &mut Read, begins: u64, base: u64) -> Result<(), Error> {
        if let Err(error) = ask_once(&self.cluster, &self.bounds, &self.place).await {
            tracing::debug!(partition = %self.partition, %error, "bounds not learnt");
            return Ok(());
        }
        self.check(cursor.sieve.next, base).await?;
        let first_lost = cursor.fetched.max(cursor.sieve.next.saturating_sub(base));
        let lost = begins.saturating_sub(first_lost);
        if lost > 0 {
            tracing::error!(partition = %self.partition, from = first_lost, records = lost, "the cluster has a hole");
            self.cluster.metrics.damaged.with_label_values(&[&*self.place.0]).inc_by(lost);
            read.lost += lost;
            cursor.sieve.next = cursor.sieve.next.max(begins + base);
        }
        cursor.fetched = begins.max(cursor.fetched);
        Ok(())
    }

    /// A cursor that stands at `offset` and knows the copies of what is before it.
    async fn open(&self, offset: u64, base: u64) -> Cursor {
        let fetcher = Fetcher::new(self.cluster.clone(), self.bounds.clone(), self.place.clone());
        let start = self.bounds.of(&self.place).map_or(0, |known| known.start);
        let at = offset.saturating_sub(base);
        let sieve = Sieve::new(self.partition.clone(), self.place.clone(), self.cluster.clone(), offset);
        let fetched = at.saturating_sub(LOOK_BACK_LEAST).max(start);
        let mut cursor = Cursor { fetcher, fetched, waiting: VecDeque::new(), sieve };
        if fetched < at
            && let Ok(Fetched::Slots(sample)) = cursor.fetcher.fetch(fetched).await
        {
            cursor.fetched = at.saturating_sub(look_back(&sample)).max(start);
        }
        cursor
    }

    /// That `offset` is retained: by what is known, and if that says no, by what the cluster says now.
    async fn check(&self, offset: u64, base: u64) -> Result<(), Error> {
        let known = self.known(base)?;
        if known.contains(&offset) || offset == known.end {
            return Ok(());
        }
        if let Err(error) = ask_once(&self.cluster, &self.bounds, &self.place).await {
            tracing::debug!(partition = %self.partition, %error, "bounds not learnt");
        }
        let known = self.known(base)?;
        if known.contains(&offset) || offset == known.end {
            return Ok(());
        }
        Err(Error::OutOfRange { partition: self.partition.clone(), offset, start: known.start, end: known.end })
    }

    fn known(&self, base: u64) -> Result<std::ops::Range<u64>, Error> {
        let known = self.bounds.of(&self.place).ok_or_else(|| Error::UnknownPartition(self.partition.clone()))?;
        Ok(known.start + base..known.end + base)
    }

    fn resting(&self, offset: u64) -> Option<Cursor> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let at = cursors.iter().rposition(|cursor| cursor.sieve.next == offset)?;
        Some(cursors.remove(at))
    }

    fn rest(&self, cursor: Cursor) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        if cursors.len() >= CURSORS {
            cursors.remove(0);
        }
        cursors.push(cursor);
    }
}

/// How many records to look back at, judged by the size of some of them.
fn look_back(sample: &[Slot]) -> u64 {
    let bytes: usize = sample.iter().map(|slot| slot.value.as_ref().map_or(0, bytes::Bytes::len)).sum();
    let each = u64::try_from(bytes / sample.len().max(1)).unwrap_or(u64::MAX).max(1);
    (LOOK_BACK_BYTES / each).clamp(LOOK_BACK_LEAST, LOOK_BACK)
}

/// What makes records of the contract out of what is in a partition.
#[derive(Debug)]
pub(super) struct Sieve {
    partition: Partition,
    place: Place,
    cluster: Arc<Cluster>,
    copies: Copies,
    /// Offset of the contract up to which all was passed.
    next: u64,
    /// Whether the record before was moved here.
    moved: bool,
}

impl Sieve {
    pub(super) fn new(partition: Partition, place: Place, cluster: Arc<Cluster>, next: u64) -> Self {
        Self { partition, place, cluster, copies: Copies::default(), next, moved: false }
    }

    /// The next slot; what is before [`Self::next`] only teaches.
    fn pass(&mut self, slot: Slot, base: u64, read: &mut Read) {
        let at = slot.offset;
        let Some((envelope, payload)) = slot.value.as_ref().and_then(Envelope::open) else {
            let offset = if self.moved { self.next } else { at + base };
            self.damaged(offset, read);
            return;
        };
        if envelope.kind == Kind::Nothing {
            // Among records that were moved it has no offset.
            self.next = if self.moved { self.next } else { self.next.max(at + base + 1) };
            return;
        }
        self.moved = envelope.kind != Kind::Record;
        let offset = if self.moved { envelope.sequence } else { at + base };
        match self.copies.see(envelope.writer, envelope.sequence, at) {
            Seen::Copy => {
                self.cluster.metrics.copies.with_label_values(&[&*self.place.0]).inc();
                if !self.moved {
                    self.next = self.next.max(offset + 1);
                }
                return;
            }
            Seen::New { missing } if missing > 0 && offset >= self.next => self.missing(offset, missing),
            Seen::New { .. } => {}
        }
        if offset < self.next {
            return;
        }
        self.next = offset + 1;
        match envelope.kind {
            Kind::Lost => read.lost += 1,
            Kind::Nothing => {}
            Kind::Record | Kind::Moved => {
                let Envelope { rows, appended_at, .. } = envelope;
                read.records.push(Record { offset, appended_at, rows, payload });
            }
        }
    }

    fn damaged(&mut self, offset: u64, read: &mut Read) {
        if offset < self.next {
            return;
        }
        tracing::error!(partition = %self.partition, offset, "a damaged record, skipped");
        self.cluster.metrics.damaged.with_label_values(&[&*self.place.0]).inc();
        read.lost += 1;
        self.next = offset + 1;
    }

    fn missing(&self, offset: u64, records: u64) {
        tracing::error!(partition = %self.partition, before = offset, records, "the cluster lost records that it acknowledged");
        self.cluster.metrics.missing.with_label_values(&[&*self.place.0]).inc_by(records);
    }
}

#[cfg(test)]
mod tests;
