//! The consumer of readings that appends alerts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::FutureExt;
use streams::consume::{Delivered, Effect, EffectError, Passed};
use streams::faults::{Point, point};
use streams::{Append, AppendError, Partition, StreamName, Streams, Ticket};
use telemetry::{Clock, ipc, schema};

use crate::evaluation::{Evaluation, count};
use crate::limits;
use crate::metrics::{RuleCounters, RulesMetrics};
use crate::rules::RuleSet;

/// How long the position may stay behind what was evaluated, unless configured: what a crash makes us
/// evaluate again is cheap.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// First and longest pause before an append is tried again on full streams.
const FULL_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Evaluates rules on readings and appends what fires to the stream `alerts`, to the partition that the
/// readings came from.
///
/// No alert is ever left out: those of one record of readings are as many records of alerts as they need, each
/// built when there is room for it. Records of alerts are appended in the order of the readings: at most one
/// group is in flight, so that no group is refused while a later one is written. After a crash some are
/// appended again; readers know them by `source_offset` and `source_index` ([`Evaluation::alerts`]).
///
/// While the streams are full it waits, and its position stands still. So the quota must leave room for
/// alerts: if readings that rules have not passed fill all of it, nothing can be deleted and nothing appended.
pub struct RulesEffect {
    rules: Arc<RuleSet>,
    streams: Arc<dyn Streams>,
    clock: Arc<dyn Clock>,
    metrics: RulesMetrics,
    counters: Vec<Counted>,
    encoder: ipc::Encoder,
    flush_every: Duration,
    /// Most bytes of a record, and of a group.
    record_bytes: usize,
    group_bytes: usize,
    /// Encoded alerts behind the group in flight.
    pending: VecDeque<Append>,
    pending_bytes: usize,
    in_flight: Option<Group>,
    /// Records applied since the last flush, and when the first of them was.
    applied: usize,
    oldest: Option<Duration>,
}

/// A rule's counters, and whether its first failure was logged.
#[derive(Debug)]
struct Counted {
    counters: RuleCounters,
    complained: bool,
}

/// What was submitted and is not durable yet. The records are kept, cheaply, for the case that they are
/// refused.
struct Group {
    records: Vec<Append>,
    ticket: Ticket,
}

impl fmt::Debug for RulesEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesEffect")
            .field("rules", &self.rules.rules().len())
            .field("pending", &self.pending.len())
            .field("in_flight", &self.in_flight.as_ref().map(|group| group.records.len()))
            .finish_non_exhaustive()
    }
}

impl RulesEffect {
    /// An effect of `rules` on `streams`, which have a stream `alerts` with at least as many partitions as
    /// the source. It flushes after 1 s, and appends at most [`limits::APPEND_BYTES`] at once.
    ///
    /// # Panics
    /// Never: the schema of alerts can be encoded.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, streams: Arc<dyn Streams>, metrics: RulesMetrics, clock: Arc<dyn Clock>) -> Self {
        let counters =
            rules.rules().iter().map(|rule| Counted { counters: metrics.of(rule.id()), complained: false }).collect();
        Self {
            rules,
            streams,
            clock,
            metrics,
            counters,
            encoder: ipc::Encoder::new(schema::alerts_stream()).expect("the schema of alerts can be encoded"),
            flush_every: FLUSH_EVERY,
            record_bytes: limits::APPEND_BYTES.min(limits::ALERT_BYTES_PER_RECORD),
            group_bytes: limits::APPEND_BYTES.min(limits::PENDING_BYTES),
            pending: VecDeque::new(),
            pending_bytes: 0,
            in_flight: None,
            applied: 0,
            oldest: None,
        }
    }

    /// The same, flushing once the oldest record applied is `age` old.
    #[must_use]
    pub fn flush_every(mut self, age: Duration) -> Self {
        self.flush_every = age;
        self
    }

    /// The same, on streams that take `bytes` in one record, and in one group as many besides its frames. It
    /// uses at most [`limits::ALERT_BYTES_PER_RECORD`] and [`limits::PENDING_BYTES`] of it.
    ///
    /// Smaller records cost more appends and nothing else: the same alerts arrive, and `bytes` may change
    /// between two runs. With less than an alert with its longest texts needs, 16 KiB, streams may refuse a
    /// record; that is an error of [`Effect::apply`] or of the flush, and so is `bytes` above what they take.
    #[must_use]
    pub fn append_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = bytes.min(limits::ALERT_BYTES_PER_RECORD);
        self.group_bytes = bytes.min(limits::PENDING_BYTES);
        self
    }

    fn observe(&mut self, rows: usize, evaluation: &Evaluation<'_>) {
        for ((rule, counted), outcome) in self.rules.rules().iter().zip(&mut self.counters).zip(&evaluation.rules) {
            counted.counters.evaluations.inc_by(count(rows));
            counted.counters.matches.inc_by(outcome.matches);
            counted.counters.errors.inc_by(outcome.errors);
            if let Some(error) = outcome.first_error.as_deref().filter(|_| !counted.complained) {
                counted.complained = true;
                tracing::warn!(rule = rule.id(), rows = outcome.errors, error, "rule failed on readings");
            }
        }
    }

    /// Puts a record of alerts behind all others; waits for the group in flight if there is no room.
    async fn queue(&mut self, append: Append) -> Result<(), EffectError> {
        let bytes = self.pending_bytes + append.payload.len();
        if self.pending.len() >= limits::PENDING_RECORDS || bytes > self.group_bytes {
            self.land().await?;
            self.advance().await?;
        }
        self.pending_bytes += append.payload.len();
        self.pending.push_back(append);
        Ok(())
    }

    fn encode(&mut self, partition: u32, alerts: &RecordBatch) -> Result<Append, EffectError> {
        let payload = self.encoder.encode(alerts).map_err(|error| EffectError::new("encoding alerts", error))?;
        let rows = u32::try_from(alerts.num_rows()).map_err(|error| EffectError::new("counting alerts", error))?;
        Ok(Append { to: Partition::new(StreamName::alerts(), partition), rows, payload })
    }

    /// Submits what is pending if nothing is in flight. Never waits for durability.
    async fn advance(&mut self) -> Result<(), EffectError> {
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
    async fn land(&mut self) -> Result<(), EffectError> {
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
                self.metrics.waits.inc();
                tracing::warn!(used, quota, "streams are full, alerts wait");
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
                    self.metrics.waits.inc();
                    tracing::warn!(used, quota, "streams are full, alerts wait");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

fn failed(error: AppendError) -> EffectError {
    EffectError::new("appending to the stream alerts", error)
}

#[async_trait]
impl Effect for RulesEffect {
    async fn apply(&mut self, delivered: Delivered) -> Result<(), EffectError> {
        let Delivered { partition, offset, batch, .. } = delivered;
        let begun = self.clock.monotonic();
        let rules = self.rules.clone();
        let failed = |error| EffectError::new(format!("evaluating rules on readings/{partition} at {offset}"), error);
        let evaluation = rules.evaluate(partition, offset, &batch).map_err(failed)?;
        self.metrics.seconds.observe(self.clock.monotonic().saturating_sub(begun).as_secs_f64());
        self.observe(batch.num_rows(), &evaluation);
        self.applied += 1;
        self.oldest.get_or_insert(begun);
        for alerts in evaluation.alerts(self.record_bytes) {
            let append = self.encode(partition, &alerts.map_err(failed)?)?;
            self.queue(append).await?;
        }
        self.advance().await
    }

    fn wants_flush(&self, now: Duration) -> bool {
        let old = self.oldest.is_some_and(|oldest| now.saturating_sub(oldest) >= self.flush_every);
        old || self.applied >= limits::RECORDS_PER_FLUSH
    }

    async fn flush(&mut self, _passed: &[Passed]) -> Result<(), EffectError> {
        while self.in_flight.is_some() || !self.pending.is_empty() {
            self.land().await?;
            self.advance().await?;
        }
        self.applied = 0;
        self.oldest = None;
        Ok(())
    }

    fn recovered(&self, _partition: u32) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests;
