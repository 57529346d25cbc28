//! The way in, for every door: a message goes into the open group, and is acknowledged when its group is
//! durable.
//!
//! There is no timer. A group is taken for commit as soon as the streams can begin another one, and collects
//! what arrives until then; so a lone message waits for one sync, and under load groups grow by themselves.
//!
//! A message that is traced has a span, `receive`, and its context goes into its record; the group that it is in has
//! one, too, `append` ([ADR 18](../../../docs/adr/0018-tracing.md)).
//!
//! In reading order: `incoming` (a message), `taking` (its way into the open group), `group`, `committer` and `thread`,
//! `bell` (who hears of it), `receiving` and `appending` (spans).

mod appending;
mod bell;
mod committer;
mod group;
mod incoming;
mod receiving;
mod taking;
mod thread;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use telemetry::trace::Tracing;
use telemetry::{Clock, Rejection, Timestamp};
use tokio::sync::{Notify, watch};

use crate::admission::{Admission, Routes};
use crate::live::{Audience, LiveReading};
use crate::metrics::{IngestMetrics, Passage};

pub(crate) use bell::Bell;
pub(crate) use committer::{Committer, Unfit};
use group::Group;
pub(crate) use group::{Encoded, Tally};
pub use incoming::{Closed, Incoming, Receipt};
pub(crate) use receiving::Receiving;
use taking::Arrival;
pub(crate) use taking::{Taken, Until};
pub(crate) use thread::CommitThread;

/// Whether messages are acknowledged, and if not why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngestState {
    /// Messages are taken and acknowledged.
    Accepting,
    /// Nothing is acknowledged: the streams hold as much as they may for consumers that have not passed it.
    Full {
        /// Bytes in the streams.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// Nothing more is taken; what was is being committed.
    Stopping,
    /// Nothing will be acknowledged until a restart.
    Failed(String),
}

/// A handle to the way in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: Mutex<Open>,
    /// Size of the open group, for those who only want to know whether there is room.
    open_bytes: AtomicUsize,
    most_open_bytes: usize,
    closed: AtomicBool,
    durable: AtomicU64,
    durable_changes: watch::Sender<u64>,
    room: Notify,
    work: Notify,
    bells: Mutex<Vec<Arc<Bell>>>,
    state: watch::Sender<IngestState>,
    failed: watch::Sender<Option<String>>,
    audience: Audience,
    admission: Admission,
    /// Those of other doors, for what is put back.
    routes: Mutex<Vec<Arc<Routes>>>,
    partitions: u32,
    clock: Arc<dyn Clock>,
    tracing: Tracing,
    metrics: IngestMetrics,
}

#[derive(Debug)]
struct Open {
    group: Group,
    /// Decided under the lock, so that everything taken before is committed and nothing is taken after.
    closed: bool,
}

impl Intake {
    pub(crate) fn new(
        admission: Admission,
        partitions: u32,
        most_open_bytes: usize,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        metrics: IngestMetrics,
    ) -> Self {
        let mut group = Group::new(partitions);
        group.number = 1;
        Self {
            shared: Arc::new(Shared {
                open: Mutex::new(Open { group, closed: false }),
                open_bytes: AtomicUsize::new(0),
                most_open_bytes,
                closed: AtomicBool::new(false),
                durable: AtomicU64::new(0),
                durable_changes: watch::Sender::new(0),
                room: Notify::new(),
                work: Notify::new(),
                bells: Mutex::default(),
                state: watch::Sender::new(IngestState::Accepting),
                failed: watch::Sender::new(None),
                audience: Audience::default(),
                admission,
                routes: Mutex::default(),
                partitions,
                clock,
                tracing,
                metrics,
            }),
        }
    }

    /// Puts a message into the open group, or, if it is refused, whole into that group's dead letters.
    /// Never waits; callers look at [`Intake::has_room`] before they read on.
    ///
    /// # Errors
    /// [`Closed`]: the message was not taken.
    pub fn accept(&self, incoming: &Incoming<'_>) -> Result<Receipt, Closed> {
        self.receive(None, incoming, Until::Durable).map(|taken| taken.receipt)
    }

    /// As [`Intake::accept`], by the rules `admission`.
    ///
    /// # Errors
    /// [`Closed`]: the message was not taken.
    pub fn accept_by(&self, admission: &Admission, incoming: &Incoming<'_>) -> Result<Receipt, Closed> {
        self.receive(Some(admission), incoming, Until::Durable).map(|taken| taken.receipt)
    }

    /// Puts a message, whole, into the open group's dead letters, because of `rejection`.
    ///
    /// # Errors
    /// [`Closed`]: the message was not taken.
    pub fn refuse(&self, incoming: &Incoming<'_>, rejection: &Rejection) -> Result<Receipt, Closed> {
        self.receive_refused(incoming, rejection, Until::Durable).map(|taken| taken.receipt)
    }

    /// Puts a message that was refused before back into the open group, and waits until that is durable. Its
    /// identity is what it was, so a message that is put back twice is in the table once. `received_at` is when it
    /// first came: what it says of times without naming them is meant from there, and its rows say so. Whether it
    /// is too far in the future is judged by now. Refused again ([`Receipt::is_refused`]), it is a new dead letter.
    ///
    /// For many at a time: [`Intake::room`], [`Intake::accept_again`] for each, [`Intake::durable`] of the last.
    ///
    /// # Errors
    /// [`Closed`]: it may have been taken or not, put it back again.
    pub async fn put_back(&self, incoming: &Incoming<'_>, received_at: Timestamp) -> Result<Receipt, Closed> {
        self.room().await?;
        let receipt = self.accept_again(incoming, received_at)?;
        self.durable(receipt.group).await?;
        Ok(receipt)
    }

    /// As [`Intake::put_back`], without waiting for room before or durability after. What came through a door with
    /// rules of its own, by its client id, goes by those again.
    ///
    /// # Errors
    /// [`Closed`]: the message was not taken.
    pub fn accept_again(&self, incoming: &Incoming<'_>, received_at: Timestamp) -> Result<Receipt, Closed> {
        let now = self.shared.clock.now();
        // A clock set back since then does not make it a message from the future.
        let routes = self.shared.routes_of(incoming.client_id);
        let admission = routes.as_ref().and_then(|routes| routes.admission(incoming.topic));
        let arrival = Arrival { received_at, now: now.max(received_at), until: Until::Durable };
        let taken = self.shared.take_in(admission.unwrap_or(&self.shared.admission), incoming, arrival)?;
        Ok(taken.receipt)
    }

    /// Whether the open group is below its bound.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.open_bytes.load(Ordering::Relaxed) < self.shared.most_open_bytes
    }

    /// Waits until the open group is below its bound.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn room(&self) -> Result<(), Closed> {
        loop {
            let room = self.shared.room.notified();
            if self.is_closed() {
                return Err(Closed);
            }
            if self.has_room() {
                return Ok(());
            }
            room.await;
        }
    }

    /// Waits until `group` is durable.
    ///
    /// # Errors
    /// [`Closed`] if that will never be known: the intake failed.
    pub async fn durable(&self, group: u64) -> Result<(), Closed> {
        let mut durable = self.shared.durable_changes.subscribe();
        let mut failed = self.failed();
        tokio::select! {
            biased;
            reached = durable.wait_for(|durable| *durable >= group) => reached.map(|_| ()).map_err(|_| Closed),
            _ = failed.wait_for(Option::is_some) => Err(Closed),
        }
    }

    /// The last durable group; all before it are durable too.
    #[must_use]
    pub fn last_durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Whether nothing more is taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Whether messages are acknowledged.
    #[must_use]
    pub fn state(&self) -> IngestState {
        self.shared.state.borrow().clone()
    }

    /// Set, once, when nothing will be acknowledged any more; says why.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.subscribe()
    }

    /// What went through all doors of this intake since the start.
    #[must_use]
    pub fn passage(&self) -> Passage {
        self.shared.metrics.passage()
    }

    pub(crate) fn state_changes(&self) -> watch::Receiver<IngestState> {
        self.shared.state.subscribe()
    }

    /// Takes nothing more from now on; what was taken is still committed.
    pub(crate) fn close(&self) {
        self.shared.close(IngestState::Stopping);
    }

    /// Gives up: nothing is acknowledged from now on. The first reason stays.
    pub(crate) fn fail(&self, why: &str) {
        self.shared.fail(why);
    }

    /// What came in by `routes` and was refused is put back by them, too.
    pub(crate) fn add_routes(&self, routes: Arc<Routes>) {
        let mut all = self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.client_id != routes.client_id);
        all.push(routes);
    }

    /// The last durable group, as it changes.
    pub(crate) fn durable_changes(&self) -> watch::Receiver<u64> {
        self.shared.durable_changes.subscribe()
    }

    pub(crate) fn add_bell(&self, bell: Arc<Bell>) {
        self.shared.bells.lock().unwrap_or_else(PoisonError::into_inner).push(bell);
    }

    pub(crate) fn ring(&self) {
        self.shared.ring();
    }

    pub(crate) fn audience(&self) -> &Audience {
        &self.shared.audience
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    pub(crate) fn metrics(&self) -> &IngestMetrics {
        &self.shared.metrics
    }
}

impl Shared {
    fn routes_of(&self, client_id: &str) -> Option<Arc<Routes>> {
        let all = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|routes| *routes.client_id == *client_id).cloned()
    }

    fn set_open_bytes(&self, bytes: usize) {
        self.open_bytes.store(bytes, Ordering::Relaxed);
        self.metrics.open_group_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The open group, unless the intake is closed. A panic while it was held may have left half a message
    /// in it: nothing of it may be committed.
    fn open(&self) -> Result<MutexGuard<'_, Open>, Closed> {
        let Ok(open) = self.open.lock() else {
            self.fail("a thread panicked while it added to the open group");
            return Err(Closed);
        };
        if open.closed { Err(Closed) } else { Ok(open) }
    }

    /// Swaps the open group for the empty `next`, unless there is nothing in it.
    fn take(&self, next: &mut Option<Group>) -> Result<Option<Group>, Unfit> {
        let mut open = self.open.lock().map_err(|_| Unfit::Panicked)?;
        if open.group.is_empty() {
            return Ok(None);
        }
        let mut fresh = next.take().unwrap_or_else(|| Group::new(self.partitions));
        fresh.number = open.group.number + 1;
        let taken = std::mem::replace(&mut open.group, fresh);
        self.set_open_bytes(0);
        drop(open);
        if taken.bytes >= self.most_open_bytes {
            self.room.notify_waiters();
            self.ring();
        }
        Ok(Some(taken))
    }

    fn close(&self, state: IngestState) {
        // Even a poisoned group is only marked here.
        self.open.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.closed.store(true, Ordering::Release);
        self.state.send_modify(|current| {
            if !matches!(current, IngestState::Failed(_)) {
                *current = state;
            }
        });
        self.work.notify_one();
        self.room.notify_waiters();
        self.ring();
    }

    fn fail(&self, why: &str) {
        let first = self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| why.to_owned());
            first
        });
        if first {
            tracing::error!(why, "ingest failed, nothing more is acknowledged");
        }
        self.close(IngestState::Failed(why.to_owned()));
    }

    fn set_durable(&self, group: u64) {
        self.durable.store(group, Ordering::Release);
        self.durable_changes.send_replace(group);
    }

    fn ring(&self) {
        for bell in self.bells.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            bell.ring();
        }
    }

    fn publish_live(&self, readings: Vec<LiveReading>, mut dropped: usize) {
        if !readings.is_empty() {
            let readings: Arc<[LiveReading]> = readings.into();
            for bell in self.bells.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                dropped += bell.push_live(readings.clone());
            }
        }
        self.metrics.live_dropped.inc_by(u64::try_from(dropped).unwrap_or(0));
    }
}
