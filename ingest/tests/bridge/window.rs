//! More than the bridge holds at once, and packets of any size.

use ingest::bridge::BridgeConfig;
use tokio::io::AsyncWriteExt;

use super::held::Held;
use super::stub::{Stub, TOPIC, publish};
use super::world::{World, settings};
use crate::raw::{self, BOTH};

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_beyond_the_window_waits_at_the_broker() {
    const STORM: u16 = 3000;
    const WINDOW: u16 = 16;
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let config = BridgeConfig { in_flight: WINDOW, ..settings(stub.address(), version) };
        let world = World::with(config, Held::back()).await;
        let (mut peer, mut writer) = stub.welcome(false).await.split();
        let storm: Vec<u8> = (1..=STORM).flat_map(|id| publish(version, id, i64::from(id), false)).collect();
        let writing = tokio::spawn(async move {
            writer.write_all(&storm).await.unwrap();
            // Dropped, it would end the connection in this direction.
            writer
        });
        world.taken(u32::from(WINDOW)).await;
        peer.expect_silence().await;
        assert_eq!(world.metric("weir_bridge_messages_total"), f64::from(WINDOW));
        assert_eq!(world.metric("weir_bridge_in_flight"), f64::from(WINDOW));
        world.held.release(u64::MAX);
        for id in 1..=STORM {
            assert_eq!(peer.puback().await, id);
            assert!(world.held.is_durable(i64::from(id)));
        }
        drop(writing.await.unwrap());
        assert_eq!(world.numbers().await.len(), usize::from(STORM));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_far_over_ten_kibibytes_come_through() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::free(&stub).await;
        let mut peer = stub.welcome(false).await;
        let readings: Vec<String> = (0..9000).map(|index| format!(r#"{{"n":"metric-{index}","v":{index}}}"#)).collect();
        let payload = format!("[{}]", readings.join(","));
        assert!(payload.len() > 200_000);
        peer.send(&raw::publish(version, TOPIC, 1, 7, &[], payload.as_bytes())).await;
        peer.expect_pubacks([7]).await;
        assert_eq!(world.rows().await.len(), 9000);
    }
}

/// A broker that sends what is over the limit would send it again on each connection, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_the_limit_goes_to_the_dead_letters_and_is_acknowledged() {
    const LIMIT: usize = 1000;
    const HUGE: usize = 500_000;
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let config = BridgeConfig { payload_bytes: LIMIT, ..settings(stub.address(), version) };
        let world = World::with(config, Held::free()).await;
        let mut peer = stub.welcome(false).await;
        peer.send(&raw::publish(version, TOPIC, 1, 1, &[], &[b'a'; LIMIT + 1])).await;
        peer.send(&raw::publish(version, TOPIC, 1, 2, &[], &vec![b'b'; HUGE])).await;
        peer.publish(3, 1).await;
        peer.expect_pubacks([1, 2, 3]).await;
        assert_eq!(world.numbers().await, [1]);
        let letters = world.letters().await;
        let seen: Vec<_> = letters.iter().map(|letter| (letter.reason.as_str(), letter.payload.len())).collect();
        assert_eq!(seen, [("too_large", LIMIT + 1), ("too_large", LIMIT)], "whole, and the beginning");
        let said = format!("payload has {HUGE} bytes, at most {LIMIT} allowed; these are the first {LIMIT}");
        assert_eq!(letters[1].detail, said);
        assert_eq!(world.metric("weir_bridge_oversized_messages_total"), 1.0);
        assert_eq!(world.metric("weir_bridge_refused_messages_total"), 2.0);
    }
}
