//! Payloads that are refused: kept whole, counted, and acknowledged like any other.

use crate::door::{Door, config};
use crate::gate::Gate;
use crate::raw::{Raw, Version, pack, puback};

const TOPIC: &str = "hall/pump/telemetry";

/// Publishes `payload`, waits for its acknowledgement, and gives back the reason it was refused for.
async fn refused(door: &Door, topic: &str, payload: &[u8]) -> String {
    let before = door.letters().await.len();
    let mut client = Raw::connect(door.address(), Version::V3, "device-7").await;
    client.publish(topic, 1, 1, payload).await;
    client.expect(&puback(1)).await;
    let letters = door.letters().await;
    assert_eq!(letters.len(), before + 1);
    let letter = letters.last().unwrap().clone();
    assert_eq!((&*letter.topic, &*letter.client_id, &letter.payload[..]), (topic, "device-7", payload));
    assert!(!letter.detail.is_empty());
    letter.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_refusal_is_a_dead_letter_with_its_reason() {
    let door = Door::open().await;
    let long = "x".repeat(257);
    let deep = "[".repeat(100_000);
    for (topic, payload, reason) in [
        (TOPIC, "hello".to_owned(), "undecodable"),
        (TOPIC, String::new(), "undecodable"),
        (TOPIC, deep, "undecodable"),
        (TOPIC, r#"[{"n":"t","v":1,"t":99999999999}]"#.to_owned(), "future_time"),
        ("elsewhere", r#"[{"n":"t","v":1}]"#.to_owned(), "missing_field"),
        (TOPIC, format!(r#"[{{"n":"{long}","v":1}}]"#), "too_long"),
        (&format!("hall/{long}/telemetry"), r#"[{"n":"t","v":1}]"#.to_owned(), "too_long"),
    ] {
        let before = door.labelled("weir_ingest_rejected_messages_total", reason);
        assert_eq!(refused(&door, topic, payload.as_bytes()).await, reason, "{}", &payload[..payload.len().min(60)]);
        assert_eq!(door.labelled("weir_ingest_rejected_messages_total", reason), before + 1.0);
    }
    assert_eq!(door.rows().await, []);
    assert_eq!(door.metric("weir_ingest_acknowledged_readings_total"), 0.0);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_may_have_ten_thousand_readings_and_no_more() {
    let door = Door::open().await;
    let pack_of = |readings: usize| {
        let records: Vec<String> = (0..readings).map(|value| format!(r#"{{"n":"t","v":{value}}}"#)).collect();
        format!("[{}]", records.join(",")).into_bytes()
    };
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.publish(TOPIC, 1, 1, &pack_of(10_000)).await;
    client.expect(&puback(1)).await;
    let values: Vec<_> = door.rows().await.iter().map(|row| row.value.unwrap()).collect();
    assert!(values.iter().copied().eq((0..10_000).map(f64::from)));
    assert_eq!(refused(&door, TOPIC, &pack_of(10_001)).await, "too_many_readings");
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_over_the_limit_closes_its_connection_and_no_other() {
    let config = ingest::IngestConfig { payload_bytes: 1000, ..config() };
    let door = Door::with(config, Gate::open()).await;
    let mut other = Raw::connect(door.address(), Version::V3, "other").await;
    for version in crate::raw::BOTH {
        for size in [1001, 20_000] {
            let mut client = Raw::connect(door.address(), version, "c").await;
            client.publish(TOPIC, 1, 1, &vec![b' '; size]).await;
            client.expect_closed(0x95).await;
        }
    }
    assert_eq!(door.labelled("weir_ingest_rejected_messages_total", "too_large"), 4.0);
    other.publish(TOPIC, 1, 1, &pack(1)).await;
    other.expect(&puback(1)).await;
    assert_eq!(door.letters().await, []);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_the_largest_size_gets_in() {
    let door = Door::open().await;
    let mut payload = pack(1);
    payload.resize(telemetry::limits::PAYLOAD_BYTES, b' ');
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    for id in 1..=3 {
        client.publish(TOPIC, 1, id, &payload).await;
        client.expect(&puback(id)).await;
    }
    assert_eq!(door.rows().await.len(), 3);
    door.ingest.stop().await.unwrap();
}
