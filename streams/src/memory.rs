//! Streams in memory: the model the embedded log is compared with, and what tests of stages run on. Nothing
//! is ever deleted, and nothing survives the process.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use telemetry::Clock;
use tokio::sync::watch;

use crate::contract::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, Record, StreamSpec, Streams,
    Ticket,
};

/// Streams in memory.
#[derive(Debug)]
pub struct MemoryStreams {
    specs: Vec<StreamSpec>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    appended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Partition, Vec<Record>>,
    positions: BTreeMap<(GroupName, Partition), Position>,
}

impl MemoryStreams {
    /// Empty streams.
    #[must_use]
    pub fn new(specs: Vec<StreamSpec>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let mut state = State::default();
        for spec in &specs {
            for index in 0..spec.partitions {
                state.records.insert(Partition::new(spec.name.clone(), index), Vec::new());
            }
        }
        Arc::new(Self { specs, clock, state: Mutex::new(state), appended: watch::Sender::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends all of `group`, or nothing.
    fn append(&self, group: Vec<Append>) -> Result<Vec<u64>, AppendError> {
        let appended_at = self.clock.now();
        let mut state = self.state();
        if let Some(unknown) = group.iter().find(|append| !state.records.contains_key(&append.to)) {
            return Err(AppendError::Refused(Error::UnknownPartition(unknown.to.clone()).to_string()));
        }
        let mut offsets = Vec::with_capacity(group.len());
        for Append { to, rows, payload, trace: _ } in group {
            let records = state.records.entry(to).or_default();
            let offset = count(records);
            records.push(Record { offset, appended_at, rows, payload });
            offsets.push(offset);
        }
        Ok(offsets)
    }
}

#[async_trait]
impl Streams for MemoryStreams {
    fn specs(&self) -> &[StreamSpec] {
        &self.specs
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        let offsets = self.append(group)?;
        self.appended.send_modify(|groups| *groups += 1);
        Ok(Box::pin(std::future::ready(Ok(offsets))))
    }

    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error> {
        let retained = self.bounds(from)?;
        if offset > retained.end {
            return Err(out_of_range(from, offset, &retained));
        }
        let state = self.state();
        let all = state.records.get(from).map_or(&[][..], Vec::as_slice);
        let rest = usize::try_from(offset).ok().and_then(|first| all.get(first..)).unwrap_or_default();
        let mut read = Read { records: Vec::new(), next: offset, lost: 0 };
        let mut bytes = 0;
        for record in rest {
            if !read.records.is_empty() && bytes >= max_bytes {
                break;
            }
            bytes += record.payload.len();
            read.next = record.offset + 1;
            read.records.push(record.clone());
        }
        Ok(read)
    }

    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error> {
        let state = self.state();
        let records = state.records.get(of).ok_or_else(|| Error::UnknownPartition(of.clone()))?;
        Ok(0..count(records))
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error> {
        self.bounds(of)?;
        Ok(self.state().positions.get(&(group.clone(), of.clone())).cloned())
    }

    async fn commit(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        for (of, position) in &positions {
            let retained = self.bounds(of)?;
            if position.offset > retained.end {
                return Err(out_of_range(of, position.offset, &retained));
            }
        }
        let mut state = self.state();
        for (of, position) in positions {
            state.positions.insert((group.clone(), of), position);
        }
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        let of = |((group, partition), position): (&(GroupName, Partition), &Position)| GroupPosition {
            group: group.clone(),
            partition: partition.clone(),
            offset: position.offset,
        };
        Ok(self.state().positions.iter().map(of).collect())
    }
}

fn out_of_range(partition: &Partition, offset: u64, retained: &Range<u64>) -> Error {
    Error::OutOfRange { partition: partition.clone(), offset, start: retained.start, end: retained.end }
}

fn count(records: &[Record]) -> u64 {
    u64::try_from(records.len()).unwrap_or(u64::MAX)
}
