//! How messages are read: by the filter that their topic matches.

use ingest::bridge::{BridgeConfig, Subscription};
use telemetry::Timestamp;
use telemetry::formats::Format;

use super::held::Held;
use super::stub::{Stub, connack};
use super::world::{World, settings, subscription};
use crate::raw::{self, BOTH, Version};

fn read_as(filter: &str, topic_template: &str, format: Format) -> Subscription {
    Subscription { topic_template: topic_template.to_owned(), format, ..subscription(filter) }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_has_its_own_template_and_format() {
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let subscriptions = vec![
            read_as("plants/+/+/senml", "plants/{site}/{device_id}/senml", Format::Senml),
            read_as("flat/#", "flat/{device_id}/{metric}", Format::Json),
        ];
        let config = BridgeConfig { subscriptions, ..settings(stub.address(), version) };
        let world = World::with(config, Held::free()).await;
        let mut peer = stub.welcome(false).await;
        let flat = br#"{"value":3}"#;
        for (id, topic, payload) in [
            (1, "plants/north/pump-1/senml", &raw::pack(1)[..]),
            (2, "flat/pump-2/speed", flat),
            (3, "plants/north/pump-3/senml", flat),
            (4, "flat/pump-4/speed", &raw::pack(2)),
            (5, "elsewhere/pump-5", &raw::pack(3)),
        ] {
            peer.send(&raw::publish(version, topic, 1, id, &[], payload)).await;
        }
        peer.expect_pubacks(1..=5).await;
        let mut rows: Vec<_> = world.rows().await.into_iter().map(|row| (row.device_id, row.metric)).collect();
        rows.sort();
        let row = |device: &str, metric: &str| (device.to_owned(), metric.to_owned());
        assert_eq!(rows, [row("pump-1", "temperature"), row("pump-2", "speed")]);

        let letters = world.letters().await;
        assert!(letters.iter().all(|letter| letter.client_id == "bridge"));
        let seen: Vec<_> =
            letters.iter().map(|letter| (letter.reason.as_str(), letter.topic.as_str(), &letter.payload[..])).collect();
        assert_eq!(
            seen,
            [
                ("undecodable", "plants/north/pump-3/senml", &flat[..]),
                ("undecodable", "flat/pump-4/speed", &raw::pack(2)),
                ("unsupported", "elsewhere/pump-5", &raw::pack(3)),
            ]
        );
        assert_eq!(world.metric("weir_bridge_refused_messages_total"), 3.0);
        assert_eq!(world.metric("weir_bridge_unmatched_messages_total"), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_back_is_read_as_it_was_when_it_came() {
    let stub = Stub::listen(Version::V3).await;
    let subscriptions = vec![read_as("flat/#", "flat/{device_id}/{metric}", Format::Json)];
    let config = BridgeConfig { subscriptions, ..settings(stub.address(), Version::V3) };
    let world = World::with(config, Held::free()).await;
    let again = async |client_id| {
        let payload: &[u8] = br#"{"value":3}"#;
        let topic = "flat/pump-1/speed";
        let incoming = ingest::Incoming { topic, payload, identity: None, client_id, traceparent: None };
        let received_at = Timestamp::from_micros(1_700_000_000_000_000);
        world.ingest.intake().put_back(&incoming, received_at).await.unwrap()
    };
    assert_eq!(again("bridge").await.readings, 1);
    assert!(again("a device").await.is_refused(), "the endpoint's template does not know this topic");
    let rows = world.rows().await;
    assert_eq!((rows.len(), rows[0].device_id.as_str(), rows[0].metric.as_str()), (1, "pump-1", "speed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn version_5_carries_identities_and_properties_that_are_passed_over() {
    let stub = Stub::listen(Version::V5).await;
    let world = World::free(&stub).await;
    let mut peer = stub.welcome(false).await;
    let subscription_identifiers: &[u8] = &[0x0B, 1, 0x0B, 2, 0x0B, 3];
    let identity = [raw::user_property("boot", "4"), raw::user_property("seq", "44")].concat();
    let properties = [&identity[..], subscription_identifiers].concat();
    let payload = br#"[{"n":"t","v":1}]"#;
    peer.send(&raw::publish(Version::V5, "hall/pump/telemetry", 1, 1, &properties, payload)).await;
    peer.expect_pubacks([1]).await;
    let rows = world.rows().await;
    assert_eq!((rows.len(), rows[0].boot, rows[0].seq, rows[0].value), (1, Some(4), Some(44), Some(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_dropped_is_shown_and_is_no_reading() {
    const DROPS: &str = "$SYS/broker/publish/messages/dropped";
    for version in BOTH {
        let stub = Stub::listen(version).await;
        let config = BridgeConfig { watch_drops: true, ..settings(stub.address(), version) };
        let world = World::with(config, Held::free()).await;
        let mut peer = stub.arrival().await;
        peer.connect().await;
        peer.send(&connack(version, false, 0)).await;
        peer.grant().await;
        assert_eq!(peer.grant().await.filters, [(DROPS.to_owned(), 0)]);
        peer.send(&raw::publish(version, DROPS, 0, 0, &[], b"44024")).await;
        world.metric_becomes("weir_bridge_broker_dropped_messages", 44_024.0).await;
        peer.send(&raw::publish(version, DROPS, 0, 0, &[], b"nonsense")).await;
        peer.publish(1, 1).await;
        peer.expect_pubacks([1]).await;
        assert_eq!(world.metric("weir_bridge_messages_total"), 1.0);
        assert_eq!((world.rows().await.len(), world.letters().await.len()), (1, 0));
    }
}
