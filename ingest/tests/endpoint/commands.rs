//! Commands to devices: who gets them, and what counts as an acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingest::{Commands, SendError};
use tokio::task::JoinHandle;

use crate::door::Door;
use crate::raw::{BOTH, Raw, Version, connect_v5, filters, pack, puback};

pub(crate) const TOPIC: &str = "hall/pump/commands";
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Sends a command whose key is its payload, in a task: it is under way when somebody got it.
pub(crate) fn send(commands: &Commands, topic: &str, payload: &str) -> JoinHandle<Result<(), SendError>> {
    let (commands, topic, key) = (commands.clone(), Arc::from(topic), Arc::from(payload));
    let payload = Bytes::from(payload.to_owned());
    tokio::spawn(async move { commands.send(topic, payload, key, MINUTE, None).await })
}

/// A client of `name` that subscribes to [`TOPIC`] as a recipient.
pub(crate) async fn recipient(door: &Door, version: Version, name: &str) -> Raw {
    let mut client = Raw::connect(door.address(), version, name).await;
    client.subscribe(TOPIC, 1).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_done_when_its_puback_came() {
    for version in BOTH {
        let door = Door::open().await;
        let commands = door.ingest.commands();
        let mut arrivals = commands.arrivals();
        assert_eq!(send(&commands, TOPIC, "early").await.unwrap(), Err(SendError::Absent));
        let mut device = recipient(&door, version, "pump").await;
        assert_eq!(&*arrivals.recv().await.unwrap(), TOPIC);
        assert_eq!(door.metric("weir_ingest_command_subscriptions"), 1.0);

        let sent = send(&commands, TOPIC, "open");
        let command = device.command().await;
        assert_eq!((&*command.topic, command.id, &*command.payload), (TOPIC, Some(1), "open"));
        if version == Version::V5 {
            assert!((1..=60).contains(&command.expiry.unwrap()));
            assert_eq!(command.key.as_deref(), Some("open"));
        }
        device.expect_silence().await;
        assert!(!sent.is_finished(), "nothing acknowledged it");
        device.send(&puback(1)).await;
        assert_eq!(sent.await.unwrap(), Ok(()));

        // The same connection goes on as a publisher, and leaves the topic.
        device.publish("hall/pump/telemetry", 1, 9, &pack(1)).await;
        device.expect(&puback(9)).await;
        device.subscribe(TOPIC, 1).await;
        device.send(&filters(version, 0xA2, &[TOPIC])).await;
        device.packet().await;
        assert_eq!(door.metric("weir_ingest_command_subscriptions"), 0.0);
        assert_eq!(send(&commands, TOPIC, "late").await.unwrap(), Err(SendError::Absent));
        assert!(arrivals.is_empty(), "the second subscription began nothing");
        assert_eq!(door.labelled("weir_ingest_commands_total", "acknowledged"), 1.0);
        assert_eq!(door.labelled("weir_ingest_commands_total", "absent"), 2.0);
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_gets_copies_and_proves_nothing() {
    for version in BOTH {
        let door = Door::open().await;
        let commands = door.ingest.commands();
        let mut dashboard = Raw::connect(door.address(), version, "dashboard").await;
        for filter in ["+/+/commands", "hall/#"] {
            dashboard.subscribe(filter, 0).await;
        }
        let mut casual = Raw::connect(door.address(), version, "casual").await;
        casual.send(&filters(version, 0x82, &[TOPIC])).await;
        assert_eq!(casual.packet().await.last(), Some(&0), "QoS 0 was asked for");
        assert_eq!(send(&commands, TOPIC, "open").await.unwrap(), Err(SendError::Absent));
        dashboard.expect_silence().await;

        let mut device = recipient(&door, version, "pump").await;
        device.subscribe("hall/+/commands", 0).await;
        let sent = send(&commands, TOPIC, "close");
        assert_eq!(device.command().await.id, Some(1));
        for (watcher, copies) in [(&mut dashboard, 2), (&mut casual, 1)] {
            for _ in 0..copies {
                let copy = watcher.command().await;
                assert_eq!((copy.id, &*copy.payload), (None, "close"));
            }
            watcher.send(&puback(1)).await;
            watcher.expect_silence().await;
        }
        device.expect_silence().await;
        assert!(!sent.is_finished());
        device.send(&puback(1)).await;
        assert_eq!(sent.await.unwrap(), Ok(()));
        // Asked for at QoS 1, the subscription is another one; back at QoS 0 it proves nothing again.
        casual.subscribe(TOPIC, 1).await;
        drop(device);
        casual.send(&filters(version, 0x82, &[TOPIC])).await;
        assert_eq!(casual.packet().await.last(), Some(&0));
        door.metric_becomes("weir_ingest_command_subscriptions", 3.0).await;
        assert_eq!(send(&commands, TOPIC, "x").await.unwrap(), Err(SendError::Absent));
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_recipients_is_enough() {
    let door = Door::open().await;
    let commands = door.ingest.commands();
    let mut dead = recipient(&door, Version::V3, "dead").await;
    let mut slow = recipient(&door, Version::V3, "slow").await;
    let mut quick = recipient(&door, Version::V5, "quick").await;
    let sent = send(&commands, TOPIC, "open");
    for device in [&mut dead, &mut slow, &mut quick] {
        assert_eq!(device.command().await.id, Some(1));
    }
    drop(dead);
    door.metric_becomes("weir_ingest_command_subscriptions", 2.0).await;
    assert!(!sent.is_finished());
    quick.send(&puback(1)).await;
    assert_eq!(sent.await.unwrap(), Ok(()));
    slow.send(&puback(1)).await;
    let sent = send(&commands, TOPIC, "close");
    assert_eq!(slow.command().await.id, Some(2));
    slow.send(&puback(2)).await;
    assert_eq!(sent.await.unwrap(), Ok(()));
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_taken_is_refused() {
    let door = Door::open().await;
    let commands = door.ingest.commands();
    let long = "x".repeat(1025);
    for topic in ["", "hall/+/commands", "hall/#", "a\0b", "$SYS/x", "weir/live/x", &long] {
        let refused = send(&commands, topic, "k").await.unwrap().unwrap_err();
        assert!(matches!(&refused, SendError::Refused(why) if why.starts_with("topic `")), "{refused:?}");
    }
    for key in ["", &long] {
        let refused = send(&commands, TOPIC, key).await.unwrap().unwrap_err();
        assert!(matches!(&refused, SendError::Refused(why) if why.starts_with("key has")), "{refused:?}");
    }
    let huge = Bytes::from(vec![0; telemetry::limits::PAYLOAD_BYTES + 1]);
    let refused = commands.send(TOPIC.into(), huge, "k".into(), MINUTE, None).await.unwrap_err();
    assert!(matches!(&refused, SendError::Refused(why) if why.starts_with("payload has 1048577 bytes")), "{refused:?}");

    let mut device = Raw::dial(door.address(), Version::V5).await;
    device.send(&connect_v5("small", &[0x27, 0, 0, 0, 100])).await;
    device.expect_accepted().await;
    device.subscribe(TOPIC, 1).await;
    let refused = send(&commands, TOPIC, &"x".repeat(100)).await.unwrap().unwrap_err();
    assert!(matches!(&refused, SendError::Refused(why) if why.contains("at most 100")), "{refused:?}");
    let sent = send(&commands, TOPIC, "fits");
    assert_eq!(device.command().await.payload, "fits");
    // PUBACK that says "payload format invalid".
    device.send(&[0x40, 3, 0, 1, 0x99]).await;
    let refused = sent.await.unwrap().unwrap_err();
    assert!(matches!(&refused, SendError::Refused(why) if why.contains("0x99")), "{refused:?}");
    assert_eq!(door.labelled("weir_ingest_commands_total", "refused"), 12.0);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_takes_it_counts_more_than_one_that_cannot() {
    let door = Door::open().await;
    let commands = door.ingest.commands();
    let mut small = Raw::dial(door.address(), Version::V5).await;
    small.send(&connect_v5("small", &[0x27, 0, 0, 0, 100])).await;
    small.expect_accepted().await;
    small.subscribe(TOPIC, 1).await;
    let mut large = recipient(&door, Version::V5, "large").await;
    let sent = send(&commands, TOPIC, &"x".repeat(100));
    assert_eq!(large.command().await.payload.len(), 100);
    large.send(&puback(1)).await;
    assert_eq!(sent.await.unwrap(), Ok(()));
    let sent = send(&commands, TOPIC, &"y".repeat(100));
    large.command().await;
    drop(large);
    assert_eq!(sent.await.unwrap(), Err(SendError::Lost), "who is gone might still have taken it");
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_commands_are_granted_or_refused_one_by_one() {
    let door = Door::open().await;
    let long = format!("hall/{}", "x".repeat(1020));
    for (version, refused) in [(Version::V3, [0x80, 0x80, 0x80, 0x80]), (Version::V5, [0x87, 0x87, 0x9E, 0x8F])] {
        let mut client = Raw::connect(door.address(), version, "c").await;
        for (filter, code) in ["$SYS/#", &long, "$share/g/hall/x", "hall/#/x"].into_iter().zip(refused) {
            client.subscribe(filter, code).await;
        }
        client.subscribe("weir/live/#", 0).await;
        for number in 0..15 {
            client.subscribe(&format!("hall/{number}/commands"), 1).await;
        }
        client.subscribe("hall/15/commands", if version == Version::V5 { 0x97 } else { 0x80 }).await;
        client.subscribe("hall/7/commands", 1).await;
        assert_eq!(door.metric("weir_ingest_command_subscriptions"), 15.0);
        drop(client);
        door.metric_becomes("weir_ingest_command_subscriptions", 0.0).await;
    }
    door.ingest.stop().await.unwrap();
}
