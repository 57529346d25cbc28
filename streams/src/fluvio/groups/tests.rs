//! Groups on a topic in memory that fails, duplicates, delays and loses acknowledgements.

mod memory_topic;
mod property;

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use telemetry::Timestamp;
use telemetry::clock::ManualClock;

use self::memory_topic::{Fault, MemoryTopic};
use super::limits::{CARRY_BYTES, PARTITION_BYTES};
use super::record::{Carried, Decoded};
use super::*;
use crate::contract::StreamName;

/// By a clock that tests own; looks at what is awaited are a fortieth of it apart, in real time.
const LEASE: Duration = Duration::from_millis(400);

/// A topic, and the processes that come to it.
struct World {
    topic: Arc<MemoryTopic>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new(partitions: u32) -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
        Self { topic: MemoryTopic::new(partitions, clock.clone()), clock }
    }

    /// A process that renews nothing by itself.
    async fn process(&self, name: &str) -> Arc<Groups> {
        let partitions = self.topic.partitions();
        Groups::open_still(self.topic.clone(), partitions, name, LEASE, self.clock.clone()).await.unwrap()
    }

    /// Time for which an owner must be silent before others take over.
    fn let_leases_expire(&self) {
        self.clock.advance(LEASE + LEASE / MARGIN);
    }
}

fn rules() -> GroupName {
    "rules".into()
}

fn readings(index: u32) -> Partition {
    Partition::new(StreamName::readings(), index)
}

fn at(offset: u64) -> Position {
    Position { offset, state: Bytes::from(format!("state of {offset}")) }
}

async fn commit(groups: &Groups, index: u32, offset: u64) -> Result<(), Error> {
    groups.commit(&rules(), vec![(readings(index), at(offset))]).await
}

async fn position(groups: &Groups, index: u32) -> Option<Position> {
    groups.position(&rules(), &readings(index)).await.unwrap()
}

fn failed(groups: &Groups) -> Option<String> {
    groups.failed().borrow().clone()
}

#[tokio::test]
async fn of_two_that_claim_at_once_one_owns_and_the_other_is_told_who() {
    let world = World::new(2);
    let (a, b) = (world.process("a").await, world.process("b").await);
    let both = [readings(0), readings(1)];
    a.claim(&rules(), &both).await.unwrap();
    a.claim(&rules(), &both).await.unwrap();
    let (group, seat) = (rules(), &b.seats[0]);
    // It looked before the other's claim was there: the topic decides.
    let late = Record::Claim { key: key(&group, &both[0]), expected: 0, owner: b.me.clone() };
    seat.follower.append(&late, LEASE).await.unwrap();
    let refused = {
        let claim = b.claim(&group, &both);
        let renewing = async {
            loop {
                assert!(a.renew().await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! { refused = claim => refused, () = renewing => unreachable!() }
    };
    assert!(matches!(&refused, Err(Error::Owned { owner, .. }) if owner == "a"), "{refused:?}");
    commit(&a, 0, 7).await.unwrap();
    assert_eq!(position(&b, 0).await, Some(at(7)), "positions are seen without a claim");
    let without = commit(&b, 0, 8).await;
    assert!(matches!(without, Err(Error::Positions(_))), "{without:?}");
}

#[tokio::test]
async fn a_claim_whose_acknowledgement_is_lost_holds() {
    let world = World::new(1);
    let a = world.process("a").await;
    world.topic.fail([Fault::LoseAcknowledgement, Fault::Duplicate]);
    a.claim(&rules(), &[readings(0)]).await.unwrap();
    world.topic.fail([Fault::LoseAcknowledgement, Fault::Refuse, Fault::Duplicate]);
    commit(&a, 0, 3).await.unwrap();
    commit(&a, 0, 4).await.unwrap();
    assert_eq!(position(&*world.process("b").await, 0).await, Some(at(4)));
}

#[tokio::test]
async fn a_process_that_was_paused_for_longer_than_its_lease_commits_nothing() {
    let world = World::new(1);
    let (a, b) = (world.process("a").await, world.process("b").await);
    a.claim(&rules(), &[readings(0)]).await.unwrap();
    commit(&a, 0, 5).await.unwrap();
    assert!(matches!(b.try_claim(&b.seats[0], &key(&rules(), &readings(0))).await, Ok(Claim::Waits(_))));
    world.let_leases_expire();
    b.claim(&rules(), &[readings(0)]).await.unwrap();
    commit(&b, 0, 6).await.unwrap();
    let woken = commit(&a, 0, 50).await;
    assert!(matches!(woken, Err(Error::Unavailable(_) | Error::Fenced { .. })), "{woken:?}");
    assert!(failed(&a).is_some());
    assert_eq!(position(&b, 0).await, Some(at(6)));
    assert_eq!(failed(&b), None);
}

#[tokio::test]
async fn a_commit_that_arrives_after_the_takeover_does_not_count() {
    let world = World::new(1);
    let (a, b) = (world.process("a").await, world.process("b").await);
    a.claim(&rules(), &[readings(0)]).await.unwrap();
    commit(&a, 0, 5).await.unwrap();
    world.topic.fail([Fault::Delay]);
    // One attempt is on its way when the process stops.
    assert!(commit(&a, 0, 6).now_or_never().is_none());
    assert_eq!(position(&b, 0).await, Some(at(5)), "from now on it is silent");
    world.let_leases_expire();
    b.claim(&rules(), &[readings(0)]).await.unwrap();
    commit(&b, 0, 9).await.unwrap();
    world.topic.deliver_delayed();
    assert_eq!(position(&b, 0).await, Some(at(9)));
    commit(&b, 0, 10).await.unwrap();
    assert!(a.renew().await);
    assert!(failed(&a).is_some(), "it learns of it");
}

#[tokio::test]
async fn an_older_commit_of_the_same_owner_that_arrives_late_does_not_count() {
    let world = World::new(1);
    let a = world.process("a").await;
    a.claim(&rules(), &[readings(0)]).await.unwrap();
    world.topic.fail([Fault::Delay]);
    assert!(commit(&a, 0, 6).now_or_never().is_none());
    commit(&a, 0, 7).await.unwrap();
    world.topic.deliver_delayed();
    assert_eq!(position(&a, 0).await, Some(at(7)));
    commit(&a, 0, 2).await.unwrap();
    assert_eq!(position(&a, 0).await, Some(at(2)), "going back on purpose counts");
}

#[tokio::test]
async fn an_owner_that_cannot_renew_gives_up_before_another_may_take_over() {
    let world = World::new(1);
    let a = world.process("a").await;
    a.claim(&rules(), &[readings(0)]).await.unwrap();
    world.clock.advance(LEASE / 2);
    assert!(a.renew().await);
    world.clock.advance(LEASE / 2);
    commit(&a, 0, 1).await.unwrap();
    world.topic.fail([Fault::Refuse]);
    assert!(!a.renew().await);
    world.clock.advance(LEASE / 2 - LEASE / MARGIN - Duration::from_millis(1));
    commit(&a, 0, 2).await.unwrap();
    world.clock.advance(Duration::from_millis(1));
    let refused = commit(&a, 0, 3).await;
    assert!(matches!(&refused, Err(Error::Unavailable(why)) if why.contains("lease")), "{refused:?}");
    assert!(failed(&a).is_some());
    assert_eq!(position(&*world.process("b").await, 0).await, Some(at(2)), "nothing was even sent");
}

#[tokio::test]
async fn the_keepers_of_an_owner_keep_it_and_a_release_lets_the_next_one_in_at_once() {
    let world = World::new(1);
    let open = |name: &str| {
        Groups::open(world.topic.clone(), 1, name.to_owned(), Duration::from_secs(3600), world.clock.clone())
    };
    let (a, b) = (open("a").await.unwrap(), open("b").await.unwrap());
    a.claim(&rules(), &[readings(0)]).await.unwrap();
    commit(&a, 0, 1).await.unwrap();
    a.release().await;
    b.claim(&rules(), &[readings(0)]).await.unwrap();
    commit(&b, 0, 2).await.unwrap();
    assert!(matches!(commit(&a, 0, 3).await, Err(Error::Positions(_))));

    let c = Groups::open(world.topic.clone(), 1, "c".to_owned(), LEASE, world.clock.clone()).await.unwrap();
    c.claim(&"sink/readings".into(), &[readings(0)]).await.unwrap();
    let before = world.topic.end(0);
    // Twice: one round may have been under way.
    while world.topic.end(0) < before + 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.clock.advance(LEASE);
    c.failed().wait_for(Option::is_some).await.unwrap();
}

#[tokio::test]
async fn commits_of_several_partitions_and_streams_stand_in_all_of_them() {
    let world = World::new(3);
    let a = world.process("a").await;
    let all: Vec<_> = (0..3).flat_map(|i| [readings(i), Partition::new(StreamName::alerts(), i)]).collect();
    a.claim(&rules(), &all).await.unwrap();
    world.topic.fail([Fault::Duplicate, Fault::LoseAcknowledgement]);
    let positions = all.iter().cloned().zip((10..).map(at)).collect();
    a.commit(&rules(), positions).await.unwrap();
    let listed = world.process("b").await.all().await.unwrap();
    let mut expected: Vec<_> = all
        .into_iter()
        .zip(10..)
        .map(|(partition, offset)| GroupPosition { group: rules(), partition, offset })
        .collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let unknown = a.position(&rules(), &readings(3)).await;
    assert!(matches!(unknown, Err(Error::UnknownPartition(_))), "{unknown:?}");
    let large = Position { offset: 0, state: vec![0; STATE_BYTES + 1].into() };
    assert!(matches!(a.commit(&rules(), vec![(readings(0), large)]).await, Err(Error::Positions(_))));
}

#[tokio::test]
async fn bases_are_set_once_and_read_at_the_start() {
    let world = World::new(2);
    let a = world.process("a").await;
    assert_eq!(a.base(&readings(1)), 0);
    a.set_base(&readings(1), 1000).await.unwrap();
    a.set_base(&readings(1), 2000).await.unwrap();
    let b = world.process("b").await;
    assert_eq!((b.base(&readings(1)), b.base(&readings(0))), (2000, 0));
    assert_eq!(b.base(&Partition::new(StreamName::alerts(), 1)), 0);
}

/// Commits states until the cluster would have deleted what was there before; renews as the keepers would.
async fn fill(world: &World, groups: &Groups, bytes: u64) {
    let state = Bytes::from(vec![7; STATE_BYTES]);
    let end = world.topic.bytes(0) + bytes;
    let mut offset = 1000;
    while world.topic.bytes(0) < end {
        offset += 1;
        let position = Position { offset, state: state.clone() };
        groups.commit(&rules(), vec![(readings(0), position)]).await.unwrap();
        assert!(groups.renew().await);
    }
}

#[tokio::test]
async fn the_position_of_a_group_that_stopped_outlives_what_the_cluster_deletes() {
    let world = World::new(1);
    let (stopped, running) = (world.process("stopped").await, world.process("running").await);
    let sink: GroupName = "sink/readings".into();
    for _ in 0..3 {
        stopped.claim(&sink, &[readings(0)]).await.unwrap();
        stopped.commit(&sink, vec![(readings(0), at(77))]).await.unwrap();
        stopped.release().await;
    }
    stopped.set_base(&readings(0), 5).await.unwrap();
    let epoch = stopped.seats[0].follower.owned(&key(&sink, &readings(0))).unwrap().entry.epoch;
    running.claim(&rules(), &[readings(0)]).await.unwrap();
    fill(&world, &running, 3 * CARRY_BYTES).await;
    let carried = world.topic.count(0, |record| matches!(record, Record::Carry { key, .. } if key.0 == sink));
    assert!((1..=3).contains(&carried), "{carried} times in three times {CARRY_BYTES} bytes");
    world.topic.delete_all_but(0, PARTITION_BYTES / 2);
    assert!(world.topic.start(0) > 0);

    let late = world.process("late").await;
    assert_eq!(late.position(&sink, &readings(0)).await.unwrap(), Some(at(77)));
    assert_eq!(late.base(&readings(0)), 5);
    let now = late.seats[0].follower.owned(&key(&sink, &readings(0))).unwrap().entry;
    assert_eq!((now.epoch, now.released), (epoch, true));
    // The old readers agree on what the new one does.
    late.claim(&sink, &[readings(0)]).await.unwrap();
    late.commit(&sink, vec![(readings(0), at(78))]).await.unwrap();
    assert_eq!(running.position(&sink, &readings(0)).await.unwrap(), Some(at(78)));
    // One that slept while it was deleted begins again.
    assert_eq!(stopped.position(&sink, &readings(0)).await.unwrap(), Some(at(78)));
}

#[tokio::test]
async fn what_is_old_is_said_again_even_when_nothing_else_is() {
    let world = World::new(1);
    let (stopped, running) = (world.process("stopped").await, world.process("running").await);
    let sink: GroupName = "sink/readings".into();
    stopped.claim(&sink, &[readings(0)]).await.unwrap();
    stopped.commit(&sink, vec![(readings(0), at(77))]).await.unwrap();
    running.claim(&rules(), &[readings(0)]).await.unwrap();
    let carried = |record: &Record| matches!(record, Record::Carry { key, .. } if key.0 == sink);
    let mut minutes = 0;
    let mut said = Vec::new();
    while said.len() < 3 {
        world.clock.advance(Duration::from_secs(60));
        minutes += 1;
        assert!(minutes < 300, "carried after {said:?} minutes");
        running.seats[0].follower.catch_up().await.unwrap();
        running.carry(&running.seats[0]).await.unwrap();
        running.seats[0].follower.catch_up().await.unwrap();
        if world.topic.count(0, carried) > said.len() {
            said.push(minutes);
        }
    }
    let longest = said.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < 60 && said[0] < 60, "an hour is the shortest retention: {said:?}");
}

#[tokio::test]
async fn records_that_nobody_here_wrote_are_passed_over_and_newer_ones_are_not() {
    let world = World::new(1);
    let a = world.process("a").await;
    a.claim(&rules(), &[readings(0)]).await.unwrap();
    let renewal = Record::Renew { process: 1 }.encode();
    let body = b"new";
    let unknown = [b"WG\x01\xc8", &record::check(200, body).to_le_bytes()[..], body].concat();
    let cut = renewal.slice(..renewal.len() - 1);
    for bytes in [Bytes::new(), Bytes::from_static(b"something else"), cut, unknown.into()] {
        world.topic.append(0, bytes).await.unwrap();
    }
    commit(&a, 0, 1).await.unwrap();
    assert_eq!(position(&*world.process("b").await, 0).await, Some(at(1)));
    let mut newer = renewal.to_vec();
    newer[2] = 2;
    world.topic.append(0, newer.into()).await.unwrap();
    let refused = a.position(&rules(), &readings(0)).await;
    assert!(matches!(&refused, Err(Error::Incompatible(why)) if why.contains("format 2")), "{refused:?}");
}

#[test]
fn fields_behind_those_known_are_passed_over() {
    let owner = Owner { process: 4, lease_ms: 10_000, text: "host ä, sink, 7".into() };
    let carried = Carried { epoch: 9, owner: owner.clone(), released: true, version: 3, position: Some(at(5)) };
    let committed = Committed { stream: StreamName::alerts(), epoch: 1, version: 2, position: at(1) };
    let records = [
        Record::Claim { key: key(&rules(), &readings(0)), expected: 8, owner },
        Record::Renew { process: u64::MAX },
        Record::Release { key: key(&rules(), &readings(0)), epoch: 1, process: 2 },
        Record::Commit { group: rules(), process: 2, positions: vec![committed.clone(), committed] },
        Record::Base { stream: StreamName::readings(), version: 1, offset: 12 },
        Record::Carry { key: key(&rules(), &readings(0)), carried: carried.clone() },
        Record::Carry { key: key(&rules(), &readings(0)), carried: Carried { position: None, ..carried } },
    ];
    for record in records {
        let bytes = record.encode();
        assert_eq!(record::decode(&bytes), Decoded::Record(record.clone()));
        let mut longer = bytes.to_vec();
        longer.extend_from_slice(b"more");
        let check = record::check(longer[3], &longer[8..]).to_le_bytes();
        longer[4..8].copy_from_slice(&check);
        assert_eq!(record::decode(&longer), Decoded::Record(record));
        for place in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[place] ^= 0x10;
            assert!(!matches!(record::decode(&bad), Decoded::Record(_) | Decoded::Unknown), "byte {place}");
        }
    }
}
