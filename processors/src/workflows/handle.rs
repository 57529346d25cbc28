//! The handle to the executor.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::backlog::firing_of;
use super::limits;
use super::recovery::RecoveryError;
use super::run::{Run, RunState, key_of};
use super::share::Share;
use super::store::{Store, StoreError};
use super::view::{Changed, RunDetail, RunFilter, RunPage};
use crate::firing::Firing;

/// Why workflows stopped, or a request to them failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowsError {
    /// The outbox failed. The process must restart.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was appended before could not be read at the start.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The streams failed. The process must restart.
    #[error("workflows: {0}")]
    Streams(String),
    /// The partitions cannot be those of an executor.
    #[error("workflows: {0}")]
    Partitions(String),
    /// The outbox is of other partitions. A person must decide.
    #[error(
        "outbox {path} is of partitions {has}, and those asked for are {asked}: give it its own, or take another data \
         directory, where all firings that are retained are done again under the same keys"
    )]
    OtherPartitions {
        /// The file.
        path: String,
        /// What it has.
        has: String,
        /// What this process was given.
        asked: String,
    },
    /// A firing is for the executor of another partition.
    #[error("device `{0}` is not in the partitions of this process: ask the one that has it")]
    Elsewhere(String),
    /// The executor is not running (any more).
    #[error("workflows are stopped")]
    Stopped,
    /// The payload of a dead letter is not that of a firing.
    #[error("the payload of the dead letter is not a firing: {0}")]
    Payload(#[from] serde_json::Error),
}

/// A handle to the executor, which owns everything. Cheap to clone; works as long as [`super::Executor::run`] runs.
#[derive(Clone, Debug)]
pub struct Workflows {
    pub(super) admissions: mpsc::Sender<Admission>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) store: Arc<Store>,
    pub(super) share: Arc<Share>,
}

/// Firings to take.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) firings: Vec<Firing>,
    /// Whether those are taken that became dead letters whole.
    pub(super) again: bool,
    pub(super) taken: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(super) enum Request {
    Flush(oneshot::Sender<()>),
    Change { key: u128, change: Change, reply: oneshot::Sender<Changed> },
    Arrived(Option<Arc<str>>),
    CaughtUp,
}

/// What a person wants done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Cancel,
    /// The step is checked if it is named.
    Redrive(Option<usize>),
    Drop,
}

impl Workflows {
    /// Takes firings; those whose key is known are left out. Returns when their first steps are on their way, which
    /// is before they are durable in the outbox; waits while too many are not.
    ///
    /// # Errors
    /// [`WorkflowsError::Stopped`].
    pub async fn admit(&self, firings: Vec<Firing>) -> Result<(), WorkflowsError> {
        self.take(firings, false).await
    }

    /// Takes a firing that became a dead letter whole (`workflow_backlog`), from the letter's payload. Durable when
    /// it returns. Idempotent. It becomes a dead letter again if still too many runs are open.
    ///
    /// # Errors
    /// If the payload is none, [`WorkflowsError::Elsewhere`], or [`WorkflowsError::Stopped`].
    pub async fn admit_letter(&self, payload: &[u8]) -> Result<(), WorkflowsError> {
        let firing = firing_of(payload)?;
        if !self.share.has(&firing.device_id) {
            return Err(WorkflowsError::Elsewhere(firing.device_id));
        }
        self.take(vec![firing], true).await?;
        self.flush().await
    }

    /// Returns when everything admitted and changed so far is durable.
    ///
    /// # Errors
    /// [`WorkflowsError::Stopped`].
    pub async fn flush(&self) -> Result<(), WorkflowsError> {
        let (reply, flushed) = oneshot::channel();
        self.ask(Request::Flush(reply)).await?;
        flushed.await.map_err(|_| WorkflowsError::Stopped)
    }

    /// Runs that `filter` takes, newest first, at most `limit` and [`limits::LIST`]; `after` is
    /// [`RunPage::next`] of the page before. A page may be short, or empty, although more follow.
    ///
    /// # Errors
    /// See [`WorkflowsError`].
    pub async fn list(&self, filter: RunFilter, limit: usize, after: Option<u64>) -> Result<RunPage, WorkflowsError> {
        self.flush().await?;
        self.read(move |store| store.list(&filter, after, limit.clamp(1, limits::LIST))).await
    }

    /// The run of this id.
    ///
    /// # Errors
    /// See [`WorkflowsError`].
    pub async fn show(&self, id: &str) -> Result<Option<RunDetail>, WorkflowsError> {
        self.flush().await?;
        let key = key_of(id);
        let run = self.read(move |store| find(store, key)).await?;
        Ok(run.filter(|run| run.firing.run_id == id).map(|run| RunDetail::from(&run)))
    }

    /// Whether other executors may have other partitions, and so runs that this one does not know.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.share.is_whole()
    }

    /// Cancels a run: no further step starts. An attempt under way is not broken off.
    ///
    /// # Errors
    /// See [`WorkflowsError`].
    pub async fn cancel(&self, id: &str) -> Result<Changed, WorkflowsError> {
        self.change(id, Change::Cancel).await
    }

    /// Lets a run that waits with a dead letter go on at that step, under the same key, with all its attempts.
    /// `step` is that of the letter; a run that waits at another one is left alone.
    ///
    /// # Errors
    /// See [`WorkflowsError`].
    pub async fn redrive(&self, id: &str, step: Option<usize>) -> Result<Changed, WorkflowsError> {
        self.change(id, Change::Redrive(step)).await
    }

    /// As [`Workflows::redrive`] for every run that waits with a dead letter now and that `filter` takes; how many.
    ///
    /// # Errors
    /// See [`WorkflowsError`].
    pub async fn redrive_all(&self, filter: RunFilter) -> Result<u64, WorkflowsError> {
        let filter = RunFilter { state: Some(RunState::Dead), ..filter };
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.list(filter.clone(), limits::LIST, after).await?;
            for run in &page.runs {
                let changed = self.request(key_of(&run.id), Change::Redrive(run.step)).await?;
                count += u64::from(changed == Changed::Yes);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.flush().await?;
        Ok(count)
    }

    /// Gives up a run that waits with a dead letter.
    ///
    /// # Errors
    /// See [`WorkflowsError`].
    pub async fn drop_dead(&self, id: &str) -> Result<Changed, WorkflowsError> {
        self.change(id, Change::Drop).await
    }

    /// A device subscribed to `topic`: commands that wait for it are sent.
    ///
    /// # Errors
    /// [`WorkflowsError::Stopped`].
    pub async fn arrived(&self, topic: Arc<str>) -> Result<(), WorkflowsError> {
        self.ask(Request::Arrived(Some(topic))).await
    }

    /// Devices may have subscribed to any topic: every command that waits is tried.
    ///
    /// # Errors
    /// [`WorkflowsError::Stopped`].
    pub async fn arrived_all(&self) -> Result<(), WorkflowsError> {
        self.ask(Request::Arrived(None)).await
    }

    /// The consumer has admitted everything that was in the stream when the executor started.
    pub(super) async fn caught_up(&self) -> Result<(), WorkflowsError> {
        self.ask(Request::CaughtUp).await
    }

    async fn take(&self, firings: Vec<Firing>, again: bool) -> Result<(), WorkflowsError> {
        let (taken, is_taken) = oneshot::channel();
        let admission = Admission { firings, again, taken };
        self.admissions.send(admission).await.map_err(|_| WorkflowsError::Stopped)?;
        is_taken.await.map_err(|_| WorkflowsError::Stopped)
    }

    async fn change(&self, id: &str, change: Change) -> Result<Changed, WorkflowsError> {
        let changed = self.request(key_of(id), change).await?;
        self.flush().await?;
        Ok(changed)
    }

    async fn request(&self, key: u128, change: Change) -> Result<Changed, WorkflowsError> {
        let (reply, changed) = oneshot::channel();
        self.ask(Request::Change { key, change, reply }).await?;
        changed.await.map_err(|_| WorkflowsError::Stopped)
    }

    async fn ask(&self, request: Request) -> Result<(), WorkflowsError> {
        self.requests.send(request).await.map_err(|_| WorkflowsError::Stopped)
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, WorkflowsError> {
        let store = self.store.clone();
        let found = tokio::task::spawn_blocking(move || read(&store)).await;
        Ok(found.map_err(|_| WorkflowsError::Stopped)??)
    }
}

/// The run with this key; blocks.
pub(super) fn find(store: &Store, key: u128) -> Result<Option<Run>, StoreError> {
    let seen = store.seen(&[key])?.into_iter().flatten().find(|seen| seen.is_run);
    match seen {
        Some(seen) => Ok(store.runs(&[seen.number])?.into_iter().next()),
        None => Ok(None),
    }
}
