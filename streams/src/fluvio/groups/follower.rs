//! One partition of the topic, read up to its end and folded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use telemetry::Clock;
use tokio::sync::Mutex;

use super::ledger::{Entry, Ledger};
use super::limits::{EMPTY_READS, READ_WAIT};
use super::record::{self, Decoded, Key, Record};
use crate::contract::{Error, GroupPosition, Partition, Position, StreamName};
use crate::fluvio::topic::Topic;

/// What one partition says, as far as it was read.
#[derive(Debug)]
pub(super) struct Follower {
    topic: Arc<dyn Topic>,
    partition: u32,
    clock: Arc<dyn Clock>,
    /// Next offset to read. Held over a whole read, so that records are folded once.
    next: Mutex<u64>,
    view: StdMutex<View>,
}

#[derive(Debug, Default)]
struct View {
    ledger: Ledger,
    signs: BTreeMap<u64, Sign>,
}

/// The last sign of life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    /// Signs so far.
    pub(super) count: u64,
    /// When the last one was read: never before it was given.
    pub(super) seen: Duration,
}

/// Who owns a group here, as far as was read.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) entry: Entry,
    pub(super) sign: Sign,
}

impl Follower {
    pub(super) fn new(topic: Arc<dyn Topic>, partition: u32, clock: Arc<dyn Clock>) -> Self {
        Self { topic, partition, clock, next: Mutex::new(0), view: StdMutex::default() }
    }

    /// Reads all that is there now.
    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        let mut next = self.next.lock().await;
        let bounds = self.topic.bounds(self.partition).await?;
        if *next > bounds.end {
            let (partition, next, end) = (self.partition, *next, bounds.end);
            return Err(Error::Incompatible(format!(
                "partition {partition} of the topic of groups was read up to {next} and now ends at {end}: the topic was deleted"
            )));
        }
        if *next < bounds.start || *next == 0 {
            // What is between was said again behind it, as long as any process ran.
            *next = bounds.start;
            self.view().ledger = Ledger::new(bounds.start == 0);
        }
        let mut empty = 0;
        while *next < bounds.end {
            let records = self.topic.read(self.partition, *next, READ_WAIT).await?;
            let Some((last, _)) = records.last() else {
                empty += 1;
                if empty == EMPTY_READS {
                    let (partition, from, end) = (self.partition, *next, bounds.end);
                    return Err(Error::Unavailable(format!(
                        "partition {partition} of the topic of groups gives no records from {from} on, though it ends at {end}"
                    )));
                }
                continue;
            };
            let after = last.saturating_add(1);
            self.fold(records)?;
            *next = after;
        }
        Ok(())
    }

    /// Appends `record`, within `patience`.
    pub(super) async fn append(&self, record: &Record, patience: Duration) -> Result<(), Error> {
        let append = self.topic.append(self.partition, record.encode());
        match tokio::time::timeout(patience, append).await {
            Ok(appended) => appended.map(drop),
            Err(_) => Err(Error::Unavailable(format!(
                "the topic of groups took no record within {:.1} s",
                patience.as_secs_f64()
            ))),
        }
    }

    /// Who owns `key`, and when it was last alive.
    pub(super) fn owned(&self, key: &Key) -> Option<Owned> {
        let now = self.clock.monotonic();
        let mut view = self.view();
        let entry = view.ledger.entry(key)?.clone();
        // One that was never seen here may be about to renew.
        let sign = *view.signs.entry(entry.owner.process).or_insert(Sign { count: 0, seen: now });
        Some(Owned { entry, sign })
    }

    pub(super) fn position(&self, key: &Key) -> Option<Position> {
        self.view().ledger.entry(key)?.position.clone()
    }

    /// Every position of this partition.
    pub(super) fn positions(&self) -> Vec<GroupPosition> {
        let of = |((group, stream), entry): (&Key, &Entry)| {
            let partition = Partition::new(stream.clone(), self.partition);
            Some(GroupPosition { group: group.clone(), partition, offset: entry.position.as_ref()?.offset })
        };
        self.view().ledger.entries().filter_map(of).collect()
    }

    /// What offsets of `stream` are counted from, with the version of that.
    pub(super) fn base(&self, stream: &StreamName) -> (u64, u64) {
        self.view().ledger.base_of(stream)
    }

    /// What was last said more than `window` bytes ago, to be said again. With states of more than that in all the
    /// distance grows, or there would be no end of saying it again.
    pub(super) fn due(&self, window: u64) -> Vec<Record> {
        let view = self.view();
        let window = window.max(view.ledger.live_bytes().saturating_mul(2));
        view.ledger.stated_before(view.ledger.bytes().saturating_sub(window))
    }

    /// What was last said before `mark` of [`Follower::mark`], to be said again.
    pub(super) fn due_since(&self, mark: u64) -> Vec<Record> {
        self.view().ledger.stated_before(mark)
    }

    /// The end of what was read, as a measure of when something was said.
    pub(super) fn mark(&self) -> u64 {
        self.view().ledger.bytes()
    }

    fn fold(&self, records: Vec<(u64, Bytes)>) -> Result<(), Error> {
        let now = self.clock.monotonic();
        let mut view = self.view();
        for (offset, bytes) in records {
            let record = match record::decode(&bytes) {
                Decoded::Record(record) => record,
                Decoded::Unknown => continue,
                Decoded::Damaged => {
                    let partition = self.partition;
                    tracing::error!(partition, offset, "a record of the topic of groups is damaged, it is passed over");
                    continue;
                }
                Decoded::Newer(version) => {
                    return Err(Error::Incompatible(format!(
                        "record {offset} of partition {} of the topic of groups has format {version}: a newer weir wrote it",
                        self.partition
                    )));
                }
            };
            if let Some(process) = record.sign_of_life() {
                let sign = view.signs.entry(process).or_insert(Sign { count: 0, seen: now });
                *sign = Sign { count: sign.count + 1, seen: now };
            }
            view.ledger.apply(bytes.len(), record);
        }
        let View { ledger, signs } = &mut *view;
        signs.retain(|process, _| ledger.knows(*process));
        Ok(())
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
