//! Appends: one queue and one writer a partition, one flight under way in each.
//!
//! A flight that no acknowledgement came for is sent again, whole, with the same sequences, until one comes; the next
//! waits. So nothing is ever overtaken, and whatever the cluster has twice is recognised by its sequence.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fluvio::dataplane::record::{Batch, RawRecords};
use prometheus::IntGauge;
use telemetry::Timestamp;
use telemetry::trace::{Context, Tracing};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::bounds::Bounds;
use super::cluster::{Cluster, Place};
use super::connection::Connection;
use super::envelope::{Envelope, HEADER, Kind};
use super::limits::{FLIGHT_BYTES, FLIGHT_RECORDS, RECORD_OVERHEAD, pause};
use super::produce::{Refusal, produce};
use super::records::Packer;
use crate::contract::{AppendError, Partition, Ticket};
use crate::spans::Commits;

/// A record to append.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) kind: Kind,
    /// Writer and sequence of a record that has them already.
    pub(super) identity: Option<(u64, u64)>,
    pub(super) rows: u32,
    pub(super) appended_at: Timestamp,
    pub(super) payload: Bytes,
    /// What is added to the offset of the cluster.
    pub(super) base: u64,
    /// The span `append` of its group, if that is traced.
    pub(super) trace: Option<Context>,
}

/// Room for all that waits, and the order of submission.
#[derive(Debug)]
pub(super) struct Producer {
    room: Arc<Semaphore>,
    bytes: u32,
    /// Held while a group is queued, so that two groups come in the same order into all partitions.
    order: Mutex<()>,
    failed: watch::Sender<Option<String>>,
    waiting: IntGauge,
}

/// What waits to be appended to one partition.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Pending>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Pending {
    record: Outgoing,
    group: Arc<Group>,
    /// Index in the group.
    index: usize,
}

/// Records submitted together.
#[derive(Debug)]
struct Group {
    state: Mutex<GroupState>,
    _room: Room,
}

/// Room taken up, until it is dropped.
#[derive(Debug)]
struct Room {
    permit: OwnedSemaphorePermit,
    waiting: IntGauge,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.sub(i64::try_from(self.permit.num_permits()).unwrap_or(0));
    }
}

#[derive(Debug)]
struct GroupState {
    offsets: Vec<u64>,
    left: usize,
    done: Option<oneshot::Sender<Result<Vec<u64>, AppendError>>>,
}

impl Producer {
    pub(super) fn new(bytes: usize, failed: watch::Sender<Option<String>>, waiting: IntGauge) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { room, bytes, order: Mutex::new(()), failed, waiting }
    }

    /// Bytes submitted and not acknowledged.
    pub(super) fn waiting_bytes(&self) -> u64 {
        u64::from(self.bytes).saturating_sub(u64::try_from(self.room.available_permits()).unwrap_or(u64::MAX))
    }

    /// Waits until everything submitted is acknowledged.
    pub(super) async fn drained(&self) {
        // Fair: it is granted after all that wait for room now. An error means that the semaphore is closed: never.
        drop(self.room.acquire_many(self.bytes).await);
    }

    /// Waits for room, then queues `group` behind all that was queued before.
    pub(super) async fn submit(&self, group: Vec<(Arc<Queue>, Outgoing)>) -> Result<Ticket, AppendError> {
        let failed = self.failed.borrow().clone();
        if let Some(why) = failed {
            return Err(AppendError::Failed(why));
        }
        let cost: usize = group.iter().map(|(_, record)| record.payload.len() + RECORD_OVERHEAD).sum();
        let cost = u32::try_from(cost).unwrap_or(u32::MAX).min(self.bytes);
        let room = self.room.clone().acquire_many_owned(cost).await;
        let permit = room.map_err(|_| AppendError::Failed("streams are closed".to_owned()))?;
        self.waiting.add(i64::from(cost));
        let room = Room { permit, waiting: self.waiting.clone() };
        if group.is_empty() {
            return Ok(Box::pin(std::future::ready(Ok(Vec::new()))));
        }
        let (done, outcome) = oneshot::channel();
        let state = GroupState { offsets: vec![0; group.len()], left: group.len(), done: Some(done) };
        let shared = Arc::new(Group { state: Mutex::new(state), _room: room });
        let ordered = lock(&self.order);
        for (index, (queue, record)) in group.into_iter().enumerate() {
            lock(&queue.waiting).push_back(Pending { record, group: shared.clone(), index });
            queue.arrived.notify_one();
        }
        drop(ordered);
        Ok(Box::pin(async move {
            outcome
                .await
                .unwrap_or_else(|_| Err(AppendError::Failed("streams were closed before the append".to_owned())))
        }))
    }
}

impl Queue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), arrived: Notify::new() })
    }

    /// Waits for records; as many as go in one flight.
    async fn flight(&self) -> Vec<Pending> {
        loop {
            let flight = self.take();
            if !flight.is_empty() {
                return flight;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Vec<Pending> {
        let mut waiting = lock(&self.waiting);
        let (mut flight, mut bytes) = (Vec::new(), 0);
        while let Some(pending) = waiting.front() {
            let len = pending.record.payload.len();
            if !flight.is_empty() && (flight.len() >= FLIGHT_RECORDS || bytes + len > FLIGHT_BYTES) {
                break;
            }
            bytes += len;
            flight.extend(waiting.pop_front());
        }
        flight
    }
}

impl Group {
    /// Record `index` is at `offset`.
    fn appended(&self, index: usize, offset: u64) {
        let mut state = lock(&self.state);
        if let Some(slot) = state.offsets.get_mut(index) {
            *slot = offset;
        }
        state.left -= 1;
        if state.left == 0 {
            let offsets = std::mem::take(&mut state.offsets);
            answer(state.done.take(), Ok(offsets));
        }
    }

    fn failed(&self, why: &str) {
        answer(lock(&self.state).done.take(), Err(AppendError::Failed(why.to_owned())));
    }
}

/// A ticket that was dropped is nobody's business.
fn answer(done: Option<oneshot::Sender<Result<Vec<u64>, AppendError>>>, outcome: Result<Vec<u64>, AppendError>) {
    if let Some(Err(unwanted)) = done.map(|done| done.send(outcome)) {
        drop(unwanted);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer of one partition.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) cluster: Arc<Cluster>,
    pub(super) bounds: Arc<Bounds>,
    pub(super) queue: Arc<Queue>,
    pub(super) place: Place,
    /// What `place` is the place of.
    pub(super) to: Partition,
    /// Identity of this process.
    pub(super) id: u64,
    pub(super) tracing: Tracing,
    /// Set when an append can never succeed.
    pub(super) failed: watch::Sender<Option<String>>,
}

impl Writer {
    /// Appends what comes, until it is aborted.
    pub(super) async fn run(self) {
        let (mut connection, mut sequence, mut end) = (None, 0, 0);
        loop {
            let flight = self.queue.flight().await;
            let why = self.failed.borrow().clone();
            let outcome = match why {
                Some(why) => Err(why),
                None => self.append(&mut connection, &mut sequence, &flight).await,
            };
            match outcome {
                Ok(first) => end = self.appended(flight, first, end),
                Err(why) => {
                    tracing::error!(topic = %self.place.0, partition = self.place.1, error = why, "an append failed for good");
                    flight.iter().for_each(|pending| pending.group.failed(&why));
                    self.failed.send_replace(Some(why));
                }
            }
        }
    }

    /// Sends `flight` until the cluster has it.
    async fn append(
        &self,
        connection: &mut Option<Connection>,
        sequence: &mut u64,
        flight: &[Pending],
    ) -> Result<u64, String> {
        let mut packer = Packer::default();
        for Pending { record, .. } in flight {
            let (writer, sequence) = record.identity.unwrap_or_else(|| (self.id, next(sequence)));
            let Outgoing { kind, rows, appended_at, ref payload, .. } = *record;
            let envelope = Envelope { kind, writer, sequence, rows, appended_at };
            packer.add(HEADER + payload.len(), |out| envelope.put(payload, out));
        }
        let clock = &self.cluster.clock;
        let commits = Commits::begin(&self.tracing, &**clock, flight.iter().map(|pending| pending.record.trace));
        let (mut resends, batch) = (0, packer.batch(clock.now()));
        let outcome = self.send(connection, batch, &mut resends).await;
        if let Some(commits) = commits {
            self.report(commits.until(clock.now()), resends, &outcome);
        }
        outcome
    }

    /// Sends `batch` until the cluster has it, and counts how often again.
    async fn send(
        &self,
        connection: &mut Option<Connection>,
        batch: Batch<RawRecords>,
        failures: &mut u32,
    ) -> Result<u64, String> {
        let since = self.cluster.clock.monotonic();
        loop {
            match produce(&self.cluster, connection, &self.place, batch.clone()).await {
                Ok(first) => {
                    let took = self.cluster.clock.monotonic().saturating_sub(since);
                    self.cluster.metrics.seconds.with_label_values(&[&*self.place.0]).observe(took.as_secs_f64());
                    if *failures > 0 {
                        tracing::info!(topic = %self.place.0, partition = self.place.1, resends = *failures, "appending again");
                    }
                    return Ok(first);
                }
                Err(Refusal::Never(why)) => return Err(why),
                Err(Refusal::Unsure(error)) => {
                    *failures += 1;
                    self.cluster.metrics.resends.with_label_values(&[&*self.place.0]).inc();
                    if *failures == 1 {
                        tracing::warn!(%error, "no acknowledgement; sending again until there is one");
                    }
                    self.cluster.doubt().await;
                    tokio::time::sleep(pause(u64::from(self.place.1), *failures)).await;
                }
            }
        }
    }

    /// Says of each group in a flight that is traced what the cluster needed for its records in this partition.
    fn report(&self, commits: Commits, resends: u32, outcome: &Result<u64, String>) {
        let error = outcome.as_ref().err().map(String::as_str);
        commits.report(&self.tracing, error, |span| {
            let span = span
                .with("messaging.destination.name", self.to.stream.as_str())
                .with("messaging.destination.partition.id", self.to.index.to_string());
            if resends > 0 { span.with("weir.attempt", i64::from(resends) + 1) } else { span }
        });
    }

    /// The cluster has `flight`, its first record at `first`; all it had before ended at `end`. The new end.
    fn appended(&self, flight: Vec<Pending>, first: u64, end: u64) -> u64 {
        let topic = [&*self.place.0];
        if first < end {
            tracing::error!(
                topic = topic[0],
                partition = self.place.1,
                end,
                appended = first,
                "the cluster lost records"
            );
            self.cluster.metrics.went_back.with_label_values(&topic).inc();
        }
        let records = u64::try_from(flight.len()).unwrap_or(0);
        let bytes: usize = flight.iter().map(|pending| pending.record.payload.len()).sum();
        self.cluster.metrics.records.with_label_values(&topic).inc_by(records);
        self.cluster.metrics.bytes.with_label_values(&topic).inc_by(u64::try_from(bytes).unwrap_or(0));
        // Before the tickets: who awaited one finds its records.
        self.bounds.raise(&self.place, first + records);
        for (pending, offset) in flight.into_iter().zip(first..) {
            pending.group.appended(pending.index, offset + pending.record.base);
        }
        first + records
    }
}

fn next(sequence: &mut u64) -> u64 {
    *sequence += 1;
    *sequence - 1
}
