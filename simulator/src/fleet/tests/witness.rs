//! The fleet as a witness: what it says it sent is what a server gets, and no mischief makes it lose.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Boot, sequence number and metric of a reading of a device.
type Key = (String, i64, i64, String);
/// Time, bits, unit and site of a reading.
type Content = (i64, u64, String, String);

fn read_sent(path: &std::path::Path) -> BTreeMap<Key, Content> {
    let mut lines = csv::Reader::from_path(path).unwrap();
    assert_eq!(lines.headers().unwrap(), &csv::StringRecord::from(crate::sent::HEADER.to_vec()));
    let mut sent = BTreeMap::new();
    for record in lines.records() {
        let record = record.unwrap();
        let key = (record[0].into(), record[1].parse().unwrap(), record[2].parse().unwrap(), record[3].into());
        let bits = record[5].parse::<f64>().unwrap().to_bits();
        let content = (record[4].parse().unwrap(), bits, record[6].into(), record[7].into());
        assert_eq!(sent.insert(key.clone(), content), None, "{key:?} twice");
    }
    sent
}

/// What a server decodes, and how many messages were copies.
fn decoded(broker: &Broker) -> (BTreeMap<Key, Content>, usize) {
    let (mut readings, mut copies) = (BTreeMap::new(), 0);
    for received in broker.received() {
        let (message, identity) = (received.message(), received.identity());
        let site = message.site.as_deref().unwrap_or_default();
        let mut copy = false;
        for reading in &message.readings {
            let Value::Number(value) = reading.value else { panic!("no number") };
            let unit = reading.unit.as_deref().unwrap_or_default();
            let key = (message.device_id.to_string(), identity.boot, identity.seq, reading.metric.to_string());
            let content = (reading.time.as_micros(), value.to_bits(), unit.to_owned(), site.to_owned());
            if let Some(before) = readings.insert(key, content.clone()) {
                assert_eq!(before, content);
                copy = true;
            }
        }
        copies += usize::from(copy);
    }
    (readings, copies)
}

#[tokio::test]
async fn what_is_in_the_file_is_what_a_server_decodes() {
    let folder = TempDir::new().unwrap();
    let sent = folder.path().join("sent.csv");
    let broker = Broker::start(|_| Action::Ack).await;
    let config = FleetConfig { sent: Some(sent.clone()), skew: Duration::from_secs(600), ..config(&folder, &broker) };
    let enough = |progress: &Progress| {
        progress.connected.load(Ordering::SeqCst) == 12 && progress.messages.load(Ordering::SeqCst) >= 100
    };
    let (first, _) = run_fleet(config.clone(), enough).await;
    let told = read_sent(&sent);
    assert_eq!(told, decoded(&broker).0);
    assert_eq!(told.len() as u64, first.readings);
    let units: BTreeSet<&str> = told.values().map(|(_, _, unit, _)| &**unit).collect();
    assert_eq!(units, BTreeSet::from(["", "Cel", "%RH", "hPa", "m/s2", "%"]), "flat devices have no units");
    // A later run continues the file.
    let (second, _) = run_fleet(FleetConfig { boot: Some(18), ..config }, enough).await;
    let told = read_sent(&sent);
    assert_eq!(told, decoded(&broker).0);
    assert_eq!(told.len() as u64, first.readings + second.readings);
}

#[tokio::test]
async fn mischief_sends_twice_and_out_of_order_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let sent = folder.path().join("sent.csv");
    // Connections break all the time, some with acknowledgements under way.
    let script = |Moment { connection, publish }| match (connection % 3, publish) {
        (_, 0) => Action::Ack,
        (1, 25) => Action::Drop,
        (2, 20) => Action::AckAndDrop,
        (2, 19) => Action::Withhold,
        _ => Action::Ack,
    };
    let broker = Broker::start(script).await;
    let config = FleetConfig {
        sent: Some(sent.clone()),
        mischief: 0.4,
        in_flight: 64,
        reconnect_within: Duration::from_millis(5),
        ..config(&folder, &broker)
    };
    let enough = |progress: &Progress| {
        progress.reconnects.load(Ordering::SeqCst) >= 20 && progress.messages.load(Ordering::SeqCst) >= 1500
    };
    let (summary, ledger) = run_fleet(config, enough).await;
    assert_eq!((summary.unacknowledged, summary.stray_acknowledgements), (0, 0));
    // Each message once in the ledger, whatever was sent twice.
    let entries: BTreeSet<(&str, i64)> = ledger.iter().map(|entry| (&*entry.device, entry.seq)).collect();
    assert_eq!((ledger.len() as u64, entries.len() as u64), (summary.messages, summary.messages));
    assert!(ledger.iter().all(|entry| entry.acknowledged_at.is_some()));
    let (readings, copies) = decoded(&broker);
    assert_eq!(readings, read_sent(&sent));
    assert!(copies as u64 > summary.messages / 10, "{copies} copies of {} messages", summary.messages);
    let received = broker.received();
    let mut highest: HashMap<(u64, String), i64> = HashMap::new();
    let late = received.iter().filter(|received| {
        let device = received.message().device_id.into_owned();
        let highest = highest.entry((received.connection, device)).or_default();
        let seq = received.identity().seq;
        *highest = seq.max(*highest);
        seq < *highest
    });
    assert!(late.count() as u64 > summary.messages / 10);
}

#[tokio::test]
async fn what_was_held_back_or_never_acknowledged_is_in_the_ledger_once() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|moment| if moment.publish > 2 { Action::Withhold } else { Action::Ack }).await;
    let drain = Duration::from_millis(50);
    let config = FleetConfig { drain, mischief: 0.6, in_flight: 32, ..config(&folder, &broker) };
    let enough = |progress: &Progress| progress.messages.load(Ordering::SeqCst) >= 200;
    let (summary, ledger) = run_fleet(config, enough).await;
    let entries: BTreeSet<(&str, i64)> = ledger.iter().map(|entry| (&*entry.device, entry.seq)).collect();
    assert_eq!((ledger.len() as u64, entries.len() as u64), (summary.messages, summary.messages));
    let waiting = ledger.iter().filter(|entry| entry.acknowledged_at.is_none()).count();
    assert_eq!(waiting as u64, summary.unacknowledged);
    assert!(summary.unacknowledged > 0);
}

#[tokio::test]
async fn a_black_hole_is_left_for_a_new_connection_with_the_same_client_id() {
    let folder = TempDir::new().unwrap();
    // One connection in three never answers the connect, another falls silent after its fifth message.
    let script = |Moment { connection, publish }| match (connection % 3, publish) {
        (0, 0) | (1, 5) => Action::Deaf,
        _ => Action::Ack,
    };
    let broker = Broker::start(script).await;
    let config = FleetConfig { patience: Duration::from_millis(150), ..config(&folder, &broker) };
    let enough = |progress: &Progress| progress.reconnects.load(Ordering::SeqCst) >= 8;
    let (summary, ledger) = run_fleet(config, enough).await;
    assert_eq!(summary.unacknowledged, 0);
    assert_eq!(ledger.len() as u64, summary.messages);
    let received = broker.received();
    assert!(received.iter().all(|received| received.client == received.message().device_id));
    let connections: BTreeSet<(&str, u64)> = received.iter().map(|r| (&*r.client, r.connection)).collect();
    let clients: BTreeSet<&str> = connections.iter().map(|(client, _)| *client).collect();
    assert!(connections.len() > clients.len(), "no client came back");
}

#[test]
fn clocks_are_wrong_by_up_to_the_skew_and_by_seed() {
    let shifts = |seed: u64, skew: u64| -> Vec<i64> {
        let config = FleetConfig { devices: 100, seed, skew: Duration::from_secs(skew), ..FleetConfig::default() };
        let times = fleet(&config, START, Duration::ZERO, 17).unwrap().into_iter().map(|(_, mut source)| {
            let (due, mut sent) = (source.due().unwrap(), String::new());
            source.write(1, &mut String::new(), Some(&mut sent));
            let time: i64 = sent.split(',').nth(4).unwrap().parse().unwrap();
            time - (START + due).as_micros()
        });
        times.collect()
    };
    let wrong = shifts(3, 60);
    assert!(wrong.iter().all(|shift| shift.abs() <= 60_000_000));
    assert!(wrong.iter().any(|shift| *shift < -30_000_000) && wrong.iter().any(|shift| *shift > 30_000_000));
    assert_eq!(wrong, shifts(3, 60));
    assert_ne!(wrong, shifts(4, 60));
    assert!(shifts(3, 0).iter().all(|shift| *shift == 0));
}

#[test]
fn boots_follow_the_schedule_and_never_outrun_the_clock() {
    let config =
        FleetConfig { devices: 50, rate: 500.0, boot_each: Some(Duration::from_secs(2)), ..FleetConfig::default() };
    let mut first_restarts = BTreeSet::new();
    for (_, mut source) in fleet(&config, START, Duration::ZERO, 17).unwrap() {
        let mut boots = BTreeMap::new();
        loop {
            let due = source.due().unwrap();
            if due > Duration::from_secs(11) {
                break;
            }
            let boot = source.boot();
            assert!(u64::try_from(boot - 17).unwrap() <= due.as_secs() / 2);
            boots.entry(boot).or_insert(due);
            source.write(1, &mut String::new(), None);
        }
        let known: Vec<i64> = boots.keys().copied().collect();
        assert!(known == [17, 18, 19, 20, 21, 22] || known == [17, 18, 19, 20, 21], "{known:?}");
        first_restarts.insert(boots[&18]);
    }
    assert!(first_restarts.len() > 25, "devices restart at moments of their own");
    let without = FleetConfig { boot_each: None, ..config };
    assert!(fleet(&without, START, Duration::ZERO, 17).unwrap().iter().all(|(_, source)| source.boot() == 17));
}
