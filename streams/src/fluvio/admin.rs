//! Topics: what they are called, and that they are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fluvio_sc_schema::topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec, TopicStorageConfig};

use super::cluster::{Cluster, Place};
use super::groups::limits as groups;
use super::limits::{FOLLOWERS_READY, PARTITION_BYTES, PAUSE, SEGMENT_BYTES, TOPICS_READY};
use crate::contract::{Error, StreamName, StreamSpec};

/// A topic that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: Arc<str>,
    pub(super) partitions: u32,
    retention: Duration,
    segment_bytes: u32,
    partition_bytes: u64,
}

impl Wanted {
    /// The topic of `stream`.
    pub(super) fn stream(prefix: &str, stream: &StreamSpec, retention: Duration) -> Self {
        Self {
            name: topic_of(prefix, &stream.name),
            partitions: stream.partitions,
            retention,
            segment_bytes: SEGMENT_BYTES,
            partition_bytes: PARTITION_BYTES,
        }
    }

    /// The topic that groups are coordinated by, for streams of at most `partitions`.
    pub(super) fn groups(prefix: &str, partitions: u32) -> Self {
        Self {
            name: format!("{prefix}groups").into(),
            partitions,
            retention: groups::RETENTION,
            segment_bytes: groups::SEGMENT_BYTES,
            partition_bytes: groups::PARTITION_BYTES,
        }
    }

    fn spec(&self, replication: u32) -> TopicSpec {
        let mut spec = TopicSpec::new_computed(self.partitions, replication, None);
        let time_in_seconds = u32::try_from(self.retention.as_secs()).unwrap_or(u32::MAX);
        spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds }));
        spec.set_storage(TopicStorageConfig {
            segment_size: Some(self.segment_bytes),
            max_partition_size: Some(self.partition_bytes),
        });
        spec
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        (0..self.partitions).map(|partition| (self.name.clone(), partition))
    }
}

/// The topic of `stream`: Fluvio's names have no `_`.
pub(super) fn topic_of(prefix: &str, stream: &StreamName) -> Arc<str> {
    format!("{prefix}{}", stream.as_str().replace('_', "-")).into()
}

/// The topics of `specs` and that of their groups.
///
/// # Errors
/// [`Error::Incompatible`] if two streams would share a topic.
pub(super) fn topics_of(prefix: &str, specs: &[StreamSpec], retention: Duration) -> Result<Vec<Wanted>, Error> {
    let most = specs.iter().map(|spec| spec.partitions).max().unwrap_or(1);
    let mut users = BTreeMap::from([(Wanted::groups(prefix, most).name, "the coordination of groups".to_owned())]);
    let mut wanted = vec![Wanted::groups(prefix, most)];
    for spec in specs {
        let topic = Wanted::stream(prefix, spec, retention);
        let user = format!("stream {}", spec.name);
        if let Some(other) = users.insert(topic.name.clone(), user.clone()) {
            return Err(Error::Incompatible(format!(
                "topic {} would belong to {other} and to {user}; give one of them another name",
                topic.name
            )));
        }
        wanted.push(topic);
    }
    Ok(wanted)
}

/// Creates what is missing of `wanted`, and waits until every partition has a leader.
///
/// # Errors
/// [`Error::Incompatible`] if a topic has another number of partitions; [`Error::Unavailable`] if the cluster does not
/// answer, or is not ready in time.
pub(super) async fn ensure(cluster: &Cluster, wanted: &[Wanted], replication: u32) -> Result<(), Error> {
    let (mut refusals, mut created) = (BTreeMap::new(), BTreeSet::new());
    let ready = tokio::time::timeout(TOPICS_READY, async {
        loop {
            match step(cluster, wanted, replication, &mut refusals, &mut created).await {
                Ok(true) => return Ok(()),
                Err(error @ Error::Incompatible(_)) => return Err(error),
                Ok(false) => {}
                Err(error) => cluster.away(&error),
            }
            tokio::time::sleep(PAUSE.0 * 4).await;
        }
    })
    .await;
    ready.unwrap_or_else(|_| Err(late(cluster, wanted, replication, &refusals)))?;
    if replication > 1 && !created.is_empty() {
        let created: Vec<Place> =
            wanted.iter().filter(|topic| created.contains(&topic.name)).flat_map(Wanted::places).collect();
        followed(cluster, &created, replication).await;
    }
    Ok(())
}

/// Waits until the followers of new partitions follow. Those of topics that were there are not waited for: one may be
/// away.
async fn followed(cluster: &Cluster, created: &[Place], replication: u32) {
    let followers = usize::try_from(replication).unwrap_or(usize::MAX) - 1;
    let follow = async {
        while created.iter().any(|place| cluster.followers(place) < followers) {
            tokio::time::sleep(PAUSE.0 * 4).await;
            if let Err(error) = cluster.learn().await {
                tracing::debug!(%error, "followers not learnt");
            }
        }
    };
    if tokio::time::timeout(FOLLOWERS_READY, follow).await.is_err() {
        tracing::warn!(replication, "not all followers of new topics follow; nothing is acknowledged until they do");
    }
}

/// Lists, creates what is missing, and tells whether all have leaders. A creation may time out and still succeed, so only
/// the list counts.
async fn step(
    cluster: &Cluster,
    wanted: &[Wanted],
    replication: u32,
    refusals: &mut BTreeMap<Arc<str>, String>,
    created: &mut BTreeSet<Arc<str>>,
) -> Result<bool, Error> {
    let there = cluster.topics().await?;
    let mut complete = true;
    for topic in wanted {
        match there.get(&*topic.name) {
            Some(partitions) if *partitions == topic.partitions => {}
            Some(partitions) => {
                return Err(Error::Incompatible(format!(
                    "topic {} has {partitions} partitions, and streams.partitions asks for {}; the number cannot change",
                    topic.name, topic.partitions
                )));
            }
            None => {
                complete = false;
                created.insert(topic.name.clone());
                create(cluster, topic, replication, refusals).await;
            }
        }
    }
    if complete {
        cluster.learn().await?;
        complete = without_leader(cluster, wanted).is_empty();
    }
    Ok(complete)
}

async fn create(cluster: &Cluster, topic: &Wanted, replication: u32, refusals: &mut BTreeMap<Arc<str>, String>) {
    let why = match cluster.create(&topic.name, topic.spec(replication)).await {
        Ok(status) if status.error_code.is_ok() => {
            tracing::info!(topic = %topic.name, partitions = topic.partitions, replication, "topic created");
            return;
        }
        Ok(status) => status.error_message.unwrap_or_else(|| status.error_code.to_string()),
        Err(error) => error.to_string(),
    };
    tracing::debug!(topic = %topic.name, why, "topic not created, or not known to be");
    refusals.insert(topic.name.clone(), why);
}

fn without_leader(cluster: &Cluster, wanted: &[Wanted]) -> Vec<Place> {
    let led = cluster.by_leader(wanted.iter().flat_map(Wanted::places));
    let led: BTreeSet<Place> = led.into_values().flatten().collect();
    wanted.iter().flat_map(Wanted::places).filter(|place| !led.contains(place)).collect()
}

fn late(cluster: &Cluster, wanted: &[Wanted], replication: u32, refusals: &BTreeMap<Arc<str>, String>) -> Error {
    let seconds = TOPICS_READY.as_secs();
    if let Err(why) = cluster.reachable() {
        return Error::Unavailable(why);
    }
    let missing = without_leader(cluster, wanted);
    let place =
        missing.first().map_or_else(String::new, |(topic, partition)| format!(", the first {topic}/{partition}"));
    let why =
        missing.first().and_then(|(topic, _)| refusals.get(topic)).map_or_else(String::new, |why| format!(": {why}"));
    Error::Unavailable(format!(
        "fluvio: after {seconds} s {} partitions have no leader{place}{why}; fluvio.replication = {replication} needs as \
         many SPUs",
        missing.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, partitions: u32) -> StreamSpec {
        StreamSpec { name: StreamName::new(name).unwrap(), partitions }
    }

    #[test]
    fn topics_are_named_by_streams() {
        let specs = [spec("dead_letters", 3), spec("readings", 8)];
        let wanted = topics_of("weir-", &specs, Duration::from_secs(3600)).unwrap();
        let names: Vec<_> = wanted.iter().map(|topic| (&*topic.name, topic.partitions)).collect();
        assert_eq!(names, [("weir-groups", 8), ("weir-dead-letters", 3), ("weir-readings", 8)]);
        let spec = wanted[1].spec(2);
        assert_eq!(spec.retention_secs(), 3600);
        assert_eq!(spec.validate_config(), None);
        assert_eq!(wanted[0].spec(2).validate_config(), None);
    }

    #[test]
    fn streams_do_not_share_a_topic() {
        for pair in [["a_b", "a-b"], ["groups", "readings"]] {
            let specs = pair.map(|name| spec(name, 1));
            let refused = topics_of("weir-", &specs, Duration::from_secs(3600)).unwrap_err().to_string();
            assert!(refused.contains("would belong to"), "{refused}");
        }
    }
}
