//! Takes the open group, makes it durable, and says so: the one place from which acknowledgements follow.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use streams::faults::{Point, Tooth, point, tooth};
use streams::{Append, AppendError, Streams, Ticket};

use super::appending::Appending;
use super::group::{Encoded, Encoders, Group, Tally};
use super::receiving::Receiving;
use super::{IngestState, Intake, Shared};
use crate::live::LiveReading;

/// Groups being committed at a time: while one is synced the next is encoded and queued.
const GROUPS_IN_FLIGHT: usize = 2;
/// How often a group that found the streams full is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Why nothing can be committed any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// Half a message may be in the open group.
    #[error("a thread panicked while it added to the open group")]
    Panicked,
    /// A bug: rows that do not fit their schema.
    #[error("cannot encode a group: {0}")]
    Encode(#[from] arrow::error::ArrowError),
    /// The streams refused for good.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Commits groups in order until the intake is closed and empty.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    streams: Arc<dyn Streams>,
    encoders: Encoders,
    /// Not yet durable, oldest first.
    flights: VecDeque<Flight>,
    spare: Option<Group>,
    full: bool,
}

struct Flight {
    group: u64,
    tally: Tally,
    encoded: Encoded,
    live: Vec<LiveReading>,
    live_dropped: usize,
    appends: Vec<Append>,
    /// Its span, if something in it is traced.
    appending: Option<Box<Appending>>,
    /// Spans that end when it is durable.
    receiving: Vec<Receiving>,
    stage: Stage,
}

enum Stage {
    /// To be submitted, after those before it.
    Waiting,
    Submitted(Ticket),
    Durable,
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("group", &self.group).field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl Committer {
    pub(crate) fn new(intake: &Intake, streams: Arc<dyn Streams>) -> Result<Self, Unfit> {
        Ok(Self {
            shared: intake.shared.clone(),
            streams,
            encoders: Encoders::new()?,
            flights: VecDeque::with_capacity(GROUPS_IN_FLIGHT),
            spare: None,
            full: false,
        })
    }

    /// Runs until the intake is closed and everything taken is durable, or nothing can be any more: then
    /// the intake has failed.
    pub(crate) async fn run(mut self) {
        let mut watch = FailOnDrop { shared: self.shared.clone(), armed: true };
        if let Err(unfit) = self.commit_all().await {
            let why = unfit.to_string();
            self.shared.fail(&why);
            self.give_up(&why);
        }
        watch.armed = false;
    }

    async fn commit_all(&mut self) -> Result<(), Unfit> {
        loop {
            self.take()?;
            self.submit_waiting().await?;
            if self.flights.is_empty() && self.shared.closed.load(Ordering::Acquire) {
                // Closed under the lock: what is in the open group now is all there will be.
                self.take()?;
                if self.flights.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let wants_more = self.flights.len() < GROUPS_IN_FLIGHT;
            let full = self.full;
            tokio::select! {
                biased;
                result = oldest_ticket(&mut self.flights) => self.settle(result)?,
                () = self.shared.work.notified(), if wants_more => {}
                () = tokio::time::sleep(RETRY), if full => self.full = false,
            }
        }
    }

    /// Takes the open group if another one may be in flight.
    fn take(&mut self) -> Result<(), Unfit> {
        if self.flights.len() >= GROUPS_IN_FLIGHT {
            return Ok(());
        }
        let Some(mut taken) = self.shared.take(&mut self.spare)? else { return Ok(()) };
        point(Point::GroupTaken);
        let tally = taken.tally;
        let mut appends = taken.encode(&mut self.encoders)?;
        let tracing = &self.shared.tracing;
        tracing.contexts_left_out(std::mem::take(&mut taken.left_out));
        let traced = std::mem::take(&mut taken.traced);
        let flight = Flight {
            group: taken.number,
            tally,
            encoded: taken.encoded,
            live: std::mem::take(&mut taken.live),
            live_dropped: std::mem::take(&mut taken.live_dropped),
            appending: Appending::new(tracing, traced, tally.messages, &mut appends, &*self.shared.clock),
            appends,
            receiving: std::mem::take(&mut taken.receiving),
            stage: Stage::Waiting,
        };
        self.shared.metrics.taken(&flight.tally);
        self.shared.metrics.received_messages.inc_by(flight.tally.messages);
        self.shared.metrics.received_readings.inc_by(flight.tally.readings);
        self.shared.metrics.ignored_fields.inc_by(flight.tally.ignored_fields);
        self.flights.push_back(flight);
        self.spare = Some(taken);
        Ok(())
    }

    /// Submits what waits, in order, up to the first group that finds no room.
    async fn submit_waiting(&mut self) -> Result<(), Unfit> {
        for flight in &mut self.flights {
            if !matches!(flight.stage, Stage::Waiting) {
                continue;
            }
            if self.full {
                return Ok(());
            }
            if let Some(appending) = &mut flight.appending {
                appending.submitted(self.shared.clock.now());
            }
            // The payloads are shared, not copied: the group is kept for a retry.
            match self.streams.submit(flight.appends.clone()).await {
                Ok(ticket) => {
                    flight.stage = Stage::Submitted(ticket);
                    if tooth(Tooth::AckBeforeSync) {
                        self.shared.set_durable(flight.group);
                        self.shared.ring();
                    }
                    set_accepting(&self.shared);
                }
                Err(AppendError::Full { used, quota }) => {
                    self.full = true;
                    set_full(&self.shared, used, quota);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes the outcome of the oldest submitted group, and publishes what is durable without a gap.
    fn settle(&mut self, result: Result<Vec<u64>, AppendError>) -> Result<(), Unfit> {
        let Some(flight) = self.flights.iter_mut().find(|flight| matches!(flight.stage, Stage::Submitted(_))) else {
            return Ok(());
        };
        match result {
            Ok(offsets) => {
                flight.stage = Stage::Durable;
                if let Some(appending) = &mut flight.appending {
                    appending.durable(self.shared.clock.now(), &offsets);
                }
            }
            Err(AppendError::Full { used, quota }) => {
                flight.stage = Stage::Waiting;
                self.full = true;
                set_full(&self.shared, used, quota);
            }
            Err(error) => return Err(error.into()),
        }
        while let Some(flight) = self.flights.pop_front_if(|flight| matches!(flight.stage, Stage::Durable)) {
            self.shared.metrics.durable(&flight.tally, &flight.encoded);
            self.shared.set_durable(flight.group);
            self.shared.publish_live(flight.live, flight.live_dropped);
            self.shared.ring();
            // Last: nobody waits for it.
            self.shared.end_received(flight.receiving, None);
            if let Some(appending) = flight.appending {
                appending.report(&self.shared.tracing);
            }
        }
        Ok(())
    }

    /// Nothing more becomes durable: says so where it is traced.
    fn give_up(&mut self, why: &str) {
        for flight in self.flights.drain(..) {
            self.shared.end_received(flight.receiving, Some(why));
            if let Some(mut appending) = flight.appending {
                if !matches!(flight.stage, Stage::Durable) {
                    appending.failed(self.shared.clock.now(), why);
                }
                appending.report(&self.shared.tracing);
            }
        }
    }
}

async fn oldest_ticket(flights: &mut VecDeque<Flight>) -> Result<Vec<u64>, AppendError> {
    for flight in flights {
        if let Stage::Submitted(ticket) = &mut flight.stage {
            return ticket.await;
        }
    }
    pending().await
}

fn set_full(shared: &Shared, used: u64, quota: u64) {
    shared.state.send_if_modified(|state| match state {
        IngestState::Accepting => {
            tracing::warn!(used, quota, "stopped acknowledging because the streams are full");
            *state = IngestState::Full { used, quota };
            true
        }
        IngestState::Full { .. } => {
            *state = IngestState::Full { used, quota };
            true
        }
        IngestState::Stopping | IngestState::Failed(_) => false,
    });
}

fn set_accepting(shared: &Shared) {
    shared.state.send_if_modified(|state| {
        let full = matches!(state, IngestState::Full { .. });
        if full {
            tracing::info!("streams have room again, acknowledging");
            *state = IngestState::Accepting;
        }
        full
    });
}

/// A committer that ends without saying so, by a panic or because its runtime went away, is a failure.
struct FailOnDrop {
    shared: Arc<Shared>,
    armed: bool,
}

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.shared.fail("the committer ended");
        }
    }
}
