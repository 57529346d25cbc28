//! What was submitted and is not yet written: bounded by bytes, in the order of submission.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prometheus::IntGauge;
use telemetry::Timestamp;
use telemetry::trace::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::manifest::Place;
use crate::contract::AppendError;

/// A submitted group.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) records: Vec<PendingRecord>,
    pub(super) bytes: usize,
    /// Its span `append`, if it is traced.
    pub(super) trace: Option<Context>,
    /// Gets the offsets once they are durable.
    pub(super) done: oneshot::Sender<Result<Vec<u64>, AppendError>>,
    /// Its room in the queue, given back when the group is dropped.
    pub(super) room: OwnedSemaphorePermit,
}

/// A submitted record: it gets its offset when it is written.
#[derive(Debug)]
pub(super) struct PendingRecord {
    pub(super) place: Place,
    pub(super) rows: u32,
    pub(super) payload: Bytes,
    /// When it was appended, if it was moved here from other streams.
    pub(super) appended_at: Option<Timestamp>,
}

/// Next offsets to go up to, of slots; answered once that is durable.
#[derive(Debug)]
pub(super) struct Raise {
    pub(super) to: Vec<(usize, u64)>,
    pub(super) done: oneshot::Sender<Result<(), String>>,
}

/// The queue between submitters and the writer thread.
#[derive(Debug)]
pub(super) struct Queue {
    room: Arc<Semaphore>,
    capacity: usize,
    state: Mutex<State>,
    wake: Condvar,
    bytes: IntGauge,
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<Pending>,
    bytes: usize,
    /// Nothing more is accepted.
    closed: bool,
    /// Retention should look again.
    nudged: bool,
    /// At most one: who moves streams here waits for each.
    raise: Option<Raise>,
}

/// What the writer thread has to do.
pub(super) enum Work {
    /// Write these, then come again.
    Write(Vec<Pending>),
    /// Nothing to write for a while, or positions moved on: look after retention.
    Maintain,
    /// Go up to these offsets: nothing is to be written before.
    Raise(Raise),
    /// Closed, and all is written.
    Stop,
}

impl Queue {
    pub(super) fn new(capacity: usize, bytes: IntGauge) -> Self {
        let room = Arc::new(Semaphore::new(capacity));
        Self { room, capacity, state: Mutex::default(), wake: Condvar::new(), bytes }
    }

    /// Largest group that fits.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Waits for room for `bytes`, at most the capacity; in order of the calls. `None` if the queue is closed.
    pub(super) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.min(self.capacity)).unwrap_or(u32::MAX);
        self.room.clone().acquire_many_owned(permits).await.ok()
    }

    /// Puts a group behind all others; gives it back if the queue is closed.
    pub(super) fn push(&self, group: Pending) -> Result<(), Pending> {
        let mut state = self.lock();
        if state.closed {
            return Err(group);
        }
        state.bytes += group.bytes;
        self.show(&state);
        state.pending.push_back(group);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for groups, and takes as many as fit into `limit` bytes but at least one.
    pub(super) fn take(&self, limit: usize, patience: Duration) -> Work {
        let idle =
            |state: &mut State| state.pending.is_empty() && !state.closed && !state.nudged && state.raise.is_none();
        let (mut state, _) =
            self.wake.wait_timeout_while(self.lock(), patience, idle).unwrap_or_else(PoisonError::into_inner);
        if state.pending.is_empty() {
            if let Some(raise) = state.raise.take() {
                return Work::Raise(raise);
            }
            state.nudged = false;
            return if state.closed { Work::Stop } else { Work::Maintain };
        }
        let mut groups: Vec<Pending> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.pending.front()
            && (groups.is_empty() || bytes + next.bytes <= limit)
        {
            bytes += next.bytes;
            groups.extend(state.pending.pop_front());
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        self.show(&state);
        Work::Write(groups)
    }

    /// Whether retention was asked for since the last call.
    pub(super) fn take_nudge(&self) -> bool {
        std::mem::take(&mut self.lock().nudged)
    }

    /// Asks the writer to look after retention soon.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.wake.notify_one();
    }

    /// Asks the writer to go up to these offsets, once all that is queued is written. One at a time.
    pub(super) fn raise(&self, raise: Raise) {
        self.lock().raise = Some(raise);
        self.wake.notify_one();
    }

    /// Accepts no more; what is queued is still written.
    pub(super) fn close(&self) {
        self.room.close();
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Accepts no more, and gives back what was not written.
    pub(super) fn abandon(&self) -> VecDeque<Pending> {
        self.close();
        let mut state = self.lock();
        state.bytes = 0;
        state.raise = None;
        self.show(&state);
        std::mem::take(&mut state.pending)
    }

    /// Bytes submitted and not yet taken by the writer.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn show(&self, state: &State) {
        self.bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
