//! Asks the cluster for the ends of partitions, over and over: one request a server for all partitions it leads.
//!
//! The client's way, a stream that the server pushes into, cuts batches and keeps its place in the server; a fetch after
//! the end has moved is as quick and holds no state anywhere.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use fluvio::dataplane::link::ErrorCode;
use fluvio_spu_schema::server::fetch_offset::{
    FetchOffsetPartition, FetchOffsetTopic, FetchOffsetsRequest, FetchOffsetsResponse,
};

use super::bounds::Bounds;
use super::cluster::{Cluster, Leader, Place};
use super::connection::Connection;
use super::hidden::reveal;
use super::limits::{POLL_ALL, POLL_READ, TOPIC_ATTEMPTS, pause};
use crate::contract::Error;

/// Keeps `bounds` fresh until it is aborted, and sees to it that a server that was away shows all it has of `streams`.
pub(super) async fn watch(cluster: Arc<Cluster>, bounds: Arc<Bounds>, streams: Vec<Place>) {
    let mut watcher = Watcher { cluster, bounds, connections: BTreeMap::new() };
    let (mut failures, mut rounds) = (0, 0_u32);
    let rounds_of_all = u32::try_from(POLL_ALL.as_millis() / POLL_READ.as_millis().max(1)).unwrap_or(1);
    loop {
        let all = failures > 0 || rounds.is_multiple_of(rounds_of_all);
        rounds = rounds.wrapping_add(1);
        match watcher.ask(all).await {
            Ok(()) => {
                if all {
                    watcher.cluster.answered();
                }
                if failures > 0 {
                    tokio::spawn(reveal_all(watcher.cluster.clone(), watcher.bounds.clone(), streams.clone()));
                }
                failures = 0;
                tokio::time::sleep(POLL_READ).await;
            }
            Err(error) => {
                failures += 1;
                watcher.cluster.away(&error);
                watcher.cluster.doubt().await;
                tokio::time::sleep(pause(0, failures)).await;
            }
        }
    }
}

/// Nobody waits for this.
async fn reveal_all(cluster: Arc<Cluster>, bounds: Arc<Bounds>, places: Vec<Place>) {
    for place in places {
        if let Err(error) = reveal(&cluster, &bounds, &place).await {
            tracing::debug!(topic = %place.0, partition = place.1, %error, "not asked for what it hides");
        }
    }
}

/// Asks for the bounds of `place` now, on a connection of its own.
pub(super) async fn ask_once(cluster: &Cluster, bounds: &Bounds, place: &Place) -> Result<Range<u64>, Error> {
    let mut connection = cluster.leader(place).await?;
    let response = connection.call(request(std::slice::from_ref(place)), cluster.timeout).await?;
    let told = answers(response)?.into_iter().next().map(|(_, told)| told);
    let told = told.ok_or_else(|| Error::Unavailable(format!("fluvio: no bounds of {}/{}", place.0, place.1)))?;
    bounds.told(place, told.clone());
    Ok(told)
}

/// As [`ask_once`], a few times while the cluster does not answer.
pub(super) async fn ask(cluster: &Cluster, bounds: &Bounds, place: &Place) -> Result<Range<u64>, Error> {
    for attempt in 1..TOPIC_ATTEMPTS {
        match ask_once(cluster, bounds, place).await {
            Ok(told) => return Ok(told),
            Err(_) => {
                cluster.doubt().await;
                tokio::time::sleep(pause(u64::from(place.1), attempt)).await;
            }
        }
    }
    ask_once(cluster, bounds, place).await
}

struct Watcher {
    cluster: Arc<Cluster>,
    bounds: Arc<Bounds>,
    connections: BTreeMap<Leader, Connection>,
}

impl Watcher {
    /// Asks every server at once. An error does not keep the answers of the others from being noted.
    async fn ask(&mut self, all: bool) -> Result<(), Error> {
        let places = self.bounds.places(all);
        let asked = places.len();
        let by_leader = self.cluster.by_leader(places);
        let led: usize = by_leader.values().map(Vec::len).sum();
        let mut questions = Vec::new();
        for (leader, places) in by_leader {
            let connection = self.connections.remove(&leader);
            questions.push(ask_server(&self.cluster, &self.bounds, leader, connection, places));
        }
        let mut outcome = Ok(());
        for (leader, answered) in futures::future::join_all(questions).await {
            match answered {
                Ok(connection) => drop(self.connections.insert(leader, connection)),
                Err(error) => outcome = Err(error),
            }
        }
        if led < asked {
            return Err(Error::Unavailable(format!("fluvio: {} of {asked} partitions have no leader", asked - led)));
        }
        outcome
    }
}

async fn ask_server(
    cluster: &Cluster,
    bounds: &Bounds,
    leader: Leader,
    connection: Option<Connection>,
    places: Vec<Place>,
) -> (Leader, Result<Connection, Error>) {
    let answered = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => cluster.server(&leader).await?,
        };
        let response = connection.call(request(&places), cluster.timeout).await?;
        for (place, told) in answers(response)? {
            bounds.told(&place, told);
        }
        Ok(connection)
    }
    .await;
    (leader, answered)
}

/// Places are in order, those of a topic together.
fn request(places: &[Place]) -> FetchOffsetsRequest {
    let mut topics: Vec<FetchOffsetTopic> = Vec::new();
    for (topic, partition_index) in places {
        let partition = FetchOffsetPartition { partition_index: *partition_index };
        match topics.last_mut().filter(|last| *last.name == **topic) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(FetchOffsetTopic { name: topic.to_string(), partitions: vec![partition] }),
        }
    }
    FetchOffsetsRequest { topics, ..FetchOffsetsRequest::default() }
}

fn answers(response: FetchOffsetsResponse) -> Result<Vec<(Place, Range<u64>)>, Error> {
    let mut answers = Vec::new();
    for topic in response.topics {
        let name: Arc<str> = topic.name.into();
        for partition in topic.partitions {
            if partition.error_code != ErrorCode::None {
                let (index, code) = (partition.partition_index, partition.error_code);
                return Err(Error::Unavailable(format!("fluvio: bounds of {name}/{index}: {code}")));
            }
            let offset = |offset| u64::try_from(offset).unwrap_or(0);
            let told = offset(partition.start_offset)..offset(partition.last_stable_offset);
            answers.push(((name.clone(), partition.partition_index), told));
        }
    }
    Ok(answers)
}
