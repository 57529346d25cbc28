//! Streams that seem to end where a stage stands when it is asked to stop.
//!
//! A consumer stops once it has passed everything durable. That is right in `weir up`, where the door is closed by then,
//! and wrong for a stage apart: the others go on appending, and after an hour away it may be an hour behind. What it
//! has not read waits for the next one, so it only makes durable what it has read, and commits its positions.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use streams::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, StreamSpec, Streams, Ticket,
};
use tokio::sync::watch;

/// Whether reading has ended. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Halt(Arc<AtomicBool>);

impl Halt {
    /// From now on nothing more is read.
    pub(super) fn halt(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// `inner`, of which nothing is read any more once `halt` says so.
#[derive(Debug)]
pub(super) struct Halting {
    pub(super) inner: Arc<dyn Streams>,
    pub(super) halt: Halt,
}

#[async_trait]
impl Streams for Halting {
    fn specs(&self) -> &[StreamSpec] {
        self.inner.specs()
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        self.inner.submit(group).await
    }

    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error> {
        if self.halt.0.load(Ordering::Acquire) {
            return Ok(Read { records: Vec::new(), next: offset, lost: 0 });
        }
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

    async fn claim(&self, group: &GroupName, partitions: &[Partition]) -> Result<(), Error> {
        self.inner.claim(group, partitions).await
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        self.inner.groups().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use streams::StreamName;
    use streams::memory::MemoryStreams;
    use telemetry::clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn after_the_halt_nothing_is_read_and_all_else_goes_on() {
        let spec = StreamSpec { name: StreamName::readings(), partitions: 1 };
        let inner = MemoryStreams::new(vec![spec], SystemClock::shared());
        let partition = Partition::new(StreamName::readings(), 0);
        let halt = Halt::default();
        let streams = Halting { inner: inner.clone(), halt: halt.clone() };
        let record = || vec![Append::new(partition.clone(), 1, b"x".as_slice().into())];
        streams.submit(record()).await.unwrap().await.unwrap();
        assert_eq!(streams.read(&partition, 0, 100).await.unwrap().records.len(), 1);
        halt.halt();
        streams.submit(record()).await.unwrap().await.unwrap();
        assert_eq!(streams.read(&partition, 1, 100).await.unwrap(), Read { next: 1, ..Read::default() });
        assert_eq!(streams.bounds(&partition).unwrap(), 0..2);
        let position = Position { offset: 1, ..Position::default() };
        streams.commit(&"g".into(), vec![(partition.clone(), position.clone())]).await.unwrap();
        assert_eq!(inner.position(&"g".into(), &partition).await.unwrap(), Some(position));
        // Whoever waits for more is not kept from it by others: it asks, and is told there is none.
        let waited = tokio::time::timeout(Duration::from_secs(10), streams.read(&partition, 1, 100)).await;
        assert!(waited.unwrap().unwrap().records.is_empty());
    }
}
