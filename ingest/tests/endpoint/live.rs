//! Readings for those who watch.

use crate::door::Door;
use crate::raw::{BOTH, Raw, Version, filters, pack, puback};

const SUBSCRIBE: u8 = 0x82;
const UNSUBSCRIBE: u8 = 0xA2;

/// Topic and payload of a PUBLISH at QoS 0 that is shorter than 128 + 128 bytes.
fn topic_and_payload(version: Version, packet: &[u8]) -> (String, String) {
    assert_eq!(packet[0], 0x30);
    let header = if packet[1] & 0x80 == 0 { 2 } else { 3 };
    let topic_bytes = usize::from(packet[header + 1]);
    let (topic, rest) = packet[header + 2..].split_at(topic_bytes);
    let payload = if version == Version::V5 { &rest[1..] } else { rest };
    (String::from_utf8(topic.to_vec()).unwrap(), String::from_utf8(payload.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_get_durable_readings_their_filter_wants() {
    for version in BOTH {
        let door = Door::open().await;
        let mut watcher = Raw::connect(door.address(), version, "watcher").await;
        watcher.send(&filters(version, SUBSCRIBE, &["weir/live/+/temperature"])).await;
        assert_eq!(*watcher.packet().await.last().unwrap(), 0);
        assert_eq!(door.metric("weir_ingest_live_subscribers"), 1.0);

        let mut device = Raw::connect(door.address(), version, "device").await;
        device
            .publish(
                "hall/pump/telemetry",
                1,
                1,
                br#"[{"n":"pressure","v":1,"t":1700000000},{"n":"temperature","v":2}]"#,
            )
            .await;
        device.expect(&puback(1)).await;
        let (topic, payload) = topic_and_payload(version, &watcher.packet().await);
        assert_eq!(topic, "weir/live/pump/temperature");
        assert!(payload.starts_with(r#"{"device_id":"pump","metric":"temperature","time":"#), "{payload}");
        assert!(payload.ends_with(r#","value":2.0,"site":"hall"}"#), "{payload}");

        watcher.send(&filters(version, UNSUBSCRIBE, &["weir/live/+/temperature", "weir/live/other"])).await;
        let unsuback = watcher.packet().await;
        match version {
            Version::V3 => assert_eq!(unsuback, [0xB0, 2, 0, 1]),
            Version::V5 => assert_eq!(unsuback, [0xB0, 5, 0, 1, 0, 0, 0x11]),
        }
        device.publish("hall/pump/telemetry", 1, 2, &pack(2)).await;
        device.expect(&puback(2)).await;
        watcher.expect_silence().await;
        assert_eq!(door.metric("weir_ingest_live_subscribers"), 0.0);
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_filters_are_refused_one_by_one() {
    let door = Door::open().await;
    let wanted = ["$SYS/#", "weir/live/#", "$share/g/weir/live/#", "weir/live/a#"];
    for (version, codes) in [(Version::V3, [0x80, 0, 0x80, 0x80]), (Version::V5, [0x87, 0, 0x9E, 0x8F])] {
        let mut client = Raw::connect(door.address(), version, "c").await;
        client.send(&filters(version, SUBSCRIBE, &wanted)).await;
        let suback = client.packet().await;
        assert_eq!(suback[suback.len() - 4..], codes);

        let many: Vec<String> = (0..20).map(|number| format!("weir/live/{number}/#")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        client.send(&filters(version, SUBSCRIBE, &many)).await;
        let suback = client.packet().await;
        let granted = suback[suback.len() - 20..].iter().filter(|code| **code == 0).count();
        assert_eq!(granted, 15, "16 filters a connection, one was taken");
        client.send(&filters(version, SUBSCRIBE, &[])).await;
        client.expect_closed(0x82).await;
    }
    door.metric_becomes("weir_ingest_live_subscribers", 0.0).await;
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_loses_readings_and_slows_nobody() {
    const MESSAGES: u16 = 1500;
    let door = Door::open().await;
    let mut slow = Raw::connect_narrow(door.address(), Version::V3, "slow").await;
    slow.send(&filters(Version::V3, SUBSCRIBE, &["weir/live/#"])).await;
    slow.packet().await;
    let mut device = Raw::connect(door.address(), Version::V3, "device").await;
    let payload = format!(r#"[{{"n":"note","vs":"{}"}}]"#, "x".repeat(8 * 1024));
    for id in 1..=MESSAGES {
        device.publish("hall/pump/telemetry", 1, id, payload.as_bytes()).await;
        device.expect(&puback(id)).await;
    }
    assert!(door.metric("weir_ingest_live_dropped_total") > 0.0);
    assert_eq!(door.rows().await.len(), usize::from(MESSAGES));
    door.ingest.stop().await.unwrap();
}
