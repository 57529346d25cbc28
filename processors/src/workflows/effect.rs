//! The consumer of firings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use streams::consume::{Delivered, Effect, EffectError, Passed};
use streams::faults::{Tooth, tooth};
use telemetry::Clock;
use telemetry::trace::Tracing;

use super::handle::{Workflows, WorkflowsError};
use super::limits;
use crate::firing::{self, Firing};

/// Hands firings to the executor, and lets their position be committed once the outbox has them. It must read the
/// stream `workflows` as group [`super::GROUP`].
#[derive(Debug)]
pub struct WorkflowsEffect {
    workflows: Workflows,
    clock: Arc<dyn Clock>,
    tracing: Tracing,
    /// Firings since the last flush, and when the first of them came.
    unflushed: usize,
    oldest: Option<Duration>,
    /// Where the stream ended when the executor started, until that is passed.
    backlog: Option<BTreeMap<u32, u64>>,
}

impl WorkflowsEffect {
    pub(super) fn new(
        workflows: Workflows,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        backlog: BTreeMap<u32, u64>,
    ) -> Self {
        Self { workflows, clock, tracing, unflushed: 0, oldest: None, backlog: Some(backlog) }
    }
}

fn failed(error: WorkflowsError) -> EffectError {
    EffectError::new("handing firings to the executor", error)
}

#[async_trait]
impl Effect for WorkflowsEffect {
    async fn apply(&mut self, delivered: Delivered) -> Result<(), EffectError> {
        let Delivered { partition, offset, batch, contexts, .. } = delivered;
        let mut firings = Firing::decode(&batch).map_err(|error| {
            EffectError::new(format!("decoding firings of workflows/{partition} at {offset}"), error)
        })?;
        if self.tracing.is_on() {
            firing::trace(&mut firings, &contexts);
        }
        self.unflushed += firings.len();
        self.oldest.get_or_insert(self.clock.monotonic());
        self.workflows.admit(firings).await.map_err(failed)
    }

    fn wants_flush(&self, now: Duration) -> bool {
        let old = self.oldest.is_some_and(|oldest| now.saturating_sub(oldest) >= limits::FLUSH_EVERY);
        old || self.unflushed >= limits::FIRINGS_PER_FLUSH
    }

    async fn flush(&mut self, passed: &[Passed]) -> Result<(), EffectError> {
        if !tooth(Tooth::OutboxAfterPosition) {
            self.workflows.flush().await.map_err(failed)?;
        }
        self.unflushed = 0;
        self.oldest = None;
        let reached = |end: u64, partition: u32| passed.iter().any(|at| at.partition == partition && at.next >= end);
        if self.backlog.as_ref().is_some_and(|backlog| backlog.iter().all(|(at, end)| reached(*end, *at))) {
            self.workflows.caught_up().await.map_err(failed)?;
            self.backlog = None;
        }
        Ok(())
    }

    fn recovered(&self, _partition: u32) -> Option<u64> {
        None
    }
}
