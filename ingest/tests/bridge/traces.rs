//! Messages from a broker that are traced.

use streams::StreamName;
use telemetry::trace::{Context, RowContext};

use super::held::Held;
use super::stub::{Stub, TOPIC};
use super::world::{World, settings};
use crate::kept::{Kept, TRACEPARENT, attribute, contexts};
use crate::raw::{self, BOTH, Version, user_property};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_received_until_its_acknowledgement_is_on_its_way() {
    for (version, share) in [(Version::V5, 0.0), (Version::V3, 1.0)] {
        let ((kept, tracing), stub) = (Kept::new(share), Stub::listen(version).await);
        let world = World::traced(settings(stub.address(), version), Held::back(), tracing).await;
        let mut peer = stub.welcome(false).await;
        let property = if version == Version::V5 { user_property("traceparent", TRACEPARENT) } else { Vec::new() };
        peer.send(&raw::publish(version, TOPIC, 1, 7, &property, &raw::pack(1))).await;
        world.taken(1).await;
        peer.expect_silence().await;
        assert_eq!(kept.count(), 0);
        world.held.release(u64::MAX);
        peer.expect_pubacks([7]).await;
        let receive = kept.named("receive", 1).await.remove(0);
        let device = Context::parse(TRACEPARENT).filter(|_| version == Version::V5);
        assert_eq!((receive.error.as_deref(), receive.parent), (None, device.map(|device| device.span)));
        assert_eq!(attribute(&receive, "weir.device"), Some("pump".into()));
        let expected = [vec![RowContext { row: 0, context: receive.context }]];
        assert_eq!(contexts(&*world.held, StreamName::readings()).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_still_owed_says_so() {
    for version in BOTH {
        let ((kept, tracing), stub) = (Kept::new(1.0), Stub::listen(version).await);
        let config = ingest::BridgeConfig { payload_bytes: 1000, ..settings(stub.address(), version) };
        let world = World::traced(config, Held::back(), tracing).await;
        let mut peer = stub.welcome(false).await;
        peer.publish(1, 1).await;
        // Its beginning is taken, and its end never comes.
        let oversized = raw::publish(version, TOPIC, 1, 2, &[], &vec![b'x'; 500_000]);
        peer.send(&oversized[..oversized.len() - 1]).await;
        world.taken(2).await;
        drop(peer);
        let mut errors: Vec<_> = kept.named("receive", 2).await.into_iter().map(|span| span.error.unwrap()).collect();
        errors.sort();
        assert_eq!(errors, ["the connection ended before the acknowledgement", "too_large"]);
    }
}
