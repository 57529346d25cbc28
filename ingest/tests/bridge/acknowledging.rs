//! What is acknowledged, when, and on which connection. Every PUBACK is judged by what is durable when it comes.

use std::time::Duration;

use super::stub::{Peer, Stub, TOPIC, puback_id, publish};
use super::world::World;
use crate::raw::{self, BOTH, Version};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_it_is_durable_and_then_in_the_order_received() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::held(&stub).await;
        let mut peer = stub.welcome(false).await;
        let ids: Vec<u16> = (1..=50).map(|index| index * 1201 + 7).collect();
        for (id, seq) in ids.iter().zip(1..) {
            peer.publish(*id, seq).await;
        }
        world.taken(50).await;
        peer.expect_silence().await;
        assert_eq!(world.metric("weir_bridge_in_flight"), 50.0);
        world.held.release(u64::MAX);
        peer.expect_pubacks(ids).await;
        world.metric_becomes("weir_bridge_acknowledged_total", 50.0).await;
        world.metric_becomes("weir_bridge_in_flight", 0.0).await;
        assert_eq!(world.metric("weir_ingest_acknowledged_messages_total"), 50.0);
        assert_eq!(world.metric("weir_ingest_unacknowledged_messages"), 0.0);
        assert_eq!(world.numbers().await, (1..=50).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_an_old_connection_never_reaches_a_new_one() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::held(&stub).await;
        let mut old = stub.welcome(false).await;
        for id in 1..=10 {
            old.publish(id, i64::from(id)).await;
        }
        world.taken(10).await;
        // The first group holds nothing that comes later.
        world.held.submitted(1).await;
        drop(old);
        // The session is gone, and the same ids mean other messages.
        let mut new = stub.welcome(false).await;
        for id in 1..=10 {
            new.publish(id, 100 + i64::from(id)).await;
        }
        world.taken(20).await;
        world.held.release(1);
        while world.ingest.intake().last_durable() < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(world.held.is_durable(1) && !world.held.is_durable(101));
        new.expect_silence().await;
        world.held.release(u64::MAX);
        for id in 1..=10 {
            assert_eq!(new.puback().await, id);
            assert!(world.held.is_durable(100 + i64::from(id)), "{id} is acknowledged and not durable");
        }
        new.expect_silence().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_on_one_connection_is_acknowledged_once() {
    let stub = Stub::listen(Version::V3).await;
    let world = World::held(&stub).await;
    let mut peer = stub.welcome(false).await;
    for (id, seq, dup) in [(1, 1, false), (2, 2, false), (1, 1, true)] {
        peer.send(&publish(Version::V3, id, seq, dup)).await;
    }
    world.taken(3).await;
    assert_eq!(world.metric("weir_bridge_redelivered_total"), 1.0);
    world.held.release(u64::MAX);
    peer.expect_pubacks([2, 1]).await;
    peer.publish(1, 3).await;
    peer.expect_pubacks([1]).await;
    peer.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_packet_id_is_taken_and_owed_nothing() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::free(&stub).await;
        let mut peer = stub.welcome(false).await;
        peer.send(&raw::publish(version, TOPIC, 0, 0, &[], &raw::pack(1))).await;
        peer.publish(5, 2).await;
        peer.expect_pubacks([5]).await;
        assert_eq!(world.numbers().await, [1, 2]);
        peer.expect_silence().await;
    }
}

/// Messages that the broker of the attack below has to deliver.
const MESSAGES: i64 = 400;
/// Most that it sends on one connection.
const BURST: usize = 40;

/// Cuts connections at every stage, with and without the session, reuses packet ids for other messages at once, and
/// redelivers in another order: until everything was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_broker_does_what_is_acknowledged_is_durable() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::held(&stub).await;
        let mut waiting: Vec<i64> = (1..=MESSAGES).collect();
        let (mut connection, mut sent) = (0_usize, 0);
        while !waiting.is_empty() {
            connection += 1;
            let mut peer = stub.welcome(connection.is_multiple_of(2)).await;
            let start = connection * 7 % waiting.len();
            waiting.rotate_left(start);
            let burst: Vec<i64> = waiting.iter().copied().take(BURST).collect();
            let bytes: Vec<u8> = burst
                .iter()
                .zip(1..)
                .flat_map(|(seq, id)| publish(version, id, *seq, connection.is_multiple_of(5)))
                .collect();
            // Sometimes the last packet stays torn.
            let torn = if connection.is_multiple_of(4) { 1 + connection % 20 } else { 0 };
            peer.send(&bytes[..bytes.len() - torn]).await;
            sent += burst.len() - usize::from(torn > 0);
            let acknowledged = if connection.is_multiple_of(3) {
                // Everything is taken and nothing durable: the next connection meets the outcome.
                world.taken(u32::try_from(sent).unwrap()).await;
                0
            } else {
                let whole = burst.len() - usize::from(torn > 0);
                let wanted = if connection.is_multiple_of(7) { whole } else { (connection * 5) % whole.max(1) };
                judge(&world, &mut peer, &burst, wanted).await;
                world.taken(u32::try_from(sent).unwrap()).await;
                wanted
            };
            drop(peer);
            waiting.drain(..acknowledged);
        }
        assert!(connection > 20, "{connection} connections are no attack");
        assert_eq!(world.numbers().await, (1..=MESSAGES).collect::<Vec<_>>());
    }
}

/// Reads `wanted` PUBACKs for `burst`, sent with ids from 1 on; meanwhile groups become durable one after the other.
async fn judge(world: &World, peer: &mut Peer, burst: &[i64], wanted: usize) {
    for (seq, id) in burst.iter().zip(1..).take(wanted) {
        let mut next = std::pin::pin!(peer.next());
        let packet = loop {
            world.held.release_submitted();
            tokio::select! {
                packet = &mut next => break packet,
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        };
        assert_eq!(puback_id(&packet.unwrap()), id, "out of order");
        assert!(world.held.is_durable(*seq), "message {seq} is acknowledged and not durable");
    }
}
