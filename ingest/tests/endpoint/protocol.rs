//! The protocol's own rules, and clients that break them.

use std::time::Duration;

use ingest::IngestConfig;

use crate::door::{Door, config};
use crate::gate::Gate;
use crate::raw::{BOTH, Raw, Version, connect, connect_with, pack, puback, text};

const TOPIC: &str = "hall/pump/telemetry";

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_none_close_the_connection() {
    let door = Door::open().await;
    for version in BOTH {
        for topic in ["hall/+/telemetry", "hall/#", ""] {
            let mut client = Raw::connect(door.address(), version, "c").await;
            client.publish(topic, 1, 1, &pack(1)).await;
            client.expect_closed(0x90).await;
        }
    }
    assert_eq!(door.rows().await, []);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_harm_nobody_else() {
    let door = Door::open().await;
    let mut other = Raw::connect(door.address(), Version::V5, "other").await;
    let malformed: [&[u8]; 8] = [
        // A topic longer than its packet, a length of five bytes, QoS 3, packet id 0.
        b"\x32\x02\xFF\xFF",
        b"\x30\xFF\xFF\xFF\xFF\x01",
        b"\x36\x05\x00\x01a\x00\x01",
        b"\x32\x06\x00\x01a\x00\x00\x00",
        // A SUBSCRIBE cut short, an UNSUBSCRIBE of nothing but an id, a PUBREL of one byte.
        b"\x82\x04\x00\x01\x00\x05",
        b"\xA2\x03\x00\x01\x05",
        b"\x62\x01\x00",
        // Reserved packet type.
        b"\x00\x00",
    ];
    for version in BOTH {
        for bytes in malformed {
            let mut client = Raw::connect(door.address(), version, "c").await;
            client.send(bytes).await;
            client.expect_closed(0x81).await;
        }
        // A second CONNECT, a packet only servers send.
        for bytes in [&connect(version, "c")[..], b"\xD0\x00"] {
            let mut client = Raw::connect(door.address(), version, "c").await;
            client.send(bytes).await;
            client.expect_closed(0x82).await;
        }
    }
    other.publish(TOPIC, 1, 1, &pack(1)).await;
    other.expect(&puback(1)).await;
    door.metric_becomes("weir_ingest_connections", 1.0).await;
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_connect_is_closed() {
    let door = Door::open().await;
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x30\x03\x00\x01a", b"\x10\x02\x00\x00", b"\x10\xFF\xFF\xFF\xFF\xFF"]
    {
        let mut client = Raw::dial(door.address(), Version::V3).await;
        client.send(bytes).await;
        assert_eq!(client.next().await, None);
    }
    let mut old = Raw::dial(door.address(), Version::V3).await;
    old.send(b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x01c").await;
    old.expect(&[0x20, 2, 0, 1]).await;
    assert_eq!(old.next().await, None);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_has_one_connection() {
    for version in BOTH {
        let door = Door::with(IngestConfig { workers: 2, ..config() }, Gate::open()).await;
        let mut first = Raw::connect(door.address(), version, "same").await;
        let mut second = Raw::connect(door.address(), version, "same").await;
        first.expect_closed(0x8E).await;
        second.publish(TOPIC, 1, 1, &pack(1)).await;
        second.expect(&puback(1)).await;
        door.metric_becomes("weir_ingest_connections", 1.0).await;
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_name_get_one_or_are_refused() {
    let door = Door::open().await;
    let mut one = Raw::connect(door.address(), Version::V3, "").await;
    let mut two = Raw::connect(door.address(), Version::V3, "").await;
    one.expect_silence().await;
    two.expect_silence().await;

    let mut with_session = Raw::dial(door.address(), Version::V3).await;
    with_session.send(&connect_with(Version::V3, 0, 60, "", &[])).await;
    with_session.expect(&[0x20, 2, 0, 2]).await;
    assert_eq!(with_session.next().await, None);

    let mut told = Raw::dial(door.address(), Version::V5).await;
    told.send(&connect(Version::V5, "")).await;
    let connack = told.expect_accepted().await;
    assert!(connack.windows(8).any(|window| window == b"unnamed-"));
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_too_long_are_refused() {
    let door = Door::open().await;
    let long = "x".repeat(257);
    for (version, code) in [(Version::V3, 2), (Version::V5, 0x85)] {
        let mut client = Raw::dial(door.address(), version).await;
        client.send(&connect(version, &long)).await;
        assert_eq!(client.packet().await[3], code);
        assert_eq!(client.next().await, None);
    }
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wills_to_wildcards_and_unknown_authentication_are_refused() {
    const WILL: u8 = 0b0000_0110;
    let door = Door::open().await;
    let mut client = Raw::dial(door.address(), Version::V5).await;
    client.send(&connect_with(Version::V5, WILL, 60, "c", &[&[0][..], &text("a/#"), &text("x")].concat())).await;
    assert_eq!(client.packet().await[3], 0x90);

    let method = [&[0x15][..], &text("SCRAM")].concat();
    let body = [&text("MQTT")[..], &[5, 2, 0, 60, method.len() as u8], &method, &text("c")].concat();
    let mut client = Raw::dial(door.address(), Version::V5).await;
    client.send(&[&[0x10, body.len() as u8][..], &body].concat()).await;
    assert_eq!(client.packet().await[3], 0x8C);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let door = Door::with(IngestConfig { connections: 1, ..config() }, Gate::open()).await;
    let first = Raw::connect(door.address(), Version::V3, "first").await;
    for (version, code) in [(Version::V3, 3), (Version::V5, 0x89)] {
        let mut second = Raw::dial(door.address(), version).await;
        second.send(&connect(version, "second")).await;
        assert_eq!(second.packet().await[3], code);
        assert_eq!(second.next().await, None);
    }
    drop(first);
    door.metric_becomes("weir_ingest_connections", 0.0).await;
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed() {
    let config =
        IngestConfig { connect_timeout: Duration::from_secs(1), keep_alive: Duration::from_secs(1), ..config() };
    let door = Door::with(config, Gate::open()).await;
    let mut half_open = Raw::dial(door.address(), Version::V3).await;
    half_open.send(&[0x10]).await;
    assert_eq!(half_open.next().await, None);
    // Its own keep-alive, and ours for a client that wants none.
    let silent =
        [(Version::V3, 1), (Version::V3, 0), (Version::V5, 1), (Version::V5, 0)].map(|(version, keep_alive)| {
            let address = door.address();
            tokio::spawn(async move {
                let mut silent = Raw::dial(address, version).await;
                silent.send(&connect_with(version, 2, keep_alive, "", &[])).await;
                silent.expect_accepted().await;
                // Half a packet is no sign of life.
                silent.send(&[0x30]).await;
                silent.expect_closed(0x8D).await;
            })
        });
    for silent in silent {
        silent.await.unwrap();
    }
    door.ingest.stop().await.unwrap();
}
