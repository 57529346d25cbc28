//! Streams that are slow, full or broken.

use ingest::{Incoming, IngestConfig, IngestState};
use streams::AppendError;

use crate::door::{Door, config};
use crate::gate::Gate;
use crate::raw::{BOTH, Raw, Version, pack, puback, publish};

const TOPIC: &str = "hall/pump/telemetry";

#[tokio::test(flavor = "multi_thread")]
async fn full_streams_hold_acknowledgements_back_until_there_is_room() {
    let door = Door::open().await;
    door.gate.refuse(Some(AppendError::Full { used: 11, quota: 10 }));
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.publish(TOPIC, 1, 1, &pack(1)).await;
    door.gate.submitted(2).await;
    for id in 2..=5 {
        client.publish(TOPIC, 1, id, &pack(i64::from(id))).await;
    }
    door.gate.submitted(4).await;
    client.expect_silence().await;
    assert_eq!(door.ingest.state(), IngestState::Full { used: 11, quota: 10 });
    assert_eq!(door.rows().await, []);
    door.gate.refuse(None);
    for id in 1..=5 {
        client.expect(&puback(id)).await;
    }
    assert_eq!(door.ingest.state(), IngestState::Accepting);
    let seqs: Vec<_> = door.rows().await.iter().map(|row| row.seq.unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_is_acknowledged_while_the_next_group_finds_no_room() {
    let door = Door::with(config(), Gate::closed()).await;
    let mut client = Raw::connect(door.address(), Version::V3, "c").await;
    client.publish(TOPIC, 1, 1, &pack(1)).await;
    door.gate.submitted(1).await;
    door.gate.refuse(Some(AppendError::Full { used: 11, quota: 10 }));
    client.publish(TOPIC, 1, 2, &pack(2)).await;
    door.gate.submitted(2).await;
    door.gate.let_through(true);
    client.expect(&puback(1)).await;
    client.expect_silence().await;
    door.gate.refuse(None);
    client.expect(&puback(2)).await;
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_write_nothing_is_acknowledged() {
    let broken = AppendError::Failed("no such disk".to_owned());
    for at_submit in [true, false] {
        for version in BOTH {
            let door = Door::with(config(), Gate::closed()).await;
            if at_submit {
                door.gate.refuse(Some(broken.clone()));
            } else {
                door.gate.fail_tickets(broken.clone());
            }
            let mut failed = door.ingest.failed();
            let mut client = Raw::connect(door.address(), version, "c").await;
            client.publish(TOPIC, 1, 1, &pack(1)).await;
            door.gate.submitted(1).await;
            door.gate.let_through(true);
            let why = failed.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            assert!(why.contains("no such disk"), "{why}");
            client.expect_closed(0x83).await;
            assert!(matches!(door.ingest.state(), IngestState::Failed(_)));
            assert_eq!(door.metric("weir_ingest_acknowledged_messages_total"), 0.0);
            assert!(door.ingest.stop().await.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_dies_is_a_failure_and_not_a_silence() {
    let door = Door::open().await;
    door.gate.panic_at_submit();
    let mut failed = door.ingest.failed();
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.publish(TOPIC, 1, 1, &pack(1)).await;
    assert_eq!(failed.wait_for(Option::is_some).await.unwrap().as_deref(), Some("the committer ended"));
    client.expect_closed(0x83).await;
    assert!(door.ingest.stop().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_open_group_is_bounded_and_nothing_is_lost_by_it() {
    const MESSAGES: u16 = 3000;
    let limit = 64 * 1024;
    let config = IngestConfig { open_group_bytes: limit, ..config() };
    let door = Door::with(config, Gate::closed()).await;
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let address = door.address();
            tokio::spawn(async move {
                let mut client = Raw::connect(address, Version::V3, &format!("c{sender}")).await;
                let topic = format!("hall/device-{sender}/telemetry");
                let burst: Vec<u8> = (1..=MESSAGES)
                    .flat_map(|id| publish(Version::V3, &topic, 1, id, &[], &pack(i64::from(id))))
                    .collect();
                client.send(&burst).await;
                for id in 1..=MESSAGES {
                    client.expect(&puback(id)).await;
                }
            })
        })
        .collect();
    let intake = door.ingest.intake();
    while intake.has_room() {
        tokio::task::yield_now().await;
    }
    let waiting = door.metric("weir_ingest_unacknowledged_messages");
    assert!(waiting < f64::from(MESSAGES), "{waiting} messages of about 200 bytes in three groups of {limit} bytes");
    door.gate.let_through(true);
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(door.rows().await.len(), 3 * usize::from(MESSAGES));
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_in_flight_and_no_more() {
    let door = Door::with(IngestConfig { in_flight: 4, ..config() }, Gate::closed()).await;
    let mut client = Raw::connect(door.address(), Version::V3, "c").await;
    let burst: Vec<u8> =
        (1..=100).flat_map(|id| publish(Version::V3, TOPIC, 1, id, &[], &pack(i64::from(id)))).collect();
    client.send(&burst).await;
    door.metric_becomes("weir_ingest_unacknowledged_messages", 4.0).await;
    door.gate.submitted(1).await;
    assert_eq!(door.metric("weir_ingest_unacknowledged_messages"), 4.0);
    door.gate.let_through(true);
    for id in 1..=100 {
        client.expect(&puback(id)).await;
    }
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_doors_use_the_same_way_in() {
    let door = Door::with(config(), Gate::closed()).await;
    let intake = door.ingest.intake();
    let payload = pack(1);
    let incoming = Incoming { topic: TOPIC, payload: &payload, identity: None, client_id: "bridge", traceparent: None };
    intake.room().await.unwrap();
    let receipt = intake.accept(&incoming).unwrap();
    assert_eq!((receipt.group, receipt.readings), (1, 1));
    door.gate.submitted(1).await;
    assert_eq!(intake.last_durable(), 0);
    door.gate.let_through(true);
    intake.durable(receipt.group).await.unwrap();
    assert_eq!(intake.last_durable(), 1);
    door.ingest.stop().await.unwrap();
    assert!(intake.accept(&incoming).is_err());
    assert!(intake.room().await.is_err());
}
