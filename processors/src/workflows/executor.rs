//! Starting workflows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use streams::{GroupName, Partition, Position, Streams};
use telemetry::Clock;
use telemetry::trace::Tracing;
use tokio::sync::{mpsc, watch};
use twox_hash::xxhash3_128;

use super::config::WorkflowsConfig;
use super::desk::{Desk, Given};
use super::effect::WorkflowsEffect;
use super::handle::{Request, Workflows, WorkflowsError};
use super::limits;
use super::metrics::WorkflowsMetrics;
use super::recovery::{Keeper, recover};
use super::share::Share;
use super::store::{Opened, Owner, Store, StoreError};
use super::target::Targets;

/// The group that reads the stream `workflows`.
pub const GROUP: &str = "workflows";

/// The groups that an executor of these `partitions` (all if `None`) commits positions of, each with its partitions. To
/// be claimed before anything of them is opened; [`Workflows::start`] does it, too.
///
/// # Errors
/// [`WorkflowsError::Partitions`].
pub fn claims(
    partitions: Option<&[u32]>,
    streams: &dyn Streams,
) -> Result<Vec<(GroupName, Vec<Partition>)>, WorkflowsError> {
    let share = Share::new(partitions, streams.specs()).map_err(WorkflowsError::Partitions)?;
    Ok(share.claims(streams))
}

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
    /// not emitted again. Claims what [`claims`] names.
    ///
    /// # Errors
    /// If the outbox or the streams cannot be read or written, [`WorkflowsError::OtherPartitions`] if the outbox is of
    /// others than `config` wants.
    pub async fn start(
        config: WorkflowsConfig,
        dir: &Path,
        streams: Arc<dyn Streams>,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        metrics: WorkflowsMetrics,
        targets: Arc<dyn Targets>,
    ) -> Result<Started, WorkflowsError> {
        let share = Share::new(config.partitions.as_deref(), streams.specs()).map_err(WorkflowsError::Partitions)?;
        for (group, partitions) in share.claims(streams.as_ref()) {
            streams.claim(&group, &partitions).await.map_err(streams_failed)?;
        }
        let path = dir.to_owned();
        let Opened { store, fresh, begin } = blocking(move || Store::open(&path)).await?;
        let owner = owner(&store, &share, dir, streams.as_ref(), clock.as_ref()).await?;
        let partitions = share.firings();
        if fresh {
            read_again(&streams, &partitions).await?;
        }
        let keeper = Keeper::new(share.clone(), &owner.name);
        let recovered = recover(&streams, &store, &keeper, fresh).await?;
        if fresh {
            let store = store.clone();
            blocking(move || store.confirm()).await?;
        }
        let backlog = backlog(&streams, partitions).await?;
        let (admit, admissions) = mpsc::channel(1);
        let (ask, requests) = mpsc::channel(limits::REQUESTS);
        let workflows = Self { admissions: admit, requests: ask, store: store.clone(), share: Arc::new(share) };
        if backlog.is_empty() {
            workflows.requests.try_send(Request::CaughtUp).map_err(|_| WorkflowsError::Stopped)?;
        }
        let effect = WorkflowsEffect::new(workflows.clone(), clock.clone(), tracing.clone(), backlog);
        let given = Given { config, streams, clock, tracing, metrics, targets, store, keeper };
        let desk = Desk::new(given, (admissions, requests), &begin, recovered);
        Ok(Started { workflows, effect, executor: Executor { desk } })
    }
}

/// Moves the group to the first firing retained, where it has a position.
async fn read_again(streams: &Arc<dyn Streams>, partitions: &[Partition]) -> Result<(), WorkflowsError> {
    let group = GroupName::from(GROUP);
    let mut positions = Vec::new();
    for partition in partitions {
        let begin = streams.bounds(partition).map_err(streams_failed)?.start;
        let position = streams.position(&group, partition).await.map_err(streams_failed)?;
        if let Some(position) = position.filter(|position| position.offset > begin) {
            tracing::warn!(%partition, from = position.offset, to = begin, "the outbox is empty, firings are read again");
            positions.push((partition.clone(), Position { offset: begin, state: bytes::Bytes::new() }));
        }
    }
    if positions.is_empty() {
        return Ok(());
    }
    streams.commit(&group, positions).await.map_err(streams_failed)
}

/// Where the stream ends, of each partition that the group has not passed.
async fn backlog(streams: &Arc<dyn Streams>, partitions: Vec<Partition>) -> Result<BTreeMap<u32, u64>, WorkflowsError> {
    let mut ends = BTreeMap::new();
    for partition in partitions {
        let bounds = streams.bounds(&partition).map_err(streams_failed)?;
        let position = streams.position(&GroupName::from(GROUP), &partition).await.map_err(streams_failed)?;
        if position.map_or(bounds.start, |position| position.offset) < bounds.end {
            ends.insert(partition.index, bounds.end);
        }
    }
    Ok(ends)
}

/// What the file says of itself, if its partitions are those of `share`.
async fn owner(
    store: &Arc<Store>,
    share: &Share,
    dir: &Path,
    streams: &dyn Streams,
    clock: &dyn Clock,
) -> Result<Owner, WorkflowsError> {
    // Unlike that of every other file: two are never made in one directory at the same moment by one process.
    let origin = format!("{} {} {}", dir.display(), clock.now().as_micros(), std::process::id());
    let name = format!("{:032x}", xxhash3_128::Hasher::oneshot(origin.as_bytes()));
    let given = Owner { partitions: share.to_string(), name };
    let whole = Share::new(None, streams.specs()).map_err(WorkflowsError::Partitions)?.to_string();
    let store = store.clone();
    let owner = blocking(move || store.owner(&given, &whole)).await?;
    if owner.partitions != share.to_string() {
        let path = dir.join("workflows.redb").display().to_string();
        return Err(WorkflowsError::OtherPartitions { path, has: owner.partitions, asked: share.to_string() });
    }
    Ok(owner)
}

fn streams_failed(error: streams::Error) -> WorkflowsError {
    WorkflowsError::Streams(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, WorkflowsError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| WorkflowsError::Stopped)??)
}
