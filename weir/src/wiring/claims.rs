//! Making this process the one that reads its partitions, before anything of them is opened.
//!
//! All groups are claimed at once: after a crash each waits for the lease of the process before, and one wait is enough.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use streams::{GroupName, Partition, Streams};
use tokio::task::JoinSet;

use super::partitions;
use super::readiness::Readiness;

/// A group, and the partitions of its stream or streams.
pub(super) type Claim = (GroupName, Vec<Partition>);

/// Claims all of them; meanwhile `readiness` tells what is waited for.
pub(super) async fn claim(streams: &Arc<dyn Streams>, claims: Vec<Claim>, readiness: &Readiness) -> anyhow::Result<()> {
    let mut waiting: BTreeMap<GroupName, String> =
        claims.iter().map(|(group, partitions)| (group.clone(), text(partitions))).collect();
    let mut tasks = JoinSet::new();
    for (group, partitions) in claims {
        let streams = streams.clone();
        tasks.spawn(async move {
            let claimed = streams.claim(&group, &partitions).await;
            (group, claimed)
        });
    }
    readiness.starting(waits(&waiting));
    while let Some(ended) = tasks.join_next().await {
        let (group, claimed) = ended.context("claiming partitions")?;
        if let Err(error) = claimed {
            // None of the others is to be claimed after the leases were given back.
            tasks.shutdown().await;
            return Err(anyhow::Error::new(error).context(format!("consumer group {group}")));
        }
        waiting.remove(&group);
        readiness.starting(waits(&waiting));
    }
    Ok(())
}

fn waits(waiting: &BTreeMap<GroupName, String>) -> String {
    let all: Vec<String> = waiting.iter().map(|(group, partitions)| format!("{group} in {partitions}")).collect();
    if all.is_empty() { "starting".to_owned() } else { format!("waiting for the lease of {}", all.join(", ")) }
}

/// `readings/0-3`.
fn text(partitions: &[Partition]) -> String {
    let mut streams: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for partition in partitions {
        streams.entry(partition.stream.as_str()).or_default().push(partition.index);
    }
    let of = |(stream, indexes): (&str, Vec<u32>)| format!("{stream}/{}", partitions::text(indexes));
    streams.into_iter().map(of).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use async_trait::async_trait;
    use streams::memory::MemoryStreams;
    use streams::{Append, AppendError, Error, GroupPosition, Position, Read, StreamName, StreamSpec, Ticket};
    use telemetry::clock::SystemClock;
    use tokio::sync::{Semaphore, watch};

    use super::*;

    /// Streams of which others have group `sink/readings`, and of which one group after the other can be had.
    #[derive(Debug)]
    struct Contended {
        inner: Arc<MemoryStreams>,
        free: Semaphore,
    }

    #[async_trait]
    impl Streams for Contended {
        fn specs(&self) -> &[StreamSpec] {
            self.inner.specs()
        }

        async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
            self.inner.submit(group).await
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

        async fn claim(&self, group: &GroupName, partitions: &[Partition]) -> Result<(), Error> {
            if &**group == "sink/readings" {
                let (group, owner) = (group.clone(), "weir sink on a, process 7".to_owned());
                return Err(Error::Owned { group, partition: partitions[0].clone(), owner });
            }
            self.free.acquire().await.unwrap().forget();
            Ok(())
        }

        async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
            self.inner.groups().await
        }
    }

    fn contended() -> (Arc<Contended>, Arc<dyn Streams>) {
        let spec = StreamSpec { name: StreamName::readings(), partitions: 8 };
        let inner = MemoryStreams::new(vec![spec], SystemClock::shared());
        let streams = Arc::new(Contended { inner, free: Semaphore::new(0) });
        (streams.clone(), streams)
    }

    fn claim_of(group: &str) -> Claim {
        (group.into(), (0..4).map(|index| Partition::new(StreamName::readings(), index)).collect())
    }

    #[tokio::test]
    async fn readiness_says_which_leases_are_waited_for_until_all_are_there() {
        let (contended, streams) = contended();
        let readiness = Readiness::new();
        let ready = readiness.asked();
        assert_eq!(ready(), Err("starting".to_owned()));
        let claims = vec![claim_of("rules"), claim_of("workflows")];
        let claiming = tokio::spawn(async move { claim(&streams, claims, &readiness).await });
        let says = async |part: &str| {
            while !ready().unwrap_err().contains(part) {
                tokio::task::yield_now().await;
            }
        };
        says("waiting for the lease of rules in readings/0-3, workflows in readings/0-3").await;
        contended.free.add_permits(1);
        while ready().unwrap_err().contains(", ") {
            tokio::task::yield_now().await;
        }
        says("waiting for the lease of").await;
        contended.free.add_permits(1);
        claiming.await.unwrap().unwrap();
        says("starting").await;
    }

    #[tokio::test]
    async fn an_owner_who_is_alive_is_named() {
        let (_contended, streams) = contended();
        let claims = vec![claim_of("rules"), claim_of("sink/readings")];
        let error = claim(&streams, claims, &Readiness::new()).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("sink/readings in readings/0") && text.contains("weir sink on a, process 7"), "{text}");
    }

    #[test]
    fn what_is_waited_for_is_told_in_few_words() {
        let readings = |indexes: &[u32]| -> Vec<Partition> {
            indexes.iter().map(|index| Partition::new(StreamName::readings(), *index)).collect()
        };
        let mut both = readings(&[0, 1, 2, 6]);
        both.push(Partition::new(StreamName::alerts(), 3));
        assert_eq!(text(&both), "alerts/3 readings/0-2,6");
        let mut waiting =
            BTreeMap::from([("rules".into(), text(&readings(&[0]))), ("sink/alerts".into(), text(&both))]);
        let all = waits(&waiting);
        assert_eq!(all, "waiting for the lease of rules in readings/0, sink/alerts in alerts/3 readings/0-2,6");
        waiting.clear();
        assert_eq!(waits(&waiting), "starting");
    }
}
