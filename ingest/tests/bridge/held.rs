//! Streams that are durable when a test says so, and know what is: the judge of every acknowledgement.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use streams::memory::MemoryStreams;
use streams::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, StreamName, StreamSpec, Streams,
    Ticket,
};
use telemetry::clock::SystemClock;
use telemetry::ipc::Decoder;
use telemetry::schema::{self, reading};
use tokio::sync::watch;

use super::stub::PATIENCE;

pub(crate) const PARTITIONS: u32 = 4;

/// Memory streams whose groups are durable one by one, in order, as they are released.
#[derive(Debug)]
pub(crate) struct Held {
    inner: Arc<MemoryStreams>,
    submitted: watch::Sender<u64>,
    released: watch::Sender<u64>,
    durable: Arc<Mutex<HashSet<i64>>>,
}

impl Held {
    /// Nothing is durable before it is released.
    pub(crate) fn back() -> Arc<Self> {
        let specs = vec![
            StreamSpec { name: StreamName::readings(), partitions: PARTITIONS },
            StreamSpec { name: StreamName::dead_letters(), partitions: 1 },
        ];
        Arc::new(Self {
            inner: MemoryStreams::new(specs, SystemClock::shared()),
            submitted: watch::Sender::new(0),
            released: watch::Sender::new(0),
            durable: Arc::default(),
        })
    }

    /// Everything is durable at once.
    pub(crate) fn free() -> Arc<Self> {
        let held = Self::back();
        held.release(u64::MAX);
        held
    }

    /// The first `groups` groups may become durable, `u64::MAX` for all.
    pub(crate) fn release(&self, groups: u64) {
        self.released.send_modify(|released| *released = groups.max(*released));
    }

    /// All groups submitted so far may become durable.
    pub(crate) fn release_submitted(&self) {
        self.release(*self.submitted.borrow());
    }

    /// Waits until `groups` groups were submitted.
    pub(crate) async fn submitted(&self, groups: u64) {
        let mut submitted = self.submitted.subscribe();
        let reached = tokio::time::timeout(PATIENCE, submitted.wait_for(|submitted| *submitted >= groups)).await;
        reached.expect("not so many groups").unwrap();
    }

    /// Whether the message with this number is durable.
    pub(crate) fn is_durable(&self, seq: i64) -> bool {
        self.durable.lock().unwrap().contains(&seq)
    }
}

fn numbers(group: &[Append]) -> Vec<i64> {
    let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
    let mut all = Vec::new();
    for append in group.iter().filter(|append| append.to.stream == StreamName::readings()) {
        let batch = decoder.decode(append.payload.clone()).unwrap();
        let column = batch.column(reading::SEQ).as_primitive::<Int64Type>();
        all.extend((0..column.len()).filter(|row| column.is_valid(*row)).map(|row| column.value(row)));
    }
    all
}

#[async_trait]
impl Streams for Held {
    fn specs(&self) -> &[StreamSpec] {
        self.inner.specs()
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        let numbers = numbers(&group);
        let mut index = 0;
        self.submitted.send_modify(|submitted| {
            index = *submitted;
            *submitted += 1;
        });
        let ticket = self.inner.submit(group).await?;
        let (mut released, durable) = (self.released.subscribe(), self.durable.clone());
        Ok(Box::pin(async move {
            released.wait_for(|released| *released > index).await.unwrap();
            let offsets = ticket.await?;
            durable.lock().unwrap().extend(numbers);
            Ok(offsets)
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
