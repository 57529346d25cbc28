//! Brokers that vanish, fall silent or break the protocol.

use std::time::Duration;

use ingest::BridgeState;
use ingest::bridge::BridgeConfig;

use super::held::Held;
use super::stub::{Stub, TOPIC, connack, publish, suback};
use super::world::{World, settings};
use crate::raw::{self, BOTH, Version};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_at_any_byte_is_made_anew() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::free(&stub).await;
        let bytes = [connack(version, true, 0), suback(version, 1, &[1]), publish(version, 1, 1, true)].concat();
        for cut in 0..bytes.len() {
            let mut peer = stub.arrival().await;
            peer.connect().await;
            assert!(peer.try_send(&bytes[..cut]).await);
        }
        assert_eq!(world.numbers().await, [0_i64; 0], "half a message is none");
        let mut peer = stub.arrival().await;
        peer.connect().await;
        peer.send(&bytes).await;
        peer.subscribe().await;
        peer.expect_pubacks([1]).await;
        assert_eq!(world.numbers().await, [1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_closes_at_once_is_tried_again_and_told_of() {
    let stub = Stub::listen(Version::V5).await;
    let world = World::free(&stub).await;
    for _ in 0..5 {
        stub.arrival().await.connect().await;
    }
    let away = world.state_becomes(|state| matches!(state, BridgeState::Away { .. })).await;
    assert!(matches!(away, BridgeState::Away { refused: false, .. }), "{away:?}");
    assert!(world.metric("weir_bridge_outage_seconds") > 0.0);
    let _peer = stub.welcome(false).await;
    world.metric_becomes("weir_bridge_outage_seconds", 0.0).await;
}

/// Long enough for this test to answer the first connection, which is the one that counts.
const BRIEF: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_connect_is_given_up() {
    for version in BOTH {
        let (stub, world) = impatient(version).await;
        let mut peer = stub.arrival().await;
        peer.connect().await;
        peer.expect_closed().await;
        world.state_becomes(|state| state_says(state, "no answer to connect within 1s")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_subscribe_is_given_up() {
    for version in BOTH {
        let (stub, world) = impatient(version).await;
        let mut peer = stub.arrival().await;
        peer.connect().await;
        peer.send(&connack(version, false, 0)).await;
        peer.expect_closed().await;
        world.state_becomes(|state| state_says(state, "no answer to subscribe within 1s")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_answers_no_ping_is_given_up() {
    for version in BOTH {
        let (stub, world) = impatient(version).await;
        let mut peer = stub.welcome(false).await;
        peer.fall_silent().await;
        world.state_becomes(|state| state_says(state, "the broker has been silent for 1s")).await;
    }
}

async fn impatient(version: Version) -> (Stub, World) {
    let stub = Stub::listen(version).await;
    let config = BridgeConfig { patience: BRIEF, ..settings(stub.address(), version) };
    let world = World::with(config, Held::free()).await;
    (stub, world)
}

fn state_says(state: &BridgeState, words: &str) -> bool {
    matches!(state, BridgeState::Away { why, .. } if why == words)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_broker_may_send_ends_the_connection_and_is_not_acknowledged() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::free(&stub).await;
        for (bytes, words) in [
            (raw::publish(version, TOPIC, 2, 7, &[], &raw::pack(1)), "QoS 2"),
            (raw::publish(version, TOPIC, 1, 0, &[], &raw::pack(1)), "malformed PUBLISH"),
            (raw::publish(version, "", 1, 7, &[], &raw::pack(1)), "topic alias"),
            (connack(version, false, 0), "out of turn"),
            (suback(version, 999, &[1]), "nobody asked for"),
            (vec![0xF0, 2, 0, 0], "broke the protocol"),
            (vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF], "malformed packet length"),
        ] {
            let mut peer = stub.welcome(false).await;
            peer.send(&bytes).await;
            peer.expect_closed().await;
            let wanted = |state: &BridgeState| matches!(state, BridgeState::Away { why, .. } if why.contains(words));
            world.state_becomes(wanted).await;
        }
        assert_eq!(world.rows().await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_why_it_goes_is_quoted() {
    let stub = Stub::listen(Version::V5).await;
    let world = World::free(&stub).await;
    let mut peer = stub.welcome(false).await;
    peer.send(&[0xE0, 1, 0x8E]).await;
    let words = "the broker closed the connection: another client has connected with our client id";
    world.state_becomes(|state| state_says(state, words)).await;
}
