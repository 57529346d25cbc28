//! The streams themselves.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use telemetry::Clock;
use telemetry::trace::Tracing;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::admin::{ensure, topic_of, topics_of};
use super::bounds::Bounds;
use super::cluster::{Cluster, Place};
use super::config::FluvioConfig;
use super::envelope::{HEADER, Kind};
use super::groups::Groups;
use super::hidden::reveal;
use super::limits::{CLOSE_TIMEOUTS, REQUEST_BYTES, TOPICS_READY};
use super::metrics::FluvioMetrics;
use super::producer::{Outgoing, Producer, Queue, Writer};
use super::reader::PartitionReader;
use super::topic::ClusterTopic;
use super::watcher;
use crate::contract::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, StreamSpec, Streams, Ticket,
};

/// Streams on a Fluvio cluster, as one process uses them.
#[derive(Debug)]
pub struct FluvioStreams {
    pub(super) config: FluvioConfig,
    specs: Vec<StreamSpec>,
    pub(super) partitions: BTreeMap<Partition, Lane>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) bounds: Arc<Bounds>,
    pub(super) groups: Arc<Groups>,
    producer: Producer,
    failed: watch::Sender<Option<String>>,
    pub(super) importing: tokio::sync::Mutex<BTreeMap<Partition, u64>>,
    tasks: Vec<JoinHandle<()>>,
}

/// One partition of one stream.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) place: Place,
    queue: Arc<Queue>,
    pub(super) reader: PartitionReader,
}

impl FluvioStreams {
    /// Connects, creates topics that are missing, and learns where partitions and groups stand. What the cluster needs
    /// for groups that are traced goes to `tracing`.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if topics contradict `specs` or certificates cannot be read, [`Error::Unavailable`] if the
    /// cluster is not ready within a minute.
    pub async fn connect(
        config: FluvioConfig,
        specs: Vec<StreamSpec>,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        metrics: FluvioMetrics,
    ) -> Result<Arc<Self>, Error> {
        let topics = topics_of(&config.topic_prefix, &specs, config.retention)?;
        metrics.begin(topics.iter().map(|topic| &*topic.name));
        let cluster = Arc::new(Cluster::new(&config, clock.clone(), metrics.clone())?);
        ensure(&cluster, &topics, config.replication).await?;
        cluster.answered();
        let places = topics.iter().map(|topic| (0..topic.partitions).map(|index| (topic.name.clone(), index)));
        let mut places: Vec<Vec<Place>> = places.map(Iterator::collect).collect();
        let bounds = Arc::new(Bounds::new(places.concat(), clock.clone(), metrics));
        // The topic of groups comes first. It hides nothing for long: all append there, all the time.
        for place in places.remove(0) {
            patiently(&cluster, async || watcher::ask(&cluster, &bounds, &place).await.map(drop)).await?;
        }
        let places = places.concat();
        for place in &places {
            patiently(&cluster, async || reveal(&cluster, &bounds, place).await).await?;
        }
        let mut tasks = vec![tokio::spawn(watcher::watch(cluster.clone(), bounds.clone(), places))];
        let (failed, id) = (watch::Sender::new(None), writer_id(&config.owner, &*clock));
        let mut partitions = BTreeMap::new();
        for spec in &specs {
            let topic = topic_of(&config.topic_prefix, &spec.name);
            for index in 0..spec.partitions {
                let (partition, place) = (Partition::new(spec.name.clone(), index), (topic.clone(), index));
                let queue = Queue::new();
                let (cluster, bounds) = (cluster.clone(), bounds.clone());
                let reader = PartitionReader::new(partition.clone(), place.clone(), cluster.clone(), bounds.clone());
                let (to, tracing, failed) = (partition.clone(), tracing.clone(), failed.clone());
                let writer =
                    Writer { cluster, bounds, queue: queue.clone(), place: place.clone(), to, id, tracing, failed };
                tasks.push(tokio::spawn(writer.run()));
                partitions.insert(partition, Lane { place, queue, reader });
            }
        }
        let groups_topic = topics.first().map(|topic| (topic.name.clone(), topic.partitions));
        let (name, count) = groups_topic.ok_or_else(|| Error::Incompatible("no topic of groups".to_owned()))?;
        let topic = Arc::new(ClusterTopic::new(cluster.clone(), bounds.clone(), &name, count));
        let groups = Groups::open(topic, count, config.owner.clone(), config.lease, clock).await?;
        tasks.push(tokio::spawn(pass_on(groups.failed(), failed.clone())));
        let producer = Producer::new(config.queue_bytes, failed.clone(), cluster.metrics.queue_bytes.clone());
        let importing = tokio::sync::Mutex::default();
        Ok(Arc::new(Self { config, specs, partitions, cluster, bounds, groups, producer, failed, importing, tasks }))
    }

    /// Becomes the reason when this process must end: another one took over its partitions, or an append can never
    /// succeed.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Whether the cluster answered lately.
    ///
    /// # Errors
    /// For how long it has not, why, and how much waits for it.
    pub fn reachable(&self) -> Result<(), String> {
        let waiting = self.waiting_bytes();
        self.cluster.reachable().map_err(|why| format!("{why}; {waiting} bytes wait to be appended"))
    }

    /// Bytes submitted and not yet acknowledged by the cluster.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.producer.waiting_bytes()
    }

    /// Waits for what was submitted, a few timeouts at most, and gives up the partitions of all groups. Nothing works
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if something submitted was not acknowledged: it may be there or not.
    pub async fn close(&self) -> Result<(), Error> {
        let patience = self.config.timeout * CLOSE_TIMEOUTS;
        let drained = tokio::time::timeout(patience, self.producer.drained()).await;
        let waiting = self.waiting_bytes();
        self.groups.release().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        drained.map_err(|_| {
            Error::Unavailable(format!(
                "{waiting} bytes were not acknowledged by the cluster within {} s",
                patience.as_secs()
            ))
        })
    }

    /// Deletes the topics of these streams with all they hold. For tests, and nobody may use them meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_topics(&self) -> Result<(), Error> {
        self.tasks.iter().for_each(JoinHandle::abort);
        for topic in topics_of(&self.config.topic_prefix, &self.specs, self.config.retention)? {
            let status = self.cluster.delete(&topic.name).await?;
            tracing::debug!(%status, "topic deleted");
        }
        Ok(())
    }

    pub(super) async fn queue(&self, group: Vec<(Partition, Outgoing)>) -> Result<Ticket, AppendError> {
        let mut checked = Vec::with_capacity(group.len());
        for (to, record) in group {
            let lane = self.lane(&to).map_err(|unknown| AppendError::Refused(unknown.to_string()))?;
            let (len, most) = (record.payload.len(), self.config.record_bytes.min(REQUEST_BYTES - HEADER));
            if len > most {
                return Err(AppendError::Refused(format!("a record of {len} bytes for {to}, of {most} at most")));
            }
            checked.push((lane.queue.clone(), record));
        }
        self.producer.submit(checked).await
    }

    pub(super) fn lane(&self, of: &Partition) -> Result<&Lane, Error> {
        self.partitions.get(of).ok_or_else(|| Error::UnknownPartition(of.clone()))
    }
}

impl Drop for FluvioStreams {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Streams for FluvioStreams {
    fn specs(&self) -> &[StreamSpec] {
        &self.specs
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        let appended_at = self.cluster.clock.now();
        let outgoing = |append: Append| {
            let base = self.groups.base(&append.to);
            let Append { to, rows, payload, trace } = append;
            (to, Outgoing { kind: Kind::Record, identity: None, rows, appended_at, payload, base, trace })
        };
        self.queue(group.into_iter().map(outgoing).collect()).await
    }

    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error> {
        self.lane(from)?.reader.read(offset, max_bytes, self.groups.base(from)).await
    }

    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error> {
        let known = self.bounds.of(&self.lane(of)?.place).ok_or_else(|| Error::UnknownPartition(of.clone()))?;
        let base = self.groups.base(of);
        Ok(known.start + base..known.end + base)
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.bounds.changed()
    }

    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error> {
        self.lane(of)?;
        self.groups.position(group, of).await
    }

    async fn commit(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        for (of, position) in &positions {
            self.retained(of, position.offset).await?;
        }
        self.groups.commit(group, positions).await
    }

    async fn claim(&self, group: &GroupName, partitions: &[Partition]) -> Result<(), Error> {
        for of in partitions {
            self.lane(of)?;
        }
        self.groups.claim(group, partitions).await?;
        // What the former owner appended last is seen by who goes on behind it.
        for of in partitions {
            reveal(&self.cluster, &self.bounds, &self.lane(of)?.place).await?;
        }
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        self.groups.all().await
    }
}

impl FluvioStreams {
    /// That `offset` may be a position: by what is known, and if that says no, by what the cluster says now.
    async fn retained(&self, of: &Partition, offset: u64) -> Result<(), Error> {
        let known = self.bounds(of)?;
        if (known.start..=known.end).contains(&offset) {
            return Ok(());
        }
        watcher::ask_once(&self.cluster, &self.bounds, &self.lane(of)?.place).await?;
        let known = self.bounds(of)?;
        if (known.start..=known.end).contains(&offset) {
            return Ok(());
        }
        Err(Error::OutOfRange { partition: of.clone(), offset, start: known.start, end: known.end })
    }
}

/// What `ask` answers, asked again for as long as a cluster may take to be ready.
async fn patiently(cluster: &Cluster, ask: impl AsyncFn() -> Result<(), Error>) -> Result<(), Error> {
    let since = cluster.clock.monotonic();
    loop {
        match ask().await {
            Err(error @ Error::Unavailable(_)) if cluster.clock.monotonic() - since < TOPICS_READY => {
                tracing::debug!(%error, "asking again");
            }
            answer => return answer,
        }
    }
}

/// Lets the failure of groups be one of the streams.
async fn pass_on(mut from: watch::Receiver<Option<String>>, to: watch::Sender<Option<String>>) {
    if let Ok(why) = from.wait_for(Option::is_some).await {
        to.send_replace(why.clone());
    }
}

/// Identity of this process among all that ever write: by who it is, when it began, and how many it has been.
fn writer_id(owner: &str, clock: &dyn Clock) -> u64 {
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let mut hasher = DefaultHasher::new();
    owner.hash(&mut hasher);
    clock.now().as_micros().hash(&mut hasher);
    std::process::id().hash(&mut hasher);
    WRITERS.fetch_add(1, Ordering::Relaxed).hash(&mut hasher);
    hasher.finish()
}
