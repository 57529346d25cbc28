//! What the log shows when it is opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use telemetry::clock::ManualClock;
use telemetry::trace::Tracing;
use tokio::runtime::Runtime;

use super::promise::{Held, Mark, Sent};
use super::recorder::Recorder;
use crate::contract::{Append, Partition, StreamName, StreamSpec, Streams};
use crate::log::disk::Disk;
use crate::log::{EmbeddedLog, LogConfig, LogMetrics, read};

/// Groups that commit positions, and what they read.
pub(in crate::log) const GROUPS: [(&str, &str); 3] =
    [("rules", "readings"), ("sink/readings", "readings"), ("sink/alerts", "alerts")];

/// What a log shows.
#[derive(Clone, Debug)]
pub(in crate::log) struct Seen {
    pub(in crate::log) slots: Vec<Slot>,
    pub(in crate::log) held: BTreeMap<&'static str, Held>,
    pub(in crate::log) quarantined: u64,
    pub(in crate::log) damaged_bytes: u64,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::log) struct Slot {
    pub(in crate::log) start: u64,
    pub(in crate::log) end: u64,
    pub(in crate::log) records: Vec<(u64, Bytes)>,
}

/// What every log of the model is opened with.
#[derive(Debug)]
pub(in crate::log) struct Opener {
    pub(in crate::log) runtime: Runtime,
    metrics: LogMetrics,
    clock: Arc<ManualClock>,
}

impl Opener {
    pub(in crate::log) fn new() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(text)?;
        let metrics = LogMetrics::register(&prometheus::Registry::new()).map_err(text)?;
        let clock = ManualClock::new(telemetry::Timestamp::from_micros(1_700_000_000_000_000));
        Ok(Self { runtime, metrics, clock })
    }

    pub(in crate::log) fn open(&self, disk: Arc<dyn Disk>, config: LogConfig) -> Result<Arc<EmbeddedLog>, String> {
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        EmbeddedLog::open_on(disk, config, specs(), clock, Tracing::default(), metrics).map_err(text)
    }

    /// Appends a group and waits until all that follows from it is done. `Ok(false)` if the log failed.
    pub(in crate::log) fn append(
        &self,
        log: &EmbeddedLog,
        recorder: Option<&Recorder>,
        records: Vec<(usize, Vec<u8>)>,
    ) -> Result<bool, String> {
        let (group, sent) = group(log, records)?;
        let expected: Vec<u64> = sent.iter().map(|(_, offset, _)| *offset).collect();
        let Some(recorder) = recorder else {
            let answer = self.runtime.block_on(async { log.submit(group).await?.await });
            return match answer {
                Ok(offsets) if offsets == expected => Ok(true),
                answer => Err(format!("an append after the restart gives {answer:?} instead of {expected:?}")),
            };
        };
        {
            // Nothing is written before the recorder knows what was submitted, and whom to ask for the answer.
            let mut tape = recorder.pause();
            tape.mark(Mark::Submitted(sent));
            match log.submit(group).now_or_never() {
                Some(Ok(ticket)) => tape.watch(ticket),
                Some(Err(_)) => return Ok(false),
                None => return Err("no room in the queue of an idle log".to_owned()),
            }
        }
        Ok(self.settle(log))
    }

    /// Waits until the writer is idle; `false` if the log failed. Answers come before sealing and deletion, so
    /// the second empty group waits for what the first had started.
    pub(in crate::log) fn settle(&self, log: &EmbeddedLog) -> bool {
        let idle = async {
            for _ in 0..2 {
                log.submit(Vec::new()).await?.await?;
            }
            Ok::<(), crate::contract::AppendError>(())
        };
        self.runtime.block_on(idle).is_ok()
    }
}

impl Seen {
    /// Everything that `log` shows.
    pub(in crate::log) fn of(log: &EmbeddedLog) -> Result<Self, String> {
        let recovery = log.recovery();
        let mut seen = Self {
            slots: Vec::new(),
            held: BTreeMap::new(),
            quarantined: recovery.quarantined_records,
            damaged_bytes: recovery.damaged_bytes,
        };
        for partition in partitions() {
            seen.slots.push(slot(log, &partition)?);
        }
        for (group, _) in GROUPS {
            seen.held.insert(group, held(log, group)?);
        }
        Ok(seen)
    }
}

/// Positions that the store shows.
pub(in crate::log) fn held(log: &EmbeddedLog, group: &str) -> Result<Held, String> {
    let mut held = Held::new();
    for (slot, partition) in partitions().iter().enumerate() {
        if let Some(position) = log.shared.positions.get(group, partition).map_err(text)? {
            held.insert(slot, (position.offset, position.state));
        }
    }
    Ok(held)
}

fn slot(log: &EmbeddedLog, of: &Partition) -> Result<Slot, String> {
    let bounds = log.bounds(of).map_err(text)?;
    let place = log.shared.layout.find(of).ok_or("no place")?;
    let (mut records, mut offset) = (Vec::new(), bounds.start);
    while offset < bounds.end {
        let read = read::read(&log.shared, of, place, offset, 1 << 20).map_err(text)?;
        records.extend(read.records.into_iter().map(|record| (record.offset, record.payload)));
        if read.lost > 0 || read.next == offset {
            return Err(format!("{of}: {} records lost at {offset}", read.lost));
        }
        offset = read.next;
    }
    Ok(Slot { start: bounds.start, end: bounds.end, records })
}

fn group(log: &EmbeddedLog, records: Vec<(usize, Vec<u8>)>) -> Result<(Vec<Append>, Vec<Sent>), String> {
    let partitions = partitions();
    let mut next: BTreeMap<usize, u64> = BTreeMap::new();
    let (mut group, mut sent) = (Vec::new(), Vec::new());
    for (slot, payload) in records {
        let Some(to) = partitions.get(slot) else { continue };
        let end = log.bounds(to).map_err(text)?.end;
        let offset = next.entry(slot).or_insert(end);
        let payload = Bytes::from(payload);
        sent.push((slot, *offset, payload.clone()));
        group.push(Append::new(to.clone(), 1, payload));
        *offset += 1;
    }
    Ok((group, sent))
}

/// The streams of the model.
pub(in crate::log) fn specs() -> Vec<StreamSpec> {
    let spec = |name, partitions| StreamSpec { name, partitions };
    vec![spec(StreamName::readings(), 2), spec(StreamName::alerts(), 1)]
}

/// Their partitions, in order of slot.
pub(in crate::log) fn partitions() -> [Partition; 3] {
    let readings = |index| Partition::new(StreamName::readings(), index);
    [readings(0), readings(1), Partition::new(StreamName::alerts(), 0)]
}

pub(in crate::log) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
