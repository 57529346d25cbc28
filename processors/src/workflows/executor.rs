//! Starting workflows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use streams::{GroupName, Partition, Position, StreamName, Streams};
use telemetry::Clock;
use tokio::sync::{mpsc, watch};

use super::config::WorkflowsConfig;
use super::desk::{Desk, Given};
use super::effect::WorkflowsEffect;
use super::handle::{Request, Workflows, WorkflowsError};
use super::limits;
use super::metrics::WorkflowsMetrics;
use super::recovery::recover;
use super::store::{Opened, Store, StoreError};
use super::target::Targets;

/// The group that reads the stream `workflows`.
pub const GROUP: &str = "workflows";

/// Workflows, ready to run.
#[derive(Debug)]
pub struct Started {
    /// For people and devices.
    pub workflows: Workflows,
    /// For the consumer of the stream `workflows`, group [`GROUP`].
    pub effect: WorkflowsEffect,
    /// To be run beside the consumer, and stopped after it.
    pub executor: Executor,
}

/// The executor. It does nothing until [`Executor::run`].
#[derive(Debug)]
pub struct Executor {
    desk: Desk,
}

impl Executor {
    /// Does the steps of runs until `stop` becomes true; then it begins no attempt, waits for those under way, at most
    /// [`limits::STOP`], and makes what they did durable. Dropping the future instead is a crash, and as safe.
    ///
    /// # Errors
    /// Any error asks for a restart of the process: after a failed write nothing in memory can be believed.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), WorkflowsError> {
        self.desk.run(stop).await
    }
}

impl Workflows {
    /// Opens the outbox `workflows.redb` in `dir`, and finds what was appended before. Must be called before the
    /// consumer of group [`GROUP`] is opened: where the outbox begins empty, the group's position is moved back to
    /// the first firing retained, and everything retained is done again, under the same keys; what was emitted is
    /// not emitted again.
    ///
    /// # Errors
    /// If the outbox or the streams cannot be read or written.
    pub async fn start(
        config: WorkflowsConfig,
        dir: &Path,
        streams: Arc<dyn Streams>,
        clock: Arc<dyn Clock>,
        metrics: WorkflowsMetrics,
        targets: Arc<dyn Targets>,
    ) -> Result<Started, WorkflowsError> {
        let path = dir.to_owned();
        let Opened { store, fresh, begin } = blocking(move || Store::open(&path)).await?;
        if fresh {
            read_again(&streams).await?;
        }
        let recovered = recover(&streams, &store, fresh).await?;
        if fresh {
            let store = store.clone();
            blocking(move || store.confirm()).await?;
        }
        let backlog = backlog(&streams).await?;
        let (admit, admissions) = mpsc::channel(1);
        let (ask, requests) = mpsc::channel(limits::REQUESTS);
        let workflows = Self { admissions: admit, requests: ask, store: store.clone() };
        if backlog.is_empty() {
            workflows.requests.try_send(Request::CaughtUp).map_err(|_| WorkflowsError::Stopped)?;
        }
        let given = Given { config, streams, clock: clock.clone(), metrics, targets, store };
        let desk = Desk::new(given, (admissions, requests), &begin, recovered);
        let effect = WorkflowsEffect::new(workflows.clone(), clock, backlog);
        Ok(Started { workflows, effect, executor: Executor { desk } })
    }
}

/// Moves the group to the first firing retained, where it has a position.
async fn read_again(streams: &Arc<dyn Streams>) -> Result<(), WorkflowsError> {
    let group = GroupName::from(GROUP);
    let mut positions = Vec::new();
    for partition in partitions(streams) {
        let begin = streams.bounds(&partition).map_err(streams_failed)?.start;
        let position = streams.position(&group, &partition).await.map_err(streams_failed)?;
        if let Some(position) = position.filter(|position| position.offset > begin) {
            tracing::warn!(%partition, from = position.offset, to = begin, "the outbox is empty, firings are read again");
            positions.push((partition, Position { offset: begin, state: bytes::Bytes::new() }));
        }
    }
    if positions.is_empty() {
        return Ok(());
    }
    streams.commit(&group, positions).await.map_err(streams_failed)
}

/// Where the stream ends, of each partition that the group has not passed.
async fn backlog(streams: &Arc<dyn Streams>) -> Result<BTreeMap<u32, u64>, WorkflowsError> {
    let mut ends = BTreeMap::new();
    for partition in partitions(streams) {
        let bounds = streams.bounds(&partition).map_err(streams_failed)?;
        let position = streams.position(&GroupName::from(GROUP), &partition).await.map_err(streams_failed)?;
        if position.map_or(bounds.start, |position| position.offset) < bounds.end {
            ends.insert(partition.index, bounds.end);
        }
    }
    Ok(ends)
}

fn partitions(streams: &Arc<dyn Streams>) -> Vec<Partition> {
    let spec = streams.specs().iter().find(|spec| spec.name == StreamName::workflows());
    (0..spec.map_or(0, |spec| spec.partitions)).map(|index| Partition::new(StreamName::workflows(), index)).collect()
}

fn streams_failed(error: streams::Error) -> WorkflowsError {
    WorkflowsError::Streams(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, WorkflowsError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| WorkflowsError::Stopped)??)
}
