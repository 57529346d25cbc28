//! A topic as the coordination of groups sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes};
use tokio::sync::Mutex;

use super::bounds::Bounds;
use super::cluster::{Cluster, Place};
use super::connection::Connection;
use super::fetch::{Fetched, Fetcher};
use super::limits::{TOPIC_ATTEMPTS, pause};
use super::produce::produce_again;
use super::records::Packer;
use super::watcher::ask;
use crate::contract::Error;

/// Partitions of a topic, each an ordered log of bytes, the same for everybody who reads it.
#[async_trait]
pub(super) trait Topic: Send + Sync + fmt::Debug {
    /// Appends `record` behind all that is there; its offset once the cluster has it. It may be there twice, and
    /// after an error once or not at all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the cluster did not take it in time.
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, Error>;

    /// Records from offset `from` on, as many as are there, some MiB at most. If there is none, waits for one, up to
    /// `wait`. No record between those returned is left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn read(&self, partition: u32, from: u64, wait: Duration) -> Result<Vec<(u64, Bytes)>, Error>;

    /// Retained offsets, asked of the cluster now.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn bounds(&self, partition: u32) -> Result<Range<u64>, Error>;
}

/// A topic of a cluster. Its partitions are among those that are watched.
#[derive(Debug)]
pub(super) struct ClusterTopic {
    cluster: Arc<Cluster>,
    bounds: Arc<Bounds>,
    partitions: BTreeMap<u32, Ends>,
}

/// The connections of one partition.
#[derive(Debug)]
struct Ends {
    place: Place,
    write: Mutex<Option<Connection>>,
    read: Mutex<Fetcher>,
}

impl ClusterTopic {
    pub(super) fn new(cluster: Arc<Cluster>, bounds: Arc<Bounds>, name: &Arc<str>, partitions: u32) -> Self {
        let ends = |place: Place| Ends {
            write: Mutex::new(None),
            read: Mutex::new(Fetcher::new(cluster.clone(), bounds.clone(), place.clone())),
            place,
        };
        let partitions = (0..partitions).map(|partition| (partition, ends((name.clone(), partition)))).collect();
        Self { cluster, bounds, partitions }
    }

    fn ends(&self, partition: u32) -> Result<&Ends, Error> {
        let ends = self.partitions.get(&partition);
        ends.ok_or_else(|| Error::Unavailable(format!("fluvio: the topic of groups has no partition {partition}")))
    }

    async fn fetch(&self, ends: &Ends, from: u64) -> Result<Vec<(u64, Bytes)>, Error> {
        let fetched = ends.read.lock().await.fetch(from).await?;
        let slots = match fetched {
            Fetched::Slots(slots) => slots,
            // What came before was carried forward.
            Fetched::Begins(begins) if begins > from => match ends.read.lock().await.fetch(begins).await? {
                Fetched::Slots(slots) => slots,
                Fetched::Begins(_) => Vec::new(),
            },
            Fetched::Begins(_) => Vec::new(),
        };
        Ok(slots.into_iter().map(|slot| (slot.offset, slot.value.unwrap_or_default())).collect())
    }
}

#[async_trait]
impl Topic for ClusterTopic {
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, Error> {
        let ends = self.ends(partition)?;
        let mut packer = Packer::default();
        packer.add(record.len(), |out| out.put_slice(&record));
        let batch = packer.batch(self.cluster.clock.now());
        let mut connection = ends.write.lock().await;
        produce_again(&self.cluster, &self.bounds, &mut connection, &ends.place, batch).await
    }

    async fn read(&self, partition: u32, from: u64, wait: Duration) -> Result<Vec<(u64, Bytes)>, Error> {
        let ends = self.ends(partition)?;
        self.bounds.wanted(&ends.place);
        let mut changed = self.bounds.changed();
        let arrived = async {
            while self.bounds.of(&ends.place).is_some_and(|known| known.end <= from) && changed.changed().await.is_ok()
            {
            }
        };
        if tokio::time::timeout(wait, arrived).await.is_err() {
            return Ok(Vec::new());
        }
        for attempt in 1..TOPIC_ATTEMPTS {
            match self.fetch(ends, from).await {
                Ok(records) => return Ok(records),
                Err(_) => {
                    self.cluster.doubt().await;
                    tokio::time::sleep(pause(u64::from(partition), attempt)).await;
                }
            }
        }
        self.fetch(ends, from).await
    }

    async fn bounds(&self, partition: u32) -> Result<Range<u64>, Error> {
        let place = &self.ends(partition)?.place;
        ask(&self.cluster, &self.bounds, place).await
    }
}
