//! How a connection begins.

use ingest::BridgeState;
use ingest::bridge::{BridgeConfig, Login};

use super::held::Held;
use super::stub::{Stub, connack, suback};
use super::world::{World, settings, subscription};
use crate::raw::{BOTH, Version, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_session_stays_and_is_subscribed_to_on_each_connection() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let mut shared = subscription("plants/#");
        shared.share = Some("weir".to_owned());
        let config = BridgeConfig {
            subscriptions: vec![subscription("+/+/telemetry"), shared],
            login: Some(Login { user: "me".to_owned(), password: None }),
            ..settings(stub.address(), version)
        };
        let world = World::with(config, Held::free()).await;
        for session_present in [false, true] {
            let mut peer = stub.arrival().await;
            let connect = peer.connect().await;
            const USER: u8 = 0x80;
            assert_eq!(connect.flags & 0b10, 0, "a clean session");
            assert_eq!((connect.flags & USER, connect.keep_alive), (USER, 1));
            let level = if version == Version::V5 { 5 } else { 4 };
            assert_eq!(connect.level, level);
            assert!(connect.rest.windows(8).any(|window| window == text("bridge")));
            peer.send(&connack(version, session_present, 0)).await;
            let asked = peer.grant().await;
            // Version 5: retained messages only with a new subscription.
            let options = if version == Version::V5 { 0x11 } else { 1 };
            let filter = |path: &str| (path.to_owned(), options);
            assert_eq!(asked.filters, [filter("+/+/telemetry"), filter("$share/weir/plants/#")]);
            assert_eq!(world.state_becomes(|state| *state == BridgeState::Connected).await, BridgeState::Connected);
            peer.publish(1, 1).await;
            peer.expect_pubacks([1]).await;
        }
        world.metric_becomes("weir_bridge_connects_total", 2.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_asked_for_eight_at_a_time() {
    let stub = Stub::listen(Version::V3).await;
    let subscriptions = (0..11).map(|index| subscription(&format!("hall-{index}/+/telemetry"))).collect();
    let config = BridgeConfig { subscriptions, ..settings(stub.address(), Version::V3) };
    let world = World::with(config, Held::free()).await;
    let mut peer = stub.arrival().await;
    peer.connect().await;
    peer.send(&connack(Version::V3, false, 0)).await;
    let first = peer.grant().await;
    assert_eq!(world.bridge.state(), BridgeState::Connecting, "not before all are granted");
    let second = peer.grant().await;
    assert_eq!((first.filters.len(), second.filters.len()), (8, 3));
    assert_ne!(first.id, second.id);
    world.state_becomes(|state| *state == BridgeState::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_told_in_words_and_tried_again() {
    for (version, code, words) in [
        (Version::V3, 4, "bad user name or password"),
        (Version::V3, 5, "not authorised"),
        (Version::V3, 2, "it does not take this client id"),
        (Version::V5, 0x86, "bad user name or password"),
        (Version::V5, 0x87, "not authorised"),
        (Version::V5, 0x85, "it does not take this client id"),
    ] {
        let stub = Stub::listen(version).await;
        let world = World::free(&stub).await;
        for _ in 0..2 {
            let mut peer = stub.arrival().await;
            peer.connect().await;
            peer.send(&connack(version, false, code)).await;
            peer.expect_closed().await;
        }
        let why = world.refused().await;
        assert!(why.contains(words), "{why}");
        assert_eq!(world.metric("weir_bridge_connected"), 0.0);
        let _peer = stub.welcome(false).await;
        world.state_becomes(|state| *state == BridgeState::Connected).await;
        assert_eq!(world.metric("weir_bridge_connected"), 1.0);
        assert_eq!(*world.bridge.failed().borrow(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_knows_no_version_5_is_named() {
    let stub = Stub::listen(Version::V5).await;
    let world = World::free(&stub).await;
    let mut peer = stub.arrival().await;
    peer.connect().await;
    peer.send(&[0x20, 2, 0, 1]).await;
    assert!(world.refused().await.contains("set the protocol to 3.1.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_filter_is_named() {
    for (version, code, words) in [
        (Version::V3, 0x80, "not allowed"),
        (Version::V5, 0x87, "not authorized"),
        (Version::V5, 0x9E, "shared subscriptions not supported"),
        // At QoS 0 the broker would keep nothing while we are away.
        (Version::V3, 0, "granted QoS 0 instead of 1"),
        (Version::V5, 0, "granted QoS 0 instead of 1"),
    ] {
        let stub = Stub::listen(version).await;
        let config = BridgeConfig {
            subscriptions: vec![subscription("a/+/telemetry"), subscription("b/+/telemetry")],
            ..settings(stub.address(), version)
        };
        let world = World::with(config, Held::free()).await;
        let mut peer = stub.arrival().await;
        peer.connect().await;
        peer.send(&connack(version, false, 0)).await;
        let asked = peer.subscribe().await;
        peer.send(&suback(version, asked.id, &[1, code])).await;
        let why = world.refused().await;
        assert!(why.contains("`b/+/telemetry`") && why.contains(words), "{why}");
        peer.expect_closed().await;
        stub.arrival().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_delivers_before_suback_is_taken() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let world = World::free(&stub).await;
        let mut peer = stub.arrival().await;
        peer.connect().await;
        let publish = super::stub::publish(version, 9, 1, true);
        peer.send(&[connack(version, true, 0), publish].concat()).await;
        peer.subscribe().await;
        peer.expect_pubacks([9]).await;
        assert_eq!(world.numbers().await, [1]);
        assert_eq!(world.bridge.state(), BridgeState::Connecting);
    }
}
