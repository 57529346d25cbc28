//! Who leads which partition, and whether the cluster answers.
//!
//! Asked of the controller at the start and again whenever a request fails, on a connection of its own each time, so that
//! nothing outlives a controller that was restarted. While the controller is away the last answer is good enough.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use fluvio_sc_schema::objects::{
    CommonCreateRequest, CreateRequest, DeleteRequest, ListFilters, ListRequest, ListResponse, Metadata,
    ObjectApiCreateRequest, ObjectApiDeleteRequest, ObjectApiListRequest,
};
use fluvio_sc_schema::partition::PartitionSpec;
use fluvio_sc_schema::spu::SpuSpec;
use fluvio_sc_schema::topic::TopicSpec;
use fluvio_sc_schema::{AdminSpec, Status, TryEncodableFrom};
use telemetry::Clock;

use super::config::FluvioConfig;
use super::connection::{Connection, Server};
use super::limits::REFRESH_APART;
use super::metrics::FluvioMetrics;
use super::tls::Identity;
use crate::contract::Error;

/// One partition of one topic.
pub(super) type Place = (Arc<str>, u32);

/// A cluster as all parts of this backend see it.
pub(super) struct Cluster {
    controller: Server,
    pub(super) timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: FluvioMetrics,
    leaders: RwLock<Arc<Leaders>>,
    /// When the controller was last asked.
    asked: tokio::sync::Mutex<Option<Duration>>,
    contact: Mutex<Contact>,
}

/// Addresses of leaders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaders {
    of: BTreeMap<Place, Leader>,
    /// How many followers each has that keep up with it.
    followers: BTreeMap<Place, usize>,
}

/// A server that leads a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leader {
    /// Its name, which its certificate begins with.
    name: String,
    address: String,
}

#[derive(Debug, Default)]
struct Contact {
    /// When all servers answered last.
    answered: Duration,
    /// Since when one of them does not, and what happened.
    away: Option<(Duration, String)>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("controller", &self.controller.address).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads certificates; connects to nothing.
    pub(super) fn new(config: &FluvioConfig, clock: Arc<dyn Clock>, metrics: FluvioMetrics) -> Result<Self, Error> {
        let tls = config.tls.as_ref().map(Identity::read).transpose()?;
        let answered = clock.monotonic();
        Ok(Self {
            controller: Server { address: config.endpoint.clone(), name: None, tls },
            timeout: config.timeout,
            clock,
            metrics,
            leaders: RwLock::default(),
            asked: tokio::sync::Mutex::new(None),
            contact: Mutex::new(Contact { answered, away: None }),
        })
    }

    /// Connects to the leader of `place`, as far as it is known.
    pub(super) async fn leader(&self, place: &Place) -> Result<Connection, Error> {
        let leader = self.leaders().of.get(place).cloned();
        let leader = leader
            .ok_or_else(|| Error::Unavailable(format!("fluvio: no leader of {}/{} is known", place.0, place.1)))?;
        self.server(&leader).await
    }

    /// Connects to `leader`.
    pub(super) async fn server(&self, leader: &Leader) -> Result<Connection, Error> {
        let (address, name) = (leader.address.clone(), Some(leader.name.clone()));
        Connection::open(Server { address, name, tls: self.controller.tls.clone() }, self.timeout).await
    }

    /// Places by the server that leads them.
    pub(super) fn by_leader(&self, places: impl IntoIterator<Item = Place>) -> BTreeMap<Leader, Vec<Place>> {
        let leaders = self.leaders();
        let mut grouped: BTreeMap<Leader, Vec<Place>> = BTreeMap::new();
        for place in places {
            if let Some(leader) = leaders.of.get(&place) {
                grouped.entry(leader.clone()).or_default().push(place);
            }
        }
        grouped
    }

    /// Followers of `place` that keep up with its leader, as of the last learning.
    pub(super) fn followers(&self, place: &Place) -> usize {
        self.leaders().followers.get(place).copied().unwrap_or(0)
    }

    /// Something failed: asks the controller anew who leads what, unless that was just done.
    pub(super) async fn doubt(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < REFRESH_APART) {
            return;
        }
        self.metrics.rebuilds.inc();
        if let Err(error) = self.learn().await {
            tracing::debug!(%error, "leaders of partitions not learnt anew");
        }
        *asked = Some(self.clock.monotonic());
    }

    /// Asks the controller who leads what.
    pub(super) async fn learn(&self) -> Result<(), Error> {
        let mut controller = self.controller().await?;
        let servers: BTreeMap<_, _> = self
            .list::<SpuSpec>(&mut controller)
            .await?
            .into_iter()
            .map(|spu| (spu.spec.id, Leader { name: spu.name, address: spu.spec.public_endpoint.addr() }))
            .collect();
        let mut leaders = Leaders::default();
        for partition in self.list::<PartitionSpec>(&mut controller).await? {
            let leader = servers.get(&partition.spec.leader);
            if let (Some(place), Some(leader)) = (place_of(&partition.name), leader) {
                // A follower that the leader has not heard of yet has no end.
                let followers = partition.status.replicas.iter().filter(|replica| replica.leo >= 0).count();
                leaders.followers.insert(place.clone(), followers);
                leaders.of.insert(place, leader.clone());
            }
        }
        *self.leaders.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(leaders);
        Ok(())
    }

    /// The topics there are, with their partitions.
    pub(super) async fn topics(&self) -> Result<BTreeMap<String, u32>, Error> {
        let topics = self.list::<TopicSpec>(&mut self.controller().await?).await?;
        Ok(topics.into_iter().map(|topic| (topic.name, topic.spec.partitions())).collect())
    }

    /// Creates a topic. An error says little: it may be there all the same.
    pub(super) async fn create(&self, name: &str, spec: TopicSpec) -> Result<Status, Error> {
        let mut controller = self.controller().await?;
        let common = CommonCreateRequest { name: name.to_owned(), ..CommonCreateRequest::default() };
        let version = controller.version::<ObjectApiCreateRequest>()?;
        let request = ObjectApiCreateRequest::try_encode_from(CreateRequest::new(common, spec), version);
        controller.call(request.map_err(|error| Error::Incompatible(format!("{error:#}")))?, self.timeout).await
    }

    /// Deletes a topic.
    pub(super) async fn delete(&self, name: &str) -> Result<Status, Error> {
        let mut controller = self.controller().await?;
        let version = controller.version::<ObjectApiDeleteRequest>()?;
        let request = DeleteRequest::<TopicSpec>::new(name.to_owned());
        let request = ObjectApiDeleteRequest::try_encode_from(request, version);
        controller.call(request.map_err(|error| Error::Incompatible(format!("{error:#}")))?, self.timeout).await
    }

    /// All servers answered.
    pub(super) fn answered(&self) {
        let now = self.clock.monotonic();
        let mut contact = self.contact();
        contact.answered = now;
        if let Some((since, _)) = contact.away.take() {
            self.metrics.outage.set(0);
            tracing::info!(seconds = now.saturating_sub(since).as_secs_f64(), "the cluster answers again");
        }
    }

    /// A server does not answer. Logged once per outage.
    pub(super) fn away(&self, error: &Error) {
        let now = self.clock.monotonic();
        let mut contact = self.contact();
        let first = contact.away.is_none();
        let since = contact.away.as_ref().map_or(now, |(since, _)| *since);
        contact.away = Some((since, error.to_string()));
        if first {
            self.metrics.outage.set(1);
            tracing::warn!(%error, "the cluster does not answer; asking again until it does");
        }
    }

    /// Whether the cluster answered lately.
    ///
    /// # Errors
    /// For how long it has not, and why.
    pub(super) fn reachable(&self) -> Result<(), String> {
        let silent = self.clock.monotonic().saturating_sub(self.contact().answered);
        if silent <= self.timeout {
            return Ok(());
        }
        let why = self.contact().away.as_ref().map_or_else(String::new, |(_, why)| format!(": {why}"));
        Err(format!("the cluster has not answered for {:.1} s{why}", silent.as_secs_f64()))
    }

    /// A connection to the controller, to be dropped after use.
    async fn controller(&self) -> Result<Connection, Error> {
        Connection::open(self.controller.clone(), self.timeout).await
    }

    async fn list<S>(&self, controller: &mut Connection) -> Result<Vec<Metadata<S>>, Error>
    where
        S: AdminSpec,
        S::Status: fluvio::dataplane::Encoder + fluvio::dataplane::Decoder + fmt::Debug,
        ListRequest<S>: fluvio::dataplane::Encoder + fluvio::dataplane::Decoder + fmt::Debug,
    {
        let strange = |error| Error::Incompatible(format!("fluvio: list of {}: {error}", S::LABEL));
        let version = controller.version::<ObjectApiListRequest>()?;
        let request = ListRequest::<S>::new(ListFilters::default(), false);
        let request = ObjectApiListRequest::try_encode_from(request, version);
        let request = request.map_err(|error| strange(format!("{error:#}")))?;
        let response = controller.call(request, self.timeout).await?;
        let listed: Option<ListResponse<S>> = response.downcast().map_err(|error| strange(format!("{error:#}")))?;
        Ok(listed.ok_or_else(|| strange("another list came back".to_owned()))?.inner())
    }

    fn leaders(&self) -> Arc<Leaders> {
        self.leaders.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn contact(&self) -> std::sync::MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The partition that the controller calls `name`: topic, `-`, index.
fn place_of(name: &str) -> Option<Place> {
    let (topic, index) = name.rsplit_once('-')?;
    Some((topic.into(), index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use telemetry::clock::SystemClock;

    use super::*;

    #[test]
    fn partitions_are_called_by_topic_and_index() {
        assert_eq!(place_of("weir-dead-letters-12"), Some(("weir-dead-letters".into(), 12)));
        assert_eq!(place_of("weir"), None);
        assert_eq!(place_of("weir-readings"), None);
    }

    #[tokio::test]
    async fn a_cluster_that_is_not_there_is_unavailable() {
        let config = FluvioConfig {
            endpoint: "127.0.0.1:1".to_owned(),
            topic_prefix: "weir-".to_owned(),
            replication: 1,
            retention: Duration::from_secs(3600),
            timeout: Duration::from_secs(1),
            lease: Duration::from_secs(2),
            owner: "a test".to_owned(),
            record_bytes: 1024,
            queue_bytes: 1024,
            tls: None,
        };
        let metrics = FluvioMetrics::register(&Registry::new()).unwrap();
        let cluster = Cluster::new(&config, SystemClock::shared(), metrics).unwrap();
        let refused = cluster.learn().await.unwrap_err();
        assert!(matches!(&refused, Error::Unavailable(why) if why.contains("127.0.0.1:1")), "{refused}");
        cluster.doubt().await;
        assert_eq!(cluster.metrics.rebuilds.get(), 1);
        cluster.away(&refused);
        assert_eq!(cluster.metrics.outage.get(), 1);
        cluster.answered();
        assert_eq!(cluster.metrics.outage.get(), 0);
    }
}
