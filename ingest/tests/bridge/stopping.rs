//! Pausing and stopping.

use std::time::Duration;

use ingest::BridgeState;
use ingest::StopError;
use ingest::bridge::{Bridge, BridgeConfig, BridgeMetrics, BridgeStartError};
use prometheus::Registry;
use telemetry::clock::SystemClock;

use super::held::Held;
use super::stub::{Stub, connack};
use super::world::{World, settings};
use crate::raw::{BOTH, Version};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_acknowledges_what_was_read_and_says_goodbye() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::held(&stub).await;
        let mut peer = stub.welcome(false).await;
        for id in 1..=20 {
            peer.publish(id, i64::from(id)).await;
        }
        world.taken(20).await;
        let mut states = world.bridge.state_changes();
        let stop = tokio::spawn(world.bridge.stop());
        peer.expect_silence().await;
        world.held.release(u64::MAX);
        peer.expect_pubacks(1..=20).await;
        assert_eq!(peer.next().await.as_deref(), Some(&[0xE0, 0][..]), "DISCONNECT, which leaves the session");
        assert_eq!(peer.next().await, None);
        stop.await.unwrap().unwrap();
        assert_eq!(*states.wait_for(|state| *state == BridgeState::Ended).await.unwrap(), BridgeState::Ended);
        world.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_bridge_reads_no_more_and_pays_what_it_owes() {
    let stub = Stub::listen(Version::V5).await;
    let world = World::held(&stub).await;
    let mut peer = stub.welcome(false).await;
    peer.publish(1, 1).await;
    world.taken(1).await;
    world.bridge.pause();
    // What it was told is done by the time it has pinged.
    peer.expect_silence().await;
    peer.publish(2, 2).await;
    world.held.release(u64::MAX);
    peer.expect_pubacks([1]).await;
    peer.expect_silence().await;
    assert_eq!(world.metric("weir_bridge_messages_total"), 1.0);
    world.bridge.stop().await.unwrap();
    assert_eq!(peer.next().await.as_deref(), Some(&[0xE0, 0][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cannot_be_paid_gives_up_and_acknowledges_nothing() {
    let stub = Stub::listen(Version::V3).await;
    let drain = Duration::from_millis(100);
    let world = World::with(BridgeConfig { drain, ..settings(stub.address(), Version::V3) }, Held::back()).await;
    let mut peer = stub.welcome(false).await;
    peer.publish(1, 1).await;
    world.taken(1).await;
    assert_eq!(world.bridge.stop().await, Err(StopError::Deadline { waited: drain }));
    assert_eq!(peer.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_broker() {
    let stub = Stub::listen(Version::V3).await;
    let world = World::free(&stub).await;
    let mut peer = stub.arrival().await;
    peer.connect().await;
    world.bridge.stop().await.unwrap();
    assert_eq!(peer.next().await, None);

    let nobody = Stub::listen(Version::V3).await.address();
    let world = World::with(settings(nobody, Version::V3), Held::free()).await;
    world.state_becomes(|state| matches!(state, BridgeState::Away { refused: false, .. })).await;
    world.bridge.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_bridge_ends_its_connection() {
    let stub = Stub::listen(Version::V3).await;
    let world = World::free(&stub).await;
    let mut peer = stub.welcome(false).await;
    peer.publish(1, 1).await;
    peer.expect_pubacks([1]).await;
    drop(world.bridge);
    assert_eq!(peer.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_intake_takes_and_acknowledges_nothing_more() {
    let stub = Stub::listen(Version::V3).await;
    let world = World::free(&stub).await;
    let mut peer = stub.welcome(false).await;
    peer.publish(1, 1).await;
    peer.expect_pubacks([1]).await;
    world.ingest.stop().await.unwrap();
    if peer.try_send(&super::stub::publish(Version::V3, 2, 2, false)).await {
        peer.expect_closed().await;
    }
    let mut states = world.bridge.state_changes();
    assert_eq!(*states.wait_for(|state| *state == BridgeState::Ended).await.unwrap(), BridgeState::Ended);
    assert_eq!(*world.bridge.failed().borrow(), None);
    assert!(!world.held.is_durable(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_sense_are_refused() {
    let stub = Stub::listen(Version::V3).await;
    let world = World::free(&stub).await;
    let mut peer = stub.arrival().await;
    peer.connect().await;
    peer.send(&connack(Version::V3, false, 0)).await;
    let config = BridgeConfig { in_flight: 0, ..settings(stub.address(), Version::V3) };
    let metrics = BridgeMetrics::register(&Registry::new()).unwrap();
    let error = Bridge::start(config, world.ingest.intake(), SystemClock::shared(), metrics).unwrap_err();
    assert!(matches!(&error, BridgeStartError::Config(wrong) if wrong.field == "in_flight"), "{error}");
}
