//! Streams that do what a test wants: hold tickets back, be full, fail.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use streams::memory::MemoryStreams;
use streams::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, StreamName, StreamSpec, Streams,
    Ticket,
};
use telemetry::clock::SystemClock;
use tokio::sync::watch;

/// Memory streams behind a gate.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Arc<MemoryStreams>,
    open: watch::Sender<bool>,
    refusal: Mutex<Option<AppendError>>,
    ticket_failure: Mutex<Option<AppendError>>,
    submits: watch::Sender<usize>,
    panics: AtomicBool,
}

pub(crate) const PARTITIONS: u32 = 4;

impl Gate {
    pub(crate) fn open() -> Arc<Self> {
        let specs = vec![
            StreamSpec { name: StreamName::readings(), partitions: PARTITIONS },
            StreamSpec { name: StreamName::dead_letters(), partitions: 1 },
        ];
        Arc::new(Self {
            inner: MemoryStreams::new(specs, SystemClock::shared()),
            open: watch::Sender::new(true),
            refusal: Mutex::default(),
            ticket_failure: Mutex::default(),
            submits: watch::Sender::new(0),
            panics: AtomicBool::default(),
        })
    }

    pub(crate) fn closed() -> Arc<Self> {
        let gate = Self::open();
        gate.open.send_replace(false);
        gate
    }

    /// Lets tickets resolve, or holds them back.
    pub(crate) fn let_through(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Refuses groups at submit, or takes them again.
    pub(crate) fn refuse(&self, error: Option<AppendError>) {
        *self.refusal.lock().unwrap() = error;
    }

    /// Tickets resolve to this once they are let through.
    pub(crate) fn fail_tickets(&self, error: AppendError) {
        *self.ticket_failure.lock().unwrap() = Some(error);
    }

    /// The next submit panics.
    pub(crate) fn panic_at_submit(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// Waits until `count` groups were submitted, taken or not.
    pub(crate) async fn submitted(&self, count: usize) {
        self.submits.subscribe().wait_for(|submits| *submits >= count).await.unwrap();
    }
}

#[async_trait]
impl Streams for Gate {
    fn specs(&self) -> &[StreamSpec] {
        self.inner.specs()
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        assert!(!self.panics.load(Ordering::SeqCst), "the test wants a panic here");
        let refusal = self.refusal.lock().unwrap().clone();
        let failure = self.ticket_failure.lock().unwrap().clone();
        // What is decided by now is not changed by what a test does once it knows of this group.
        self.submits.send_modify(|submits| *submits += 1);
        refusal.map_or(Ok(()), Err)?;
        let ticket = self.inner.submit(group).await?;
        let mut open = self.open.subscribe();
        Ok(Box::pin(async move {
            open.wait_for(|open| *open).await.unwrap();
            match failure {
                Some(error) => Err(error),
                None => ticket.await,
            }
        }))
    }

    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error> {
        self.inner.read(from, offset, max_bytes).await
    }

    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error> {
        self.inner.bounds(of)
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.inner.appended()
    }

    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error> {
        self.inner.position(group, of).await
    }

    async fn commit(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        self.inner.commit(group, positions).await
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        self.inner.groups().await
    }
}
