//! Commands and connections that end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ingest::{Commands, IngestConfig, SendError};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::commands::{MINUTE, TOPIC, recipient, send};
use crate::door::{Door, config};
use crate::gate::Gate;
use crate::raw::{BOTH, Raw, Version, puback};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_loses_its_commands_and_the_next_one_gets_them() {
    for version in BOTH {
        let door = Door::open().await;
        let commands = door.ingest.commands();
        let mut arrivals = commands.arrivals();
        let mut device = recipient(&door, version, "pump").await;
        let sent = send(&commands, TOPIC, "open");
        device.command().await;
        drop(device);
        assert_eq!(sent.await.unwrap(), Err(SendError::Lost));
        assert_eq!(send(&commands, TOPIC, "open").await.unwrap(), Err(SendError::Absent));
        assert_eq!(&*arrivals.recv().await.unwrap(), TOPIC);
        assert!(arrivals.is_empty());

        let mut device = recipient(&door, version, "pump").await;
        assert_eq!(&*arrivals.recv().await.unwrap(), TOPIC);
        let sent = send(&commands, TOPIC, "open");
        let command = device.command().await;
        assert_eq!((command.id, &*command.payload), (Some(1), "open"), "ids begin again");
        device.send(&puback(1)).await;
        assert_eq!(sent.await.unwrap(), Ok(()));
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_connects_anew_takes_its_commands_over() {
    for version in BOTH {
        let door = Door::open().await;
        let commands = door.ingest.commands();
        let mut old = recipient(&door, version, "pump").await;
        let lost = send(&commands, TOPIC, "open");
        old.command().await;
        let mut new = recipient(&door, version, "pump").await;
        assert_eq!(lost.await.unwrap(), Err(SendError::Lost));
        old.expect_closed(0x8E).await;
        let sent = send(&commands, TOPIC, "open");
        assert_eq!(new.command().await.id, Some(1));
        new.send(&puback(1)).await;
        assert_eq!(sent.await.unwrap(), Ok(()));
        door.metric_becomes("weir_ingest_command_subscriptions", 1.0).await;
        door.ingest.stop().await.unwrap();
    }
}

const DEVICES: u64 = 6;
const COMMANDS: u32 = 150;

/// What a device saw. Both are written before the packet that follows from them leaves.
#[derive(Debug, Default)]
struct Seen {
    received: HashSet<String>,
    acknowledged: HashSet<String>,
    order: Vec<String>,
}

impl Seen {
    fn note(&mut self, payload: &str, acknowledged: bool) {
        if self.received.insert(payload.to_owned()) {
            self.order.push(payload.to_owned());
        }
        if acknowledged {
            self.acknowledged.insert(payload.to_owned());
        }
    }
}

/// A device that breaks its connection whenever the numbers say so: before it acknowledges, or after.
async fn unreliable(address: SocketAddr, version: Version, number: u64, seen: Arc<Mutex<Seen>>) {
    let mut random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (name, topic) = (format!("device-{number}"), format!("hall/device-{number}/commands"));
    loop {
        let mut connection = Raw::connect(address, version, &name).await;
        connection.subscribe(&topic, 1).await;
        loop {
            let Some(packet) = connection.next().await else { return };
            if version == Version::V5 && packet[0] == 0xE0 {
                return;
            }
            let command = crate::raw::command(version, &packet);
            let (before, after) = (draw(4) == 0, draw(6) == 0);
            seen.lock().unwrap().note(&command.payload, !before);
            if before {
                break;
            }
            connection.send(&puback(command.id.unwrap())).await;
            if after {
                break;
            }
        }
    }
}

/// Sends commands as an outbox does: one after the other, each again until it is acknowledged.
async fn outbox(commands: Commands, number: u64, seen: Arc<Mutex<Seen>>) -> u32 {
    let topic: Arc<str> = format!("hall/device-{number}/commands").into();
    let mut arrivals = commands.arrivals();
    let mut lost = 0;
    for command in 0..COMMANDS {
        let text = command.to_string();
        loop {
            match commands.send(topic.clone(), text.clone().into(), text.as_str().into(), MINUTE, None).await {
                Ok(()) => break,
                Err(SendError::Lost) => lost += 1,
                Err(SendError::Absent) => arrived(&mut arrivals, &topic).await,
                Err(SendError::Refused(why)) => panic!("{why}"),
            }
        }
        assert!(seen.lock().unwrap().acknowledged.contains(&text), "{text} was never acknowledged");
    }
    lost
}

async fn arrived(arrivals: &mut broadcast::Receiver<Arc<str>>, topic: &str) {
    while arrivals.recv().await.is_ok_and(|arrived| *arrived != *topic) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn with_reconnects_at_random_each_command_acknowledged_was_received_in_order() {
    let door = Door::with(IngestConfig { workers: 2, ..config() }, Gate::open()).await;
    let (mut devices, mut outboxes, mut all_seen) = (JoinSet::new(), JoinSet::new(), Vec::new());
    for number in 1..=DEVICES {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let version = BOTH[usize::try_from(number % 2).unwrap()];
        outboxes.spawn(outbox(door.ingest.commands(), number, seen.clone()));
        devices.spawn(unreliable(door.address(), version, number, seen.clone()));
        all_seen.push(seen);
    }
    let lost: u32 = tokio::select! {
        lost = outboxes.join_all() => lost.iter().sum(),
        ended = devices.join_next() => panic!("a device ended: {ended:?}"),
    };
    assert!(lost > 0, "no connection ended at a bad time");
    let in_order: Vec<String> = (0..COMMANDS).map(|number| number.to_string()).collect();
    for seen in all_seen {
        let seen = seen.lock().unwrap();
        assert_eq!(seen.order, in_order);
        assert_eq!(seen.received.len(), in_order.len());
    }
    let acknowledged = door.labelled("weir_ingest_commands_total", "acknowledged");
    assert_eq!(acknowledged, f64::from(COMMANDS) * DEVICES as f64);
    devices.abort_all();
    door.ingest.stop().await.unwrap();
}
