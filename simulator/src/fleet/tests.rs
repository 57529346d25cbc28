mod commands;
mod witness;

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use telemetry::Value;
use telemetry::clock::SystemClock;
use tempfile::TempDir;

use super::*;
use crate::broker::{Action, Broker, Moment, Received};
use crate::ledger::{self, Entry};
use crate::publisher::Source;

const START: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn config(folder: &TempDir, broker: &Broker) -> FleetConfig {
    FleetConfig {
        mqtt: broker.address.clone(),
        devices: 12,
        rate: 1200.0,
        boot: Some(17),
        ledger: folder.path().join("ledger.csv"),
        in_flight: 8,
        ..FleetConfig::default()
    }
}

/// Runs a fleet until `enough`, then stops it.
async fn run_fleet(config: FleetConfig, enough: fn(&Progress) -> bool) -> (Summary, Vec<Entry>) {
    let ledger = config.ledger.clone();
    let (running, stop) = watch::channel(false);
    let progress = Arc::new(Progress::default());
    let fleet = tokio::spawn(run(config, SystemClock::shared(), stop, Arc::clone(&progress)));
    while !enough(&progress) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.send(true).unwrap();
    let summary = fleet.await.unwrap().unwrap();
    (summary, ledger::read(ledger).unwrap().map(Result::unwrap).collect())
}

/// The first `count` payloads of each device.
fn payloads(seed: u64, count: i64) -> Vec<String> {
    let config = FleetConfig { devices: 30, seed, ..FleetConfig::default() };
    let mut all = Vec::new();
    for (_, mut source) in fleet(&config, START, Duration::ZERO, 17).unwrap() {
        for seq in 1..=count {
            let mut payload = String::new();
            source.write(seq, &mut payload, None);
            all.push(payload);
        }
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_payloads() {
    assert_eq!(payloads(5, 40), payloads(5, 40));
    assert_ne!(payloads(5, 40), payloads(6, 40));
    let flat = payloads(5, 1).iter().filter(|payload| payload.starts_with('{')).count();
    assert!((1..15).contains(&flat), "{flat} of 30 devices speak flat JSON");
}

#[test]
fn devices_take_turns_at_the_rate_of_the_fleet() {
    let config = FleetConfig { devices: 50, rate: 100.0, ..FleetConfig::default() };
    let fleet = fleet(&config, START, Duration::from_secs(7), 17).unwrap();
    let mut due = Vec::new();
    for (_, mut source) in fleet {
        for seq in 1..=20 {
            due.push(source.due().unwrap());
            source.write(seq, &mut String::new(), None);
        }
    }
    assert!(due.iter().all(|due| *due >= Duration::from_secs(7)));
    // 50 devices, each with a message in every half second.
    let in_first_five_seconds = due.iter().filter(|due| **due < Duration::from_secs(12)).count();
    assert_eq!(in_first_five_seconds, 500);
}

#[test]
fn a_surge_makes_the_same_messages_at_other_moments() {
    let surge = Some("4x@10s+5s".parse().unwrap());
    let config = FleetConfig { devices: 50, rate: 100.0, surge, ..FleetConfig::default() };
    let due = |config: &FleetConfig| {
        let mut due = Vec::new();
        for (_, mut source) in fleet(config, START, Duration::ZERO, 17).unwrap() {
            while source.due().unwrap() < Duration::from_secs(30) {
                due.push(source.due().unwrap());
                source.write(1, &mut String::new(), None);
            }
        }
        due
    };
    let moments = due(&config);
    assert_eq!(moments, due(&config));
    let between = |from, to| moments.iter().filter(|due| (from..to).contains(&due.as_secs())).count();
    // 5 s of 100 a second, 20 s of 250 on the average, 5 s of 100.
    assert_eq!((between(0, 5), between(25, 30)), (500, 500));
    assert_eq!(between(5, 25), 5_000);
}

#[tokio::test]
async fn every_message_is_decoded_acknowledged_and_in_the_ledger() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let enough = |progress: &Progress| {
        progress.connected.load(Ordering::SeqCst) == 12 && progress.messages.load(Ordering::SeqCst) >= 300
    };
    let (summary, ledger) = run_fleet(config(&folder, &broker), enough).await;
    let received = broker.received();
    assert_eq!(received.len() as u64, summary.messages);
    assert_eq!((summary.acknowledged_messages, summary.unacknowledged), (summary.messages, 0));
    assert_eq!(summary.readings, summary.messages * 5);
    assert_eq!(ledger.len() as u64, summary.messages);
    assert!(ledger.iter().all(|entry| entry.acknowledged_at.is_some() && entry.boot == 17 && entry.readings == 5));
    let mut last: HashMap<String, i64> = HashMap::new();
    for received in &received {
        let message = received.message();
        let metrics: Vec<&str> = message.readings.iter().map(|reading| &*reading.metric).collect();
        assert_eq!(metrics, METRICS.map(|(metric, _)| metric));
        assert!(message.readings.iter().all(|reading| matches!(reading.value, Value::Number(_))));
        assert_eq!(message.ignored_fields, 0);
        assert!(["hall-a", "hall-b", "yard"].contains(&&*message.site.unwrap()));
        let seq = last.entry(message.device_id.into_owned()).or_default();
        *seq += 1;
        assert_eq!(message.identity.unwrap().seq, *seq);
    }
    assert_eq!(last.len(), 12);
}

#[tokio::test]
async fn a_server_that_drops_connections_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let script = |Moment { connection, publish }| match (connection % 3, publish) {
        (0, 0) => Action::Drop,
        (_, 0) => Action::Ack,
        (1, 5) => Action::Drop,
        (2, 4) => Action::AckAndDrop,
        _ => Action::Ack,
    };
    let broker = Broker::start(script).await;
    let enough = |progress: &Progress| progress.reconnects.load(Ordering::SeqCst) >= 20;
    let (summary, ledger) = run_fleet(config(&folder, &broker), enough).await;
    assert_eq!(summary.unacknowledged, 0);
    assert_eq!(ledger.len() as u64, summary.messages);
    assert_each_connection_resumes(&broker.received());
    // All that the ledger claims was received by the server, at least once.
    let received = broker.received();
    for entry in ledger {
        assert!(entry.acknowledged_at.is_some());
        assert!(received.iter().any(|received| {
            let message = received.message();
            received.acknowledged && message.device_id == *entry.device && received.identity().seq == entry.seq
        }));
    }
}

/// On each connection numbers follow one another without a gap, and a device never leaves one out.
fn assert_each_connection_resumes(received: &[Received]) {
    let mut on_connection: HashMap<u64, i64> = HashMap::new();
    let mut of_device: HashMap<String, i64> = HashMap::new();
    for received in received {
        let message = received.message();
        let seq = message.identity.unwrap().seq;
        if let Some(last) = on_connection.insert(received.connection, seq) {
            assert_eq!(seq, last + 1);
        }
        let highest = of_device.entry(message.device_id.into_owned()).or_default();
        assert!(seq <= *highest + 1, "{seq} after {highest}");
        *highest = (*highest).max(seq);
    }
}

#[tokio::test]
async fn what_is_never_acknowledged_is_in_the_ledger_without_a_time() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|moment| if moment.publish > 2 { Action::Withhold } else { Action::Ack }).await;
    let config = FleetConfig { drain: Duration::from_millis(50), ..config(&folder, &broker) };
    let enough = |progress: &Progress| progress.messages.load(Ordering::SeqCst) >= 120;
    let (summary, ledger) = run_fleet(config, enough).await;
    // Two acknowledged and eight in flight, of each of twelve devices; then they had no room.
    assert_eq!((summary.acknowledged_messages, summary.unacknowledged), (24, 96));
    let waiting: Vec<&Entry> = ledger.iter().filter(|entry| entry.acknowledged_at.is_none()).collect();
    assert_eq!(waiting.len(), 96);
    assert!(waiting.iter().all(|entry| (3..=10).contains(&entry.seq)));
}

#[tokio::test]
async fn a_fleet_ends_by_itself_when_its_time_is_over() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let config = FleetConfig { duration: Some(Duration::from_millis(100)), ..config(&folder, &broker) };
    let (_running, stop) = watch::channel(false);
    let summary = run(config, SystemClock::shared(), stop, Arc::default()).await.unwrap();
    assert_eq!(summary.unacknowledged, 0);
    assert!(summary.messages <= 12 * 10 + 12);
}

#[tokio::test]
async fn a_stopped_fleet_ends_although_nobody_answers() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Drop).await;
    let config = config(&folder, &broker);
    let (running, stop) = watch::channel(false);
    let fleet = tokio::spawn(run(config, SystemClock::shared(), stop, Arc::default()));
    running.send(true).unwrap();
    let summary = fleet.await.unwrap().unwrap();
    assert_eq!((summary.devices, summary.messages), (12, 0));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let good = config(&folder, &broker);
    let wrong = [
        FleetConfig { devices: 0, ..good.clone() },
        FleetConfig { rate: 0.0, ..good.clone() },
        FleetConfig { rate: f64::NAN, ..good.clone() },
        FleetConfig { in_flight: 65_536, ..good.clone() },
        FleetConfig { sites: vec![], ..good.clone() },
        FleetConfig { boot: Some(-1), ..good.clone() },
        FleetConfig { prefix: "a/b".into(), ..good.clone() },
        FleetConfig { topic: "{room}/x".into(), ..good.clone() },
        FleetConfig { ledger: folder.path().to_owned(), ..good.clone() },
        FleetConfig { sent: Some(folder.path().to_owned()), ..good.clone() },
        FleetConfig { sent: Some(good.ledger.clone()), ..good.clone() },
        FleetConfig { patience: Duration::ZERO, ..good.clone() },
        FleetConfig { mischief: 1.5, ..good.clone() },
        FleetConfig { mischief: f64::NAN, ..good.clone() },
        FleetConfig { boot_each: Some(Duration::from_secs(1)), ..good.clone() },
    ];
    for config in wrong {
        let (_running, stop) = watch::channel(false);
        let error = run(config.clone(), SystemClock::shared(), stop, Arc::default()).await;
        assert!(error.is_err(), "{config:?}");
    }
    assert!(broker.received().is_empty());
}
