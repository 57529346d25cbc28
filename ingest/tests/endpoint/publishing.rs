//! Messages in, acknowledgements out: when, and in which order.

use std::collections::HashMap;

use ingest::IngestConfig;

use crate::door::{Door, config};
use crate::gate::Gate;
use crate::raw::{BOTH, Raw, Version, connect_with, pack, puback, publish, text, user_property};

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_waits_for_the_ticket_and_keeps_its_place() {
    for version in BOTH {
        let door = Door::with(config(), Gate::closed()).await;
        let mut client = Raw::connect(door.address(), version, "c").await;
        for id in [5, 3, 9] {
            client.publish("hall/pump/telemetry", 1, id, &pack(i64::from(id))).await;
        }
        door.gate.submitted(1).await;
        client.expect_silence().await;
        client.expect_silence().await;
        assert_eq!(door.metric("weir_ingest_unacknowledged_messages"), 3.0);
        assert_eq!(door.metric("weir_ingest_acknowledged_messages_total"), 0.0);
        door.gate.let_through(true);
        for id in [5, 3, 9] {
            client.expect(&puback(id)).await;
        }
        let seqs: Vec<_> = door.rows().await.iter().map(|row| row.seq).collect();
        assert_eq!(seqs, [Some(5), Some(3), Some(9)]);
        door.metric_becomes("weir_ingest_acknowledged_messages_total", 3.0).await;
        door.metric_becomes("weir_ingest_acknowledged_readings_total", 3.0).await;
        door.metric_becomes("weir_ingest_unacknowledged_messages", 0.0).await;
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_device_keep_their_order_on_many_connections() {
    const CONNECTIONS: u16 = 12;
    const MESSAGES: u16 = 600;
    // Bounds so small that connections pause and resume all the time.
    let config = IngestConfig { workers: 2, in_flight: 100, open_group_bytes: 64 * 1024, ..config() };
    let door = Door::with(config, Gate::open()).await;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let (address, version) = (door.address(), BOTH[usize::from(connection) % 2]);
            tokio::spawn(async move {
                let mut client = Raw::connect(address, version, &format!("c{connection}")).await;
                let topic = format!("hall/device-{connection}/telemetry");
                let burst: Vec<u8> =
                    (1..=MESSAGES).flat_map(|id| publish(version, &topic, 1, id, &[], &pack(i64::from(id)))).collect();
                client.send(&burst).await;
                for id in 1..=MESSAGES {
                    client.expect(&puback(id)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let mut seqs: HashMap<String, Vec<i64>> = HashMap::new();
    for row in door.rows().await {
        seqs.entry(row.device_id).or_default().push(row.seq.unwrap());
    }
    assert_eq!(seqs.len(), usize::from(CONNECTIONS));
    let in_order: Vec<i64> = (1..=i64::from(MESSAGES)).collect();
    assert!(seqs.values().all(|of_device| *of_device == in_order));
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_0_is_taken_and_not_answered() {
    let door = Door::open().await;
    let mut client = Raw::connect(door.address(), Version::V3, "c").await;
    client.publish("hall/pump/telemetry", 0, 0, &pack(1)).await;
    client.publish("hall/pump/telemetry", 1, 7, &pack(2)).await;
    client.expect(&puback(7)).await;
    assert_eq!(door.rows().await.len(), 2);
    door.metric_becomes("weir_ingest_acknowledged_messages_total", 1.0).await;
    assert_eq!(door.metric("weir_ingest_received_messages_total"), 2.0);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_2_is_answered_in_full_and_taken_once() {
    for version in BOTH {
        let door = Door::with(config(), Gate::closed()).await;
        let mut client = Raw::connect(door.address(), version, "c").await;
        client.publish("hall/pump/telemetry", 2, 7, &pack(1)).await;
        client.publish("hall/pump/telemetry", 2, 7, &pack(1)).await;
        client.expect_silence().await;
        door.gate.let_through(true);
        client.expect(&[0x50, 2, 0, 7]).await;
        client.expect(&[0x50, 2, 0, 7]).await;
        client.publish("hall/pump/telemetry", 2, 7, &pack(1)).await;
        client.expect(&[0x50, 2, 0, 7]).await;
        client.send(&[0x62, 2, 0, 7]).await;
        client.expect(&[0x70, 2, 0, 7]).await;
        assert_eq!(door.rows().await.len(), 1, "the same packet id before its release");

        client.publish("hall/pump/telemetry", 2, 7, &pack(2)).await;
        client.expect(&[0x50, 2, 0, 7]).await;
        assert_eq!(door.rows().await.len(), 2, "the packet id is free after its release");

        client.send(&[0x62, 2, 0, 99]).await;
        match version {
            Version::V3 => client.expect(&[0x70, 2, 0, 99]).await,
            Version::V5 => client.expect(&[0x70, 3, 0, 99, 0x92]).await,
        }
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_properties_give_an_identity_and_aliases_a_topic() {
    let door = Door::open().await;
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    let plain = br#"[{"n":"temperature","v":1}]"#;
    let identity = [user_property("boot", "4"), user_property("other", "x"), user_property("seq", "44")].concat();
    let alias = [&identity[..], &[0x23, 0, 3]].concat();
    client.send(&publish(Version::V5, "hall/pump/telemetry", 1, 1, &alias, plain)).await;
    client.send(&publish(Version::V5, "", 1, 2, &[0x23, 0, 3], plain)).await;
    client.expect(&puback(1)).await;
    client.expect(&puback(2)).await;
    let rows = door.rows().await;
    assert_eq!((rows[0].boot, rows[0].seq), (Some(4), Some(44)));
    assert_eq!((rows[1].boot, &*rows[1].device_id), (None, "pump"));
    client.send(&publish(Version::V5, "", 1, 3, &[0x23, 0, 4], plain)).await;
    client.expect_closed(0x94).await;
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.send(&publish(Version::V5, "a/b/telemetry", 1, 3, &[0x23, 0xFF, 4], plain)).await;
    client.expect_closed(0x94).await;
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_is_published_when_the_connection_breaks_and_not_after_goodbye() {
    const WILL: u8 = 0b0000_1110;
    for version in BOTH {
        let door = Door::open().await;
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        let will = |seq| {
            let payload = String::from_utf8(pack(seq)).unwrap();
            [properties, &text("hall/pump/telemetry"), &text(&payload)].concat()
        };
        let mut polite = Raw::dial(door.address(), version).await;
        polite.send(&connect_with(version, WILL, 60, "polite", &will(1))).await;
        polite.expect_accepted().await;
        polite.send(&[0xE0, 0]).await;
        assert_eq!(polite.next().await, None);

        let mut broken = Raw::dial(door.address(), version).await;
        broken.send(&connect_with(version, WILL, 60, "broken", &will(2))).await;
        broken.expect_accepted().await;
        drop(broken);
        door.metric_becomes("weir_ingest_received_messages_total", 1.0).await;
        door.metric_becomes("weir_ingest_connections", 0.0).await;
        let rows = door.rows().await;
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [Some(2)]);
        door.ingest.stop().await.unwrap();
    }
}
