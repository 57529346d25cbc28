//! Commands to clients that are slow, silent or hostile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use bytes::Bytes;
use ingest::SendError;
use tokio::sync::broadcast::error::RecvError;

use crate::commands::{MINUTE, TOPIC, recipient, send};
use crate::door::{Door, config};
use crate::gate::Gate;
use crate::raw::{BOTH, Raw, Version, connect_v5, filters, pack, puback, subscribe};

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_in_flight_than_the_client_takes_and_all_come_in_order() {
    for (version, properties, most) in
        [(Version::V5, &[0x21, 0, 3][..], 3), (Version::V5, &[], 16), (Version::V3, &[], 16)]
    {
        let door = Door::open().await;
        let commands = door.ingest.commands();
        let mut device = Raw::dial(door.address(), version).await;
        match version {
            Version::V5 => device.send(&connect_v5("pump", properties)).await,
            Version::V3 => device.send(&crate::raw::connect(version, "pump")).await,
        }
        device.expect_accepted().await;
        device.subscribe(TOPIC, 1).await;
        let mut sent = Vec::new();
        for number in 1..=40_u16 {
            sent.push(send(&commands, TOPIC, &number.to_string()));
            if number <= most {
                assert_eq!(device.command().await.id, Some(number));
            }
        }
        device.expect_silence().await;
        let mut payloads: Vec<String> = (1..=most).map(|number| number.to_string()).collect();
        for number in 1..=40 {
            device.send(&puback(number)).await;
            if number + most <= 40 {
                let command = device.command().await;
                assert_eq!(command.id, Some(number + most));
                payloads.push(command.payload);
            }
        }
        for sent in sent {
            assert_eq!(sent.await.unwrap(), Ok(()));
        }
        payloads.sort_by_key(|payload| payload.parse::<u16>().unwrap());
        assert_eq!(payloads, (1..=40).map(|number| number.to_string()).collect::<Vec<_>>(), "each once");
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test]
async fn commands_of_one_topic_arrive_in_the_order_of_the_calls() {
    let door = Door::open().await;
    let commands = door.ingest.commands();
    let mut device = recipient(&door, Version::V3, "pump").await;
    let mut calls = Vec::new();
    for number in 0..70_u16 {
        let mut call = Box::pin(commands.send(TOPIC.into(), number.to_string().into(), "k".into(), MINUTE, None));
        assert!(futures::poll!(&mut call).is_pending());
        calls.push(call);
    }
    for number in 0..70_u16 {
        let command = device.command().await;
        assert_eq!(command.payload, number.to_string());
        device.send(&puback(command.id.unwrap())).await;
    }
    for call in calls {
        assert_eq!(call.await, Ok(()));
    }
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_acknowledges_nothing_holds_a_bounded_number() {
    const HELD: usize = 16 + 64;
    let door = Door::open().await;
    let commands = door.ingest.commands();
    let mut device = recipient(&door, Version::V3, "silent").await;
    let mut sent: Vec<_> = (0..HELD + 5).map(|number| send(&commands, TOPIC, &format!("{number}"))).collect();
    door.metric_becomes("weir_ingest_commands_total", 5.0).await;
    assert_eq!(door.labelled("weir_ingest_commands_total", "lost"), 5.0);
    for _ in 0..16 {
        device.command().await;
    }
    device.expect_silence().await;
    // A task is finished a moment after it is counted.
    while sent.len() > HELD {
        sent.retain(|sent| !sent.is_finished());
        tokio::task::yield_now().await;
    }
    // Their senders go: what was not written makes room, what was written keeps its packet ids.
    sent.iter().for_each(tokio::task::JoinHandle::abort);
    door.metric_becomes("weir_ingest_commands_total", 85.0).await;
    assert_eq!(door.labelled("weir_ingest_commands_total", "forgotten"), 80.0);
    let next = send(&commands, TOPIC, "next");
    device.expect_silence().await;
    for id in 1..=16 {
        device.send(&puback(id)).await;
    }
    let command = device.command().await;
    assert_eq!((command.id, &*command.payload), (Some(17), "next"));
    device.send(&puback(17)).await;
    assert_eq!(next.await.unwrap(), Ok(()));
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_nothing_are_ignored() {
    for version in BOTH {
        let door = Door::open().await;
        let mut client = Raw::connect(door.address(), version, "c").await;
        let flood: Vec<u8> = (1..=u16::MAX).flat_map(puback).collect();
        client.send(&flood).await;
        client.expect_silence().await;
        client.subscribe(TOPIC, 1).await;
        client.send(&flood).await;
        // All of it is read before there is anything to acknowledge.
        client.expect_silence().await;
        let sent = send(&door.ingest.commands(), TOPIC, "open");
        let command = client.command().await;
        client.send(&puback(command.id.unwrap() + 1)).await;
        client.expect_silence().await;
        assert!(!sent.is_finished());
        client.send(&flood).await;
        assert_eq!(sent.await.unwrap(), Ok(()));
        client.publish("hall/pump/telemetry", 1, 9, &pack(1)).await;
        client.expect(&puback(9)).await;
        // Packet id 0 is malformed.
        client.send(&puback(0)).await;
        client.expect_closed(0x81).await;
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn churn_leaves_nothing_behind_and_who_asks_too_slowly_is_told() {
    const ROUNDS: usize = 5000;
    let door = Door::open().await;
    let commands = door.ingest.commands();
    let mut arrivals = commands.arrivals();
    let mut churner = Raw::connect(door.address(), Version::V3, "churner").await;
    let round = [subscribe(Version::V3, &[TOPIC, "+/x"]), filters(Version::V3, 0xA2, &[TOPIC, "+/x"])].concat();
    let sending = tokio::spawn({
        let commands = commands.clone();
        async move {
            for _ in 0..ROUNDS {
                let call = commands.send(TOPIC.into(), Bytes::new(), "k".into(), MINUTE, None);
                // Some are sent while it is subscribed, and are never acknowledged.
                assert!(!matches!(futures::poll!(Box::pin(call)), Poll::Ready(Ok(()))));
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..ROUNDS / 100 {
        churner.send(&round.repeat(100)).await;
        let mut answers = 0;
        while answers < 200 {
            answers += usize::from(churner.packet().await[0] & 0xF0 != 0x30);
        }
    }
    sending.await.unwrap();
    assert_eq!(door.metric("weir_ingest_commands_total"), 5000.0);
    assert_eq!(door.metric("weir_ingest_command_subscriptions"), 0.0);
    assert!(matches!(arrivals.recv().await, Err(RecvError::Lagged(_))), "5,000 topics, and nobody listened");
    assert_eq!(&*arrivals.recv().await.unwrap(), TOPIC);
    let mut other = recipient(&door, Version::V5, "other").await;
    let sent = send(&commands, TOPIC, "open");
    assert_eq!(other.command().await.id, Some(1));
    other.send(&puback(1)).await;
    assert_eq!(sent.await.unwrap(), Ok(()));
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_recipients_and_watchers_and_no_more() {
    let door = Door::open().await;
    let mut clients = Vec::new();
    for number in 0..16 {
        clients.push(recipient(&door, Version::V5, &format!("r{number}")).await);
    }
    for client in &mut clients[..4] {
        for number in 0..15 {
            client.subscribe(&format!("{number}/#"), 0).await;
        }
    }
    for number in 0..4 {
        clients[4].subscribe(&format!("{number}/+"), 0).await;
    }
    let mut late = Raw::connect(door.address(), Version::V5, "late").await;
    late.subscribe(TOPIC, 0x97).await;
    late.subscribe("5/#", 0x97).await;
    late.subscribe("other", 1).await;
    drop(clients.pop());
    drop(clients.remove(0));
    door.metric_becomes("weir_ingest_command_subscriptions", 14.0 + 45.0 + 4.0 + 1.0).await;
    late.subscribe(TOPIC, 1).await;
    late.subscribe("5/#", 0).await;
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_waits_for_itself_only() {
    const LARGE: usize = 1_000_000;
    let door = Door::open().await;
    let commands = door.ingest.commands();
    let mut slow = Raw::connect(door.address(), Version::V3, "slow").await;
    slow.subscribe("slow/commands", 1).await;
    slow.subscribe("hall/+/commands", 0).await;
    // More than the buffers of the system hold.
    let large: Arc<str> = "x".repeat(LARGE).into();
    let sent: Vec<_> = (0..30)
        .map(|_| {
            let (commands, payload) = (commands.clone(), Bytes::from(large.as_bytes().to_vec()));
            tokio::spawn(async move { commands.send("slow/commands".into(), payload, "k".into(), MINUTE, None).await })
        })
        .collect();
    let mut device = recipient(&door, Version::V3, "pump").await;
    for id in 1..=50 {
        device.publish("hall/pump/telemetry", 1, id, &pack(i64::from(id))).await;
        device.expect(&puback(id)).await;
        let command = send(&commands, TOPIC, "open");
        assert_eq!(device.command().await.id, Some(id));
        device.send(&puback(id)).await;
        assert_eq!(command.await.unwrap(), Ok(()));
    }
    // What waits is bounded by its bytes: some are lost, the others come when it reads.
    let came = Arc::new(AtomicU32::new(0));
    let reading = tokio::spawn({
        let came = came.clone();
        async move {
            loop {
                let command = slow.command().await;
                if let Some(id) = command.id {
                    assert_eq!(command.payload.len(), LARGE);
                    came.fetch_add(1, Ordering::SeqCst);
                    slow.send(&puback(id)).await;
                }
            }
        }
    });
    let mut acknowledged = 0;
    for sent in sent {
        match sent.await.unwrap() {
            Ok(()) => acknowledged += 1,
            lost => assert_eq!(lost, Err(SendError::Lost)),
        }
    }
    assert!(acknowledged > 0 && acknowledged < 30, "{acknowledged}");
    assert_eq!(came.load(Ordering::SeqCst), acknowledged);
    reading.abort();
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_what_waits() {
    let door = Door::with(config(), Gate::open()).await;
    let commands = door.ingest.commands();
    let mut device = recipient(&door, Version::V5, "pump").await;
    let sent = send(&commands, TOPIC, "open");
    device.command().await;
    door.ingest.stop().await.unwrap();
    assert_eq!(sent.await.unwrap(), Err(SendError::Lost));
    assert_eq!(send(&commands, TOPIC, "again").await.unwrap(), Err(SendError::Absent));
}
