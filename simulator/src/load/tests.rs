use std::collections::BTreeMap;

use telemetry::clock::SystemClock;

use super::*;
use crate::broker::{Action, Broker};

fn config(broker: &Broker) -> LoadConfig {
    LoadConfig {
        mqtt: broker.address.clone(),
        connections: 3,
        devices_per_connection: 2,
        in_flight: 50,
        readings_per_message: 10,
        messages: Some(2_000),
        duration: None,
        warmup: Duration::ZERO,
        drain: Duration::from_secs(60),
        boot: Some(9),
        ..LoadConfig::default()
    }
}

async fn load(config: LoadConfig) -> anyhow::Result<LoadReport> {
    let (_running, stop) = watch::channel(false);
    run(config, SystemClock::shared(), stop).await
}

/// The sequence numbers of each device, in the order of arrival.
fn by_device(broker: &Broker) -> BTreeMap<String, Vec<i64>> {
    let mut devices: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for received in broker.received() {
        let message = received.message();
        assert_eq!((message.readings.len(), message.ignored_fields), (10, 0));
        let identity = message.identity.unwrap();
        assert_eq!(identity.boot, 9);
        devices.entry(message.device_id.into_owned()).or_default().push(identity.seq);
    }
    devices
}

#[tokio::test]
async fn a_closed_loop_sends_every_message_once_and_in_order() {
    let broker = Broker::start(|_| Action::Ack).await;
    let report = load(config(&broker)).await.unwrap();
    assert_eq!((report.published_messages, report.acknowledged_messages, report.unacknowledged), (2_000, 2_000, 0));
    assert_eq!((report.messages, report.readings, report.acknowledged_readings), (2_000, 20_000, 20_000));
    assert!(report.seconds > 0.0 && report.readings_per_second > report.messages_per_second);
    assert_eq!((report.latency.samples, report.send_delay.samples), (2_000, 0));
    assert!(report.latency.p50_micros <= report.latency.p99_micros);
    assert!(report.latency.p99_micros <= report.latency.max_micros);
    let devices = by_device(&broker);
    assert_eq!(
        devices.keys().collect::<Vec<_>>(),
        (0..6).map(|n| format!("bench-{n:05}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    assert_eq!(devices.values().map(Vec::len).sum::<usize>(), 2_000);
    for numbers in devices.values() {
        assert!((1_000_000_000..).zip(numbers).all(|(expected, number)| expected == *number));
    }
}

#[tokio::test]
async fn an_open_loop_keeps_its_schedule_for_every_message() {
    let broker = Broker::start(|_| Action::Ack).await;
    let config = LoadConfig { rate: Some(20_000.0), messages: Some(1_000), ..config(&broker) };
    let report = load(config).await.unwrap();
    assert_eq!((report.published_messages, report.unacknowledged), (1_000, 0));
    assert_eq!((report.latency.samples, report.send_delay.samples), (1_000, 1_000));
    // Nothing is sent before it is due, so a thousand messages take at least the time of their schedule.
    assert!(report.seconds >= 0.049, "{}", report.seconds);
    assert!(report.latency.max_micros >= report.send_delay.p50_micros);
}

#[tokio::test]
async fn a_run_ends_by_time_and_counts_from_the_end_of_the_warm_up() {
    let broker = Broker::start(|_| Action::Ack).await;
    let (warmup, duration) = (Duration::from_millis(50), Some(Duration::from_millis(100)));
    let report = load(LoadConfig { messages: None, warmup, duration, ..config(&broker) }).await.unwrap();
    assert!(report.messages > 0 && report.messages < report.acknowledged_messages);
    assert_eq!(report.unacknowledged, 0);
    assert!(report.seconds <= 0.1);
    assert_eq!(broker.count() as u64, report.acknowledged_messages);
}

#[tokio::test]
async fn what_is_never_acknowledged_is_counted() {
    let broker = Broker::start(|moment| if moment.publish > 100 { Action::Withhold } else { Action::Ack }).await;
    let report = load(LoadConfig { drain: Duration::from_millis(50), ..config(&broker) }).await.unwrap();
    // A hundred on each connection, then a full window.
    assert_eq!((report.published_messages, report.acknowledged_messages, report.unacknowledged), (450, 300, 150));
}

#[tokio::test]
async fn wrong_acknowledgements_and_lost_connections_are_errors() {
    let hold = |moment: crate::broker::Moment| match moment.publish {
        10 => Action::Hold,
        _ => Action::Ack,
    };
    let broker = Broker::start(hold).await;
    let error = format!("{:#}", load(config(&broker)).await.unwrap_err());
    assert!(error.contains("PUBACK 11 instead of 10, after 9 in order"), "{error}");
    let twice = |moment: crate::broker::Moment| match moment.publish {
        40 => Action::AckAndStrays(1),
        _ => Action::Ack,
    };
    let broker = Broker::start(twice).await;
    let error = format!("{:#}", load(config(&broker)).await.unwrap_err());
    assert!(error.contains("PUBACK 1 "), "{error}");
    let broker = Broker::start(|moment| if moment.publish == 40 { Action::Drop } else { Action::Ack }).await;
    assert!(load(config(&broker)).await.is_err());
}

#[tokio::test]
async fn a_stopped_run_waits_for_what_it_has_sent() {
    let broker = Broker::start(|_| Action::Ack).await;
    let (running, stop) = watch::channel(false);
    let config = LoadConfig { messages: Some(u64::MAX), ..config(&broker) };
    let load = tokio::spawn(run(config, SystemClock::shared(), stop));
    while broker.count() < 100 {
        tokio::task::yield_now().await;
    }
    running.send(true).unwrap();
    let report = load.await.unwrap().unwrap();
    assert_eq!((report.unacknowledged, report.acknowledged_messages), (0, broker.count() as u64));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let broker = Broker::start(|_| Action::Ack).await;
    let good = config(&broker);
    let wrong = [
        LoadConfig { connections: 0, ..good.clone() },
        LoadConfig { devices_per_connection: 0, ..good.clone() },
        LoadConfig { in_flight: 0, ..good.clone() },
        LoadConfig { readings_per_message: 0, ..good.clone() },
        LoadConfig { messages: None, ..good.clone() },
        LoadConfig { rate: Some(-1.0), ..good.clone() },
        LoadConfig { topic: "#".into(), ..good.clone() },
        LoadConfig { boot: Some(-1), ..good.clone() },
    ];
    for config in wrong {
        assert!(load(config.clone()).await.is_err(), "{config:?}");
    }
}
