//! A topic in memory, and what can go wrong with an append.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use telemetry::clock::ManualClock;

use crate::contract::Error;
use crate::fluvio::groups::record::{self, Decoded, Record};
use crate::fluvio::topic::Topic;

/// Records of one read: few, so that readers need several.
const READ_RECORDS: usize = 3;

/// What happens to one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// It is not there, and fails.
    Refuse,
    /// It is there, and fails.
    LoseAcknowledgement,
    /// It is there twice.
    Duplicate,
    /// It fails, and is there later.
    Delay,
    /// The process is stopped for some milliseconds before it is there.
    Pause(u16),
}

#[derive(Debug)]
pub(super) struct MemoryTopic {
    state: Mutex<State>,
    clock: Arc<ManualClock>,
}

#[derive(Debug, Default)]
struct State {
    partitions: Vec<Kept>,
    faults: VecDeque<Fault>,
    delayed: VecDeque<(u32, Bytes)>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    start: u64,
    records: Vec<Bytes>,
}

impl MemoryTopic {
    pub(super) fn new(partitions: u32, clock: Arc<ManualClock>) -> Arc<Self> {
        let partitions = (0..partitions).map(|_| Kept::default()).collect();
        Arc::new(Self { state: Mutex::new(State { partitions, ..State::default() }), clock })
    }

    pub(super) fn partitions(&self) -> u32 {
        u32::try_from(self.state.lock().unwrap().partitions.len()).unwrap()
    }

    /// What happens to the next appends.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// What was on its way arrives.
    pub(super) fn deliver_delayed(&self) {
        let mut state = self.state.lock().unwrap();
        while let Some((partition, record)) = state.delayed.pop_front() {
            state.partitions[partition as usize].records.push(record);
        }
    }

    pub(super) fn start(&self, partition: u32) -> u64 {
        self.state.lock().unwrap().partitions[partition as usize].start
    }

    pub(super) fn end(&self, partition: u32) -> u64 {
        let kept = &self.state.lock().unwrap().partitions[partition as usize];
        kept.start + kept.records.len() as u64
    }

    pub(super) fn bytes(&self, partition: u32) -> u64 {
        let kept = &self.state.lock().unwrap().partitions[partition as usize];
        kept.records.iter().map(|record| record.len() as u64).sum()
    }

    /// Records that are as `wanted`.
    pub(super) fn count(&self, partition: u32, wanted: impl Fn(&Record) -> bool) -> usize {
        self.records(partition).iter().filter(|record| wanted(record)).count()
    }

    pub(super) fn records(&self, partition: u32) -> Vec<Record> {
        let kept = self.state.lock().unwrap().partitions[partition as usize].clone();
        let decode = |bytes: &Bytes| match record::decode(bytes) {
            Decoded::Record(record) => record,
            other => panic!("{other:?}"),
        };
        kept.records.iter().map(decode).collect()
    }

    /// Deletes the oldest records, down to `bytes`.
    pub(super) fn delete_all_but(&self, partition: u32, bytes: u64) {
        while self.bytes(partition) > bytes {
            let kept = &mut self.state.lock().unwrap().partitions[partition as usize];
            kept.records.remove(0);
            kept.start += 1;
        }
    }
}

#[async_trait]
impl Topic for MemoryTopic {
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, Error> {
        let mut state = self.state.lock().unwrap();
        let fault = state.faults.pop_front().unwrap_or(Fault::None);
        if let Fault::Pause(millis) = fault {
            self.clock.advance(Duration::from_millis(millis.into()));
        }
        let copies = match fault {
            Fault::Refuse => 0,
            Fault::Delay => {
                state.delayed.push_back((partition, record.clone()));
                0
            }
            Fault::Duplicate => 2,
            Fault::None | Fault::LoseAcknowledgement | Fault::Pause(_) => 1,
        };
        let kept = &mut state.partitions[partition as usize];
        let offset = kept.start + kept.records.len() as u64;
        kept.records.extend(std::iter::repeat_n(record, copies));
        match fault {
            Fault::Refuse | Fault::LoseAcknowledgement | Fault::Delay => Err(Error::Unavailable(format!("{fault:?}"))),
            Fault::None | Fault::Duplicate | Fault::Pause(_) => Ok(offset),
        }
    }

    async fn read(&self, partition: u32, from: u64, _wait: Duration) -> Result<Vec<(u64, Bytes)>, Error> {
        let kept = &self.state.lock().unwrap().partitions[partition as usize];
        let skip = usize::try_from(from.checked_sub(kept.start).expect("deleted records are not asked for")).unwrap();
        Ok((from..).zip(kept.records.iter().skip(skip).take(READ_RECORDS).cloned()).collect())
    }

    async fn bounds(&self, partition: u32) -> Result<Range<u64>, Error> {
        let kept = &self.state.lock().unwrap().partitions[partition as usize];
        Ok(kept.start..kept.start + kept.records.len() as u64)
    }
}
