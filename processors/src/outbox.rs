//! Records on their way to derived streams, in order.
//!
//! At most one group is in flight, and the next ones wait behind it, so that no group is refused while a later one is
//! written. A group in flight, one behind it and one record are all its memory.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use prometheus::IntCounter;
use streams::consume::EffectError;
use streams::faults::{Point, point};
use streams::{Append, AppendError, Streams, Ticket};

use crate::limits;

/// First and longest pause before an append is tried again on full streams.
const FULL_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Appends in the order in which it is given records.
pub(crate) struct Outbox {
    streams: Arc<dyn Streams>,
    waits: IntCounter,
    group_bytes: usize,
    /// Records behind the group in flight.
    pending: VecDeque<Append>,
    pending_bytes: usize,
    in_flight: Option<Group>,
}

/// What was submitted and is not durable yet. The records are kept, cheaply, for the case that they are
/// refused.
struct Group {
    records: Vec<Append>,
    ticket: Ticket,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("pending", &self.pending.len())
            .field("in_flight", &self.in_flight.as_ref().map(|group| group.records.len()))
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// Groups of at most `group_bytes`; `waits` counts appends that were refused because the streams were full.
    pub(crate) fn new(streams: Arc<dyn Streams>, waits: IntCounter, group_bytes: usize) -> Self {
        Self { streams, waits, group_bytes, pending: VecDeque::new(), pending_bytes: 0, in_flight: None }
    }

    /// The same, with another size of groups.
    pub(crate) fn limit(&mut self, group_bytes: usize) {
        self.group_bytes = group_bytes;
    }

    /// Whether all that it was given is durable.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_none() && self.pending.is_empty()
    }

    /// Puts a record behind all others; waits for the group in flight if there is no room.
    pub(crate) async fn push(&mut self, append: Append) -> Result<(), EffectError> {
        let bytes = self.pending_bytes + append.payload.len();
        if self.pending.len() >= limits::PENDING_RECORDS || bytes > self.group_bytes {
            self.land().await?;
            self.advance().await?;
        }
        self.pending_bytes += append.payload.len();
        self.pending.push_back(append);
        Ok(())
    }

    /// Submits what is pending if nothing is in flight. Never waits for durability.
    pub(crate) async fn advance(&mut self) -> Result<(), EffectError> {
        if let Some(group) = &mut self.in_flight {
            match (&mut group.ticket).now_or_never() {
                None => return Ok(()),
                Some(result) => self.settle(result).await?,
            }
        }
        if self.in_flight.is_none() && !self.pending.is_empty() {
            self.pending_bytes = 0;
            let records = Vec::from(std::mem::take(&mut self.pending));
            self.submit(records).await?;
        }
        Ok(())
    }

    /// Waits until the group in flight is durable.
    pub(crate) async fn land(&mut self) -> Result<(), EffectError> {
        while let Some(group) = &mut self.in_flight {
            let result = (&mut group.ticket).await;
            self.settle(result).await?;
        }
        Ok(())
    }

    /// Takes the outcome of the group in flight, and submits it again if the streams were full.
    async fn settle(&mut self, result: Result<Vec<u64>, AppendError>) -> Result<(), EffectError> {
        let Some(group) = self.in_flight.take() else { return Ok(()) };
        match result {
            Ok(_) => {
                point(Point::AlertsAppended);
                Ok(())
            }
            Err(AppendError::Full { used, quota }) => {
                self.waits.inc();
                tracing::warn!(used, quota, "streams are full, what fired waits");
                tokio::time::sleep(FULL_PAUSE.0).await;
                self.submit(group.records).await
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts `records` in flight; waits while the streams are full, because a lost alert cannot be made up.
    async fn submit(&mut self, records: Vec<Append>) -> Result<(), EffectError> {
        point(Point::AlertsAppend);
        let (mut pause, longest) = FULL_PAUSE;
        loop {
            match self.streams.submit(records.clone()).await {
                Ok(ticket) => {
                    self.in_flight = Some(Group { records, ticket });
                    return Ok(());
                }
                Err(AppendError::Full { used, quota }) => {
                    self.waits.inc();
                    tracing::warn!(used, quota, "streams are full, what fired waits");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

fn failed(error: AppendError) -> EffectError {
    EffectError::new("appending what fired", error)
}
