use std::fs;
use std::path::Path;

use telemetry::clock::SystemClock;
use telemetry::{Timestamp, Value};
use tempfile::TempDir;

use super::*;
use crate::broker::{Action, Broker, Moment};

const MACHINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/machine_temperature_200.csv");

fn config(folder: &TempDir, broker: &Broker) -> ReplayConfig {
    ReplayConfig {
        mqtt: broker.address.clone(),
        file: MACHINE.into(),
        metric: "temperature".into(),
        device: "machine-1".into(),
        unit: "degF".into(),
        boot: Some(3),
        ledger: folder.path().join("ledger.csv"),
        ..ReplayConfig::default()
    }
}

async fn replay(config: ReplayConfig) -> anyhow::Result<Summary> {
    let (_running, stop) = watch::channel(false);
    run(config, SystemClock::shared(), stop, Arc::default()).await
}

/// Sequence number, time and bits of each row, in the order of arrival.
fn rows(broker: &Broker) -> Vec<(i64, Timestamp, u64)> {
    let mut rows = Vec::new();
    for received in broker.received() {
        let message = received.message();
        assert_eq!((&*message.device_id, message.ignored_fields), ("machine-1", 0));
        for reading in &message.readings {
            let Value::Number(value) = reading.value else { panic!("no number") };
            assert_eq!((&*reading.metric, reading.unit.as_deref()), ("temperature", Some("degF")));
            rows.push((received.identity().seq, reading.time, value.to_bits()));
        }
    }
    rows
}

/// The recording, read by other means than the replay's.
fn expected(path: &Path) -> Vec<(i64, Timestamp, u64)> {
    let text = fs::read_to_string(path).unwrap();
    let line = |(seq, line): (i64, &str)| {
        let (time, value) = line.split_once(',').unwrap();
        let time = chrono::DateTime::parse_from_rfc3339(&format!("{}Z", time.replace(' ', "T"))).unwrap();
        (seq, Timestamp::from_micros(time.timestamp_micros()), value.parse::<f64>().unwrap().to_bits())
    };
    (1..).zip(text.lines().skip(1)).map(line).collect()
}

#[tokio::test]
async fn every_row_arrives_to_the_last_bit() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let summary = replay(config(&folder, &broker)).await.unwrap();
    assert_eq!((summary.messages, summary.acknowledged_readings, summary.unpublished_readings), (200, 200, 0));
    assert_eq!(rows(&broker), expected(Path::new(MACHINE)));
}

#[tokio::test]
async fn rows_of_the_same_time_are_messages_of_their_own_and_survive_lost_connections() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("clock_change.csv");
    let mut text = String::from("timestamp,value\n");
    for row in 0..300 {
        text.push_str(&format!("2014-01-07 02:{:02}:00,{}\n", row % 3, f64::from(row) * 0.1));
    }
    fs::write(&file, text).unwrap();
    let drop = |Moment { connection, publish }| if publish == 40 * connection { Action::Drop } else { Action::Ack };
    let broker = Broker::start(drop).await;
    let config = ReplayConfig { file: file.clone(), in_flight: 16, ..config(&folder, &broker) };
    let summary = replay(config).await.unwrap();
    assert_eq!((summary.messages, summary.unacknowledged), (300, 0));
    assert!(summary.reconnects > 0);
    let mut arrived = rows(&broker);
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived, expected(&file));
}

#[tokio::test]
async fn every_row_is_in_the_file_of_what_was_sent() {
    let folder = TempDir::new().unwrap();
    let sent = folder.path().join("sent.csv");
    let broker = Broker::start(|_| Action::Ack).await;
    let config = ReplayConfig { sent: Some(sent.clone()), readings_per_message: 3, ..config(&folder, &broker) };
    replay(config).await.unwrap();
    let mut told = Vec::new();
    for record in csv::Reader::from_path(&sent).unwrap().records() {
        let record = record.unwrap();
        assert_eq!([&record[0], &record[1], &record[3]], ["machine-1", "3", "temperature"]);
        assert_eq!([&record[6], &record[7]], ["degF", "replay"]);
        let time = Timestamp::from_micros(record[4].parse().unwrap());
        told.push((record[2].parse().unwrap(), time, record[5].parse::<f64>().unwrap().to_bits()));
    }
    assert_eq!(told, rows(&broker));
    assert_eq!(told.len(), 200);
}

#[tokio::test]
async fn packs_hold_several_rows() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let config = ReplayConfig { readings_per_message: 64, ..config(&folder, &broker) };
    let summary = replay(config).await.unwrap();
    assert_eq!((summary.messages, summary.readings), (4, 200));
    let arrived: Vec<_> = rows(&broker).into_iter().map(|(_, time, bits)| (time, bits)).collect();
    let expected: Vec<_> = expected(Path::new(MACHINE)).into_iter().map(|(_, time, bits)| (time, bits)).collect();
    assert_eq!(arrived, expected);
}

#[tokio::test]
async fn a_stopped_replay_says_what_is_left() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    // The first row is due at once, the second in five minutes.
    let config = ReplayConfig { speed: Speed::Factor(1.0), ..config(&folder, &broker) };
    let (running, stop) = watch::channel(false);
    let progress = Arc::new(Progress::default());
    let replay = tokio::spawn(run(config, SystemClock::shared(), stop, Arc::clone(&progress)));
    while progress.summary(1).acknowledged_messages < 1 {
        tokio::task::yield_now().await;
    }
    running.send(true).unwrap();
    let summary = replay.await.unwrap().unwrap();
    assert_eq!((summary.messages, summary.unacknowledged, summary.unpublished_readings), (1, 0, 199));
}

#[test]
fn rows_are_due_by_their_time_and_never_before_the_start() {
    let row = |seconds: i64| Row { time: Timestamp::from_micros(seconds * 1_000_000), value: 0.0 };
    let mut recording = Recording {
        rows: vec![row(1_400_000_000), row(1_400_000_600), row(1_399_999_000)],
        next: 0,
        start: Duration::from_secs(5),
        per_message: 1,
        speed: Speed::Factor(60.0),
        device: "machine-1".into(),
        boot: 1,
        metric: "\"m\"".into(),
        unit: None,
        origin: Origin::new("machine-1", ""),
        csv: ("m".into(), String::new()),
    };
    let mut due = Vec::new();
    for seq in 1..=3 {
        due.push(recording.due().unwrap().as_secs());
        recording.write(seq, &mut String::new(), None);
    }
    assert_eq!(due, [5, 15, 5]);
    assert_eq!((recording.due(), recording.left()), (None, 0));
}

#[test]
fn times_of_all_kinds_are_exact() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("times.csv");
    let text = "sensor,value,timestamp\n\
        a,1,2013-12-02 21:15:00\n\
        a,-0.0,2013-12-02 21:15:00.123456\n\
        a,1e-7,2013-12-02T21:15:00.5\n\
        a,5e300,2013-12-02T22:15:00+01:00\n\
        a,73.96732207,2013-12-02T21:15:00.000001Z\n\
        a,0.1, 1386018900 \n\
        a,7,1386018900.123456\n\
        a,7,1386018900.5000000\n";
    fs::write(&file, text).unwrap();
    let rows = read(&file).unwrap();
    let micros: Vec<i64> = rows.iter().map(|row| row.time.as_micros() - 1_386_018_900_000_000).collect();
    assert_eq!(micros, [0, 123_456, 500_000, 0, 1, 0, 123_456, 500_000]);
    let values = [1.0, -0.0, 1e-7, 5e300, 73.967_322_07, 0.1, 7.0, 7.0];
    assert!(rows.iter().zip(values).all(|(row, value)| row.value.to_bits() == f64::to_bits(value)));
}

#[tokio::test]
async fn a_bad_row_is_named_and_nothing_is_published() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let file = folder.path().join("bad.csv");
    let bad = [
        ("2013-12-02 21:15:00,warm", "line 3: value `warm`: expected a finite number"),
        ("2013-12-02 21:15:00,NaN", "line 3: value `NaN`"),
        ("2013-12-02 21:15:00,", "line 3: value ``"),
        ("02.12.2013,1", "line 3: timestamp `02.12.2013`: expected `YYYY-MM-DD HH:MM:SS` in UTC"),
        ("1970-01-01 00:00:00,1", "line 3: timestamp `1970-01-01 00:00:00`"),
        ("2013-12-02 21:15:00.1234567,1", "line 3: timestamp"),
        ("1386018900.1234567,1", "line 3: timestamp"),
        ("-1386018900,1", "line 3: timestamp"),
        ("2013-12-02 21:15:00", "bad.csv: CSV error"),
    ];
    for (row, expected) in bad {
        fs::write(&file, format!("timestamp,value\n2013-12-02 21:15:00,1\n{row}\n")).unwrap();
        let config = ReplayConfig { file: file.clone(), ..config(&folder, &broker) };
        let error = replay(config).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("bad.csv"), "{row}: {error}");
    }
    fs::write(&file, "time,value\n").unwrap();
    let error = read(&file).unwrap_err().to_string();
    assert!(error.contains("no column `timestamp`, found time, value"), "{error}");
    assert!(broker.received().is_empty());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let good = config(&folder, &broker);
    let wrong = [
        ReplayConfig { device: "a/b".into(), ..good.clone() },
        ReplayConfig { metric: "seq".into(), ..good.clone() },
        ReplayConfig { metric: String::new(), ..good.clone() },
        ReplayConfig { unit: "x".repeat(33), ..good.clone() },
        ReplayConfig { site: "#".into(), ..good.clone() },
        ReplayConfig { readings_per_message: 0, ..good.clone() },
        ReplayConfig { readings_per_message: 10_001, ..good.clone() },
        ReplayConfig { in_flight: 0, ..good.clone() },
        ReplayConfig { speed: Speed::Factor(0.0), ..good.clone() },
        ReplayConfig { file: "nowhere.csv".into(), ..good.clone() },
    ];
    for config in wrong {
        assert!(replay(config.clone()).await.is_err(), "{config:?}");
    }
    assert_eq!("max".parse(), Ok(Speed::Max));
    assert_eq!("60".parse(), Ok(Speed::Factor(60.0)));
    for text in ["", "fast", "0", "-1", "inf", "NaN"] {
        assert!(text.parse::<Speed>().is_err(), "{text}");
    }
}
