//! The consumer of readings that appends alerts, firings, and dead letters of rules.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use streams::consume::{Delivered, Effect, EffectError, Passed};
use streams::{Append, Partition, StreamName, Streams};
use telemetry::trace::{RowContext, Tracing};
use telemetry::{Clock, ipc, schema};
use tokio::sync::watch;

use crate::evaluation::Evaluation;
use crate::fired::Record;
use crate::limits;
use crate::metrics::{RuleCounters, RulesMetrics};
use crate::outbox::Outbox;
use crate::rules::RuleSet;
use crate::traced::{self, Place, Traced};

/// How long the position may stay behind what was evaluated, unless configured: what a crash makes us
/// evaluate again is cheap.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Evaluates rules on readings, and appends what fires to the streams `alerts` and `workflows`, to the partition that
/// the readings came from, and readings on which a rule fails to partition 0 of `workflow_dead_letters`.
///
/// No alert is ever left out: those of one record of readings are as many records of alerts as they need, each
/// built when there is room for it. Records are appended in the order of the readings, at most one group at a time.
/// After a crash some are appended again; readers know alerts and firings by `source_offset` and `source_index`
/// ([`Evaluation::alerts`]). A dead letter may then be there twice.
///
/// Rules that come through the watch are used from the next record on: no record is evaluated by two sets.
///
/// While the streams are full it waits, and its position stands still. So the quota must leave room for
/// alerts: if readings that rules have not passed fill all of it, nothing can be deleted and nothing appended.
pub struct RulesEffect {
    source: watch::Receiver<Arc<RuleSet>>,
    rules: Arc<RuleSet>,
    clock: Arc<dyn Clock>,
    tracing: Tracing,
    metrics: RulesMetrics,
    counters: Vec<Counted>,
    encoders: Encoders,
    flush_every: Duration,
    /// Most bytes that the streams take in one record.
    record_bytes: usize,
    outbox: Outbox,
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

impl fmt::Debug for RulesEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesEffect")
            .field("rules", &self.rules.rules().len())
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}

impl RulesEffect {
    /// An effect of the rules in `source` on `streams`, which have the streams `alerts` and `workflows` with at least
    /// as many partitions as the source, and `workflow_dead_letters`. It flushes after 1 s, and appends at most
    /// [`limits::APPEND_BYTES`] at once.
    ///
    /// # Panics
    /// Never: the schemas can be encoded.
    #[must_use]
    pub fn new(
        mut source: watch::Receiver<Arc<RuleSet>>,
        streams: Arc<dyn Streams>,
        metrics: RulesMetrics,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
    ) -> Self {
        let rules = source.borrow_and_update().clone();
        let counters = counters(&rules, &metrics);
        metrics.fleet.keep_time(&clock);
        let outbox = Outbox::new(streams, metrics.waits.clone(), limits::APPEND_BYTES.min(limits::PENDING_BYTES));
        Self {
            source,
            rules,
            clock,
            tracing,
            metrics,
            counters,
            encoders: Encoders::new(),
            flush_every: FLUSH_EVERY,
            record_bytes: limits::APPEND_BYTES,
            outbox,
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
    /// between two runs. With less than an alert with its longest texts needs, 16 KiB, or where rules have steps a
    /// firing, 130 KiB, streams may refuse a record; that is an error of [`Effect::apply`] or of the flush, and so is
    /// `bytes` above what they take.
    #[must_use]
    pub fn append_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = bytes;
        self.outbox.limit(bytes.min(limits::PENDING_BYTES));
        self
    }

    /// Takes the newest rules, if there are newer ones.
    fn refresh(&mut self) {
        if !self.source.has_changed().unwrap_or(false) {
            return;
        }
        let rules = self.source.borrow_and_update().clone();
        let kept = |id: &str| rules.rules().iter().any(|rule| rule.id() == id);
        for gone in self.rules.rules().iter().filter(|rule| !kept(rule.id())) {
            self.metrics.remove(gone.id());
        }
        self.counters = counters(&rules, &self.metrics);
        tracing::info!(rules = rules.rules().len(), before = self.rules.rules().len(), "rules changed");
        self.rules = rules;
    }

    fn observe(&mut self, evaluation: &Evaluation<'_>) {
        for ((rule, counted), outcome) in self.rules.rules().iter().zip(&mut self.counters).zip(&evaluation.rules) {
            counted.counters.evaluations.inc_by(outcome.evaluated);
            if outcome.matches > 0 {
                counted.counters.matches.inc_by(outcome.matches);
            }
            if outcome.errors > 0 {
                counted.counters.errors.inc_by(outcome.errors);
            }
            if let Some(error) = outcome.first_error.as_deref().filter(|_| !counted.complained) {
                counted.complained = true;
                tracing::warn!(rule = rule.id(), rows = outcome.errors, error, "rule failed on readings");
            }
        }
    }
}

/// Counters of all `rules`, from zero on where they are new.
fn counters(rules: &RuleSet, metrics: &RulesMetrics) -> Vec<Counted> {
    metrics.loaded.set(i64::try_from(rules.rules().len()).unwrap_or(i64::MAX));
    let counted = |id: &str| Counted { counters: metrics.of(id), complained: false };
    rules.rules().iter().map(|rule| counted(rule.id())).collect()
}

/// Records of the three streams.
#[derive(Debug)]
struct Encoders {
    alerts: ipc::Encoder,
    firings: ipc::Encoder,
    letters: ipc::Encoder,
}

impl Encoders {
    fn new() -> Self {
        let encoder = |schema| ipc::Encoder::new(schema).expect("the schemas of streams can be encoded");
        Self {
            alerts: encoder(schema::alerts_stream()),
            firings: encoder(schema::workflows()),
            letters: encoder(schema::dead_letters()),
        }
    }
}

fn encode(
    encoder: &mut ipc::Encoder,
    to: Partition,
    batch: &RecordBatch,
    contexts: &[RowContext],
) -> Result<Append, EffectError> {
    let payload =
        encoder.encode_traced(batch, contexts).map_err(|error| EffectError::new("encoding what fired", error))?;
    let rows = u32::try_from(batch.num_rows()).map_err(|error| EffectError::new("counting what fired", error))?;
    Ok(Append::new(to, rows, payload))
}

#[async_trait]
impl Effect for RulesEffect {
    async fn apply(&mut self, delivered: Delivered) -> Result<(), EffectError> {
        self.refresh();
        let Delivered { partition, offset, batch, contexts, .. } = delivered;
        let traced = Traced::begin(&self.tracing, contexts, self.clock.as_ref());
        self.metrics.fleet.observe(&batch);
        let begun = self.clock.monotonic();
        let rules = self.rules.clone();
        let failed = |error| EffectError::new(format!("evaluating rules on readings/{partition} at {offset}"), error);
        let evaluation = rules.evaluate(partition, offset, &batch).map_err(failed)?;
        self.metrics.seconds.observe(self.clock.monotonic().saturating_sub(begun).as_secs_f64());
        self.observe(&evaluation);
        self.applied += 1;
        self.oldest.get_or_insert(begun);
        let tracing = self.tracing.clone();
        let taken = if traced.is_some() { traced::CONTEXTS_BYTES } else { 0 };
        let room = |most: usize| self.record_bytes.min(most).saturating_sub(taken);
        let (firing_bytes, alert_bytes) = (room(limits::FIRING_BYTES_PER_RECORD), room(limits::ALERT_BYTES_PER_RECORD));
        let contexts = |about: &[u32]| {
            traced.as_ref().map(|traced| traced.contexts(&tracing, evaluation.readings(), about)).unwrap_or_default()
        };
        // Firings first: somebody waits for what they start.
        for firings in evaluation.firing_records(firing_bytes) {
            let to = Partition::new(StreamName::workflows(), partition);
            let Record { batch, about } = firings.map_err(failed)?;
            let append = encode(&mut self.encoders.firings, to, &batch, &contexts(about.values()))?;
            self.outbox.push(append).await?;
        }
        for alerts in evaluation.alert_records(alert_bytes) {
            let to = Partition::new(StreamName::alerts(), partition);
            let Record { batch, about } = alerts.map_err(failed)?;
            let append = encode(&mut self.encoders.alerts, to, &batch, &contexts(about.values()))?;
            self.outbox.push(append).await?;
        }
        for letters in evaluation.letters(self.record_bytes.min(limits::ALERT_BYTES_PER_RECORD)) {
            let to = Partition::new(StreamName::workflow_dead_letters(), 0);
            let append = encode(&mut self.encoders.letters, to, &letters, &[])?;
            self.outbox.push(append).await?;
        }
        self.outbox.advance().await?;
        if let Some(traced) = traced {
            traced.ended(&self.tracing, self.clock.as_ref(), Place { partition, offset }, &evaluation);
        }
        Ok(())
    }

    fn wants_flush(&self, now: Duration) -> bool {
        let old = self.oldest.is_some_and(|oldest| now.saturating_sub(oldest) >= self.flush_every);
        old || self.applied >= limits::RECORDS_PER_FLUSH
    }

    async fn flush(&mut self, _passed: &[Passed]) -> Result<(), EffectError> {
        while !self.outbox.is_empty() {
            self.outbox.land().await?;
            self.outbox.advance().await?;
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
