//! Opening and closing the door.

use std::time::Duration;

use ingest::{Ingest, IngestConfig, IngestMetrics, StartError, StopError};
use prometheus::Registry;
use telemetry::clock::SystemClock;
use telemetry::trace::Tracing;

use crate::door::{Door, config};
use crate::gate::Gate;
use crate::raw::{BOTH, Raw, Version, pack, puback};

const TOPIC: &str = "hall/pump/telemetry";

async fn start(config: IngestConfig) -> Result<Ingest, StartError> {
    let metrics = IngestMetrics::register(&Registry::new()).unwrap();
    Ingest::start(config, Gate::open(), SystemClock::shared(), Tracing::default(), metrics).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_acknowledges_what_was_received_and_says_goodbye() {
    for version in BOTH {
        let door = Door::with(config(), Gate::closed()).await;
        let address = door.address();
        let mut client = Raw::connect(address, version, "c").await;
        for id in 1..=20 {
            client.publish(TOPIC, 1, id, &pack(i64::from(id))).await;
        }
        client.expect_silence().await;
        let gate = door.gate.clone();
        let stop = tokio::spawn(door.ingest.stop());
        gate.submitted(2).await;
        gate.let_through(true);
        for id in 1..=20 {
            client.expect(&puback(id)).await;
        }
        client.expect_closed(0x8B).await;
        stop.await.unwrap().unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cannot_commit_gives_up_and_acknowledges_nothing() {
    let door = Door::with(IngestConfig { drain: Duration::from_millis(100), ..config() }, Gate::closed()).await;
    let mut client = Raw::connect(door.address(), Version::V3, "c").await;
    client.publish(TOPIC, 1, 1, &pack(1)).await;
    client.expect_silence().await;
    let stopped = door.ingest.stop().await;
    assert_eq!(stopped, Err(StopError::Deadline { waited: Duration::from_millis(100) }));
    assert_eq!(client.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_those_who_never_said_who_they_are() {
    let config = IngestConfig { connect_timeout: Duration::from_secs(600), drain: Duration::from_secs(60), ..config() };
    let door = Door::with(config, Gate::open()).await;
    let mut half_open = Raw::dial(door.address(), Version::V3).await;
    half_open.send(&[0x10]).await;
    Raw::connect(door.address(), Version::V3, "c").await.expect_silence().await;
    door.ingest.stop().await.unwrap();
    assert_eq!(half_open.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let door = Door::open().await;
    let address = door.address();
    let error = start(IngestConfig { listen: address, ..config() }).await.unwrap_err();
    assert!(matches!(error, StartError::AddressInUse { address: named } if named == address), "{error}");
    door.ingest.stop().await.unwrap();
    // Free again, at once.
    start(IngestConfig { listen: address, ..config() }).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_sense_are_refused() {
    let error = start(IngestConfig { topic_template: "{device}".to_owned(), ..config() }).await.unwrap_err();
    assert!(matches!(error, StartError::Template(_)), "{error}");
    let error = start(IngestConfig { workers: 0, ..config() }).await.unwrap_err();
    assert!(error.to_string().contains("workers"), "{error}");
}
