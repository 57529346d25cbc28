//! The one loop every consumer runs: read, deduplicate, apply, flush, commit the position.
//!
//! Stages give it an [`Effect`]; it gives them batches in order, each row once. Stop first, then records,
//! then timers. Stopping drains: the loop ends when it has passed everything that was durable, so whoever
//! stops the producers first loses nothing. Dropping the future instead is a crash, and as safe.

mod lag;
mod lane;

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use telemetry::trace::RowContext;
use telemetry::{Clock, Timestamp};
use tokio::sync::watch;

use self::lag::Lag;
use self::lane::{Admitted, Lane};
use crate::contract::{Error, GroupName, Partition, Record, StreamName, Streams};
use crate::dedupe::Dedupe;
use crate::faults::{Tooth, tooth};
use crate::metrics::{Applied, ConsumerMetrics, GroupMetrics};

/// How often timers are looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(50);
/// [`ConsumerConfig::gather`] where nobody waits for the effect.
pub const GATHER: Duration = Duration::from_millis(25);
/// A consumer gives way after each record younger than this: a thread of the door that woke meanwhile would
/// otherwise wait for the rest of the time slice, milliseconds. Behind it does not: where other work keeps the
/// cores busy, each time costs it milliseconds (measured with two busy loops: a lag of 30 s).
const BEHIND: Duration = Duration::from_millis(200);

/// What a consumer group reads and how often it saves its position.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Name of the group.
    pub group: GroupName,
    /// The stream it reads.
    pub stream: StreamName,
    /// The partitions of it that this process reads; others may be read by other processes.
    pub partitions: Vec<u32>,
    /// Bytes read at once from one partition.
    pub read_bytes: usize,
    /// Least time between two commits of the position. What lies behind the position is read again after a
    /// crash, so this bounds the time of a restart.
    pub commit_interval: Duration,
    /// How long records gather before the next read, unless more was waiting than one read takes: a trickle is
    /// read in batches, and leaves the cores to the door. It is part of the time from a reading to its effect.
    pub gather: Duration,
}

/// What every consumer is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The streams.
    pub streams: Arc<dyn Streams>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where lag and deduplication are counted.
    pub metrics: ConsumerMetrics,
}

/// Why a consumer stopped. A restart tries again from the last committed position.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The streams failed, or the position points to what they no longer hold.
    #[error("consumer group {group}: {source}")]
    Streams {
        /// The group.
        group: GroupName,
        /// What failed.
        source: Error,
    },
    /// A record or a snapshot cannot be understood: another program version wrote it, or a bug.
    #[error("consumer group {group}: {partition} at offset {offset}: {reason}")]
    Undecodable {
        /// The group.
        group: GroupName,
        /// The partition.
        partition: Partition,
        /// The offset.
        offset: u64,
        /// Why not.
        reason: String,
    },
    /// The table and the stream contradict each other: one was deleted or restored without the other.
    #[error(
        "consumer group {group}: {partition}: the output stands at offset {output}, the stream holds {start}..{end} \
         and the committed position is {position}; output and streams do not belong together"
    )]
    Contradiction {
        /// The group.
        group: GroupName,
        /// The partition.
        partition: Partition,
        /// Position in the effect's own store.
        output: u64,
        /// First retained offset.
        start: u64,
        /// One past the last durable offset.
        end: u64,
        /// Committed position.
        position: u64,
    },
    /// The effect failed.
    #[error("consumer group {group}: {source}")]
    Effect {
        /// The group.
        group: GroupName,
        /// What failed.
        source: EffectError,
    },
}

/// Runs `effect` over the stream of `config` until `stop` becomes true and everything durable by then is
/// passed.
///
/// # Errors
/// See [`ConsumeError`].
pub async fn run<E: Effect>(
    context: Context,
    config: ConsumerConfig,
    effect: E,
    stop: watch::Receiver<bool>,
) -> Result<(), ConsumeError> {
    let mut consumer = Consumer::open(context.clone(), config.clone(), effect).await?;
    let lag = Lag::new(context, config, consumer.lanes.iter().map(Lane::passed));
    tokio::select! {
        biased;
        ended = consumer.consume(stop, &lag) => ended,
        () = lag.report() => Ok(()),
    }
}

struct Consumer<E> {
    context: Context,
    config: ConsumerConfig,
    effect: E,
    metrics: GroupMetrics,
    lanes: Vec<Lane>,
    committed_at: Duration,
    /// Whether the effect was given something since its last flush.
    unflushed: bool,
}

impl<E: Effect> Consumer<E> {
    async fn open(context: Context, config: ConsumerConfig, effect: E) -> Result<Self, ConsumeError> {
        let claimed: Vec<_> =
            config.partitions.iter().map(|index| Partition::new(config.stream.clone(), *index)).collect();
        let claim = context.streams.claim(&config.group, &claimed).await;
        claim.map_err(|source| ConsumeError::Streams { group: config.group.clone(), source })?;
        let metrics = context.metrics.of(&config.group, config.stream.as_str());
        let mut lanes = Vec::new();
        for index in &config.partitions {
            lanes.push(Lane::open(&context, &config, *index, effect.recovered(*index)).await?);
        }
        let committed_at = context.clock.monotonic();
        let mut consumer = Self { context, config, effect, metrics, lanes, committed_at, unflushed: false };
        // Registers the group: from now on nothing it has not passed is deleted.
        consumer.commit_positions().await?;
        Ok(consumer)
    }

    async fn consume(&mut self, mut stop: watch::Receiver<bool>, lag: &Lag) -> Result<(), ConsumeError> {
        let mut appended = self.context.streams.appended();
        loop {
            let stopping = *stop.borrow_and_update();
            appended.borrow_and_update();
            let found = self.turn(lag).await?;
            if stopping && found == Found::Nothing {
                self.flush().await?;
                return self.commit_positions().await;
            }
            if stopping || found == Found::More {
                continue;
            }
            self.flush_if_due().await?;
            tokio::select! {
                biased;
                // The sender gone is a stop as well: nobody is left who wants this consumer.
                changed = stop.changed() => if changed.is_err() { stop = stopped() },
                _ = appended.changed(), if found == Found::Nothing => {}
                () = tokio::time::sleep(if found == Found::Nothing { TICK } else { self.config.gather }) => {}
            }
        }
    }

    /// Reads each partition once.
    async fn turn(&mut self, lag: &Lag) -> Result<Found, ConsumeError> {
        let mut found = Found::Nothing;
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let records = lane.read(&self.context, &self.config, &self.metrics).await?;
            found = found.max(Found::of(&records, self.config.read_bytes));
            for record in records {
                let (partition, offset, appended_at) = (lane.partition.index, record.offset, record.appended_at);
                let Admitted { rows, left_out, delivered } = lane.admit(&self.config, &self.metrics, record)?;
                let kept = delivered.as_ref().map_or(0, |delivered| delivered.batch.num_rows() as u64);
                if let Some(delivered) = delivered {
                    self.unflushed = true;
                    let begun = self.context.clock.monotonic();
                    self.effect.apply(delivered).await.map_err(|source| failed(&self.config, source))?;
                    let took = self.context.clock.monotonic().saturating_sub(begun);
                    self.metrics.apply_seconds.observe(took.as_secs_f64());
                }
                if let Some(since) = &self.metrics.since {
                    since.applied(Applied { partition, offset, rows, left_out, kept });
                }
                lag.passed(partition, offset + 1, appended_at);
                if self.context.clock.now().since(appended_at) < BEHIND {
                    std::thread::yield_now();
                }
            }
            if let (Some(since), Some(lane)) = (&self.metrics.since, self.lanes.get(index)) {
                let Passed { partition, next } = lane.passed();
                since.stands_at(partition, next);
            }
            self.flush_if_due().await?;
        }
        Ok(found)
    }

    async fn flush_if_due(&mut self) -> Result<(), ConsumeError> {
        let now = self.context.clock.monotonic();
        let commit_due = now.saturating_sub(self.committed_at) >= self.config.commit_interval;
        // Without anything to flush the position still moves on, past what was seen before.
        let moved = !self.unflushed && commit_due && self.lanes.iter().any(Lane::moved);
        if self.effect.wants_flush(now) || moved {
            if tooth(Tooth::PositionBeforeEffect) {
                self.commit_positions().await?;
            }
            self.flush().await?;
            if commit_due {
                self.commit_positions().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ConsumeError> {
        let passed: Vec<Passed> = self.lanes.iter().map(Lane::passed).collect();
        self.effect.flush(&passed).await.map_err(|source| failed(&self.config, source))?;
        if let Some(since) = &self.metrics.since {
            since.flushed();
        }
        self.unflushed = false;
        Ok(())
    }

    /// Only right after a flush: a position never runs ahead of the effect.
    async fn commit_positions(&mut self) -> Result<(), ConsumeError> {
        let positions: Vec<_> = self.lanes.iter_mut().filter_map(Lane::take_position).collect();
        self.committed_at = self.context.clock.monotonic();
        if positions.is_empty() {
            return Ok(());
        }
        let commit = self.context.streams.commit(&self.config.group, positions);
        commit.await.map_err(|source| ConsumeError::Streams { group: self.config.group.clone(), source })
    }
}

/// What a turn over all partitions found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    /// Everything there was.
    Some,
    /// As much as one read takes: there may be more.
    More,
}

impl Found {
    fn of(records: &[Record], read_bytes: usize) -> Self {
        match records.iter().map(|record| record.payload.len()).sum::<usize>() {
            _ if records.is_empty() => Self::Nothing,
            // A read stops before the record that would exceed its bytes.
            bytes if bytes >= read_bytes / 2 => Self::More,
            _ => Self::Some,
        }
    }
}

fn failed(config: &ConsumerConfig, source: EffectError) -> ConsumeError {
    ConsumeError::Effect { group: config.group.clone(), source }
}

fn stopped() -> watch::Receiver<bool> {
    watch::channel(true).1
}

/// One record, decoded and deduplicated.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Partition it came from.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// When it was appended.
    pub appended_at: Timestamp,
    /// The rows not seen before, in the stream's schema, in the order of the stream; at least one.
    pub batch: RecordBatch,
    /// The contexts of the record that are of rows of `batch`, by their index in it.
    pub contexts: Vec<RowContext>,
}

/// First offset not yet passed, of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The partition.
    pub partition: u32,
    /// First offset whose effect is not included.
    pub next: u64,
}

/// What a consumer does with what it reads.
///
/// The loop calls [`Effect::apply`] for records in order of offset within a partition, and now and then
/// [`Effect::flush`]; after a flush succeeded it commits the position. After a crash everything from the
/// last committed position on is applied again, unless the effect itself knows better
/// ([`Effect::recovered`]); so an effect is idempotent or keeps its position with what it wrote.
#[async_trait]
pub trait Effect: Send {
    /// Takes one batch. It may keep it in memory until the flush.
    ///
    /// # Errors
    /// Any error stops the consumer, and with it the process: a restart tries again.
    async fn apply(&mut self, delivered: Delivered) -> Result<(), EffectError>;

    /// Whether enough was taken that a flush should come now, at `now` of [`Clock::monotonic`].
    fn wants_flush(&self, now: Duration) -> bool;

    /// Makes the effect of everything applied durable, in one step with `passed` where the effect keeps its
    /// own position. `passed` names every partition, also those whose records held nothing new.
    ///
    /// # Errors
    /// As for [`Effect::apply`].
    async fn flush(&mut self, passed: &[Passed]) -> Result<(), EffectError>;

    /// The position the effect's own store names for `partition`: records before it are not applied again.
    /// `None` if the effect keeps no position of its own, or has none yet.
    fn recovered(&self, partition: u32) -> Option<u64>;
}

/// An effect failed; the text says what, where and why.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {source}")]
pub struct EffectError {
    /// What was being done, with the path or name.
    pub context: String,
    /// Why it failed.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl EffectError {
    /// An error of `source` while doing `context`.
    pub fn new(context: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { context: context.into(), source: source.into() }
    }
}

/// The deduplication that `stream` needs, from its beginning; `None` if its rows have no identity.
fn dedupe_of(stream: &StreamName) -> Option<Dedupe> {
    match stream.as_str() {
        "readings" => Some(Dedupe::Devices(crate::dedupe::Devices::default())),
        "alerts" if tooth(Tooth::AlertsRepeated) => None,
        "alerts" => Some(Dedupe::Sources(crate::dedupe::Sources::of_alerts())),
        "workflows" => Some(Dedupe::Sources(crate::dedupe::Sources::of_workflows())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
