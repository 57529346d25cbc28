//! Where the time of a commit goes, in nanoseconds a row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use streams::consume::{Effect, Passed};
use telemetry::batch::ReadingsBuilder;
use telemetry::clock::SystemClock;
use telemetry::{Clock, Identity, Message, Reading, Timestamp, Value};

use super::support::{ALL, Fixture, HOUR, PARTITIONS, START, delivered, passed};
use crate::arrange::arrange;
use crate::buffer::Buffer;
use crate::commit::Committer;
use crate::{TableSpec, file, recovery};

const DEVICES: usize = 1000;
const READINGS: usize = 10;
const MESSAGES_PER_RECORD: usize = 200;
const METRICS: [&str; READINGS] =
    ["temperature", "humidity", "pressure", "co2", "noise", "light", "voltage", "current", "rpm", "vibration"];

/// Records of packs of ten readings, as the door would append them.
fn buffer(rows: usize, hours: i64) -> Buffer {
    let mut buffer = Buffer::default();
    let messages = rows / READINGS;
    let (spec, mut noise) = (TableSpec::readings(), 1_u64);
    let mut offsets = [0_u64; PARTITIONS as usize];
    for record in 0..messages / MESSAGES_PER_RECORD {
        let partition = record % PARTITIONS as usize;
        let mut builder = ReadingsBuilder::default();
        for message in 0..MESSAGES_PER_RECORD {
            let index = record * MESSAGES_PER_RECORD + message;
            let device = format!("device-{:05}", (index * 7 + partition) % DEVICES);
            let spread = hours * HOUR / i64::try_from(messages).unwrap();
            let time = Timestamp::from_micros(START + i64::try_from(index).unwrap() * spread);
            let reading = |metric: &'static str| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let value = Value::Number(f64::from(u32::try_from(noise >> 40).unwrap()) / 1000.0);
                Reading { metric: metric.into(), time, value, unit: Some("Cel".into()) }
            };
            let message = Message {
                device_id: device.as_str().into(),
                site: Some("hall-1".into()),
                identity: Some(Identity { boot: 1, seq: i64::try_from(index).unwrap() }),
                readings: METRICS.map(reading).to_vec(),
                ignored_fields: 0,
            };
            builder.push(&message, time);
        }
        let batch = spec.project(&builder.finish()).unwrap();
        buffer.push(u32::try_from(partition).unwrap(), offsets[partition], batch, 0, Duration::ZERO).unwrap();
        offsets[partition] += 1;
    }
    buffer
}

fn per_row(clock: &dyn Clock, since: Duration, rows: usize) -> u128 {
    (clock.monotonic() - since).as_nanos() / rows as u128
}

#[test]
#[ignore = "measurement"]
fn nanoseconds_a_row() {
    let clock = SystemClock::shared();
    for (rows, hours) in [(1_000_000, 1), (100_000, 1), (100_000, 475)] {
        let fixture = Fixture::new();
        let spec = TableSpec::readings();
        let mut committer = recovery::open(&fixture.config, spec.clone(), &ALL, Arc::clone(&clock)).unwrap().committer;
        let partitions = buffer(rows, hours).take();
        let at = clock.monotonic();
        let arranged: Vec<_> = partitions.values().map(|rows| arrange(rows, &spec).unwrap()).collect();
        println!("{rows} rows over {hours} h: join and sort {} ns", per_row(&*clock, at, rows));
        let at = clock.monotonic();
        let hours_rows: Vec<_> = arranged
            .iter()
            .flat_map(|arranged| arranged.hours(&spec).map(Result::unwrap).collect::<Vec<_>>())
            .collect();
        println!("  gather {} ns", per_row(&*clock, at, rows));
        let at = clock.monotonic();
        for hour in &hours_rows {
            drop(file::encode(hour, &spec).unwrap());
        }
        println!("  encode {} ns, {} files", per_row(&*clock, at, rows), hours_rows.len());
        drop((arranged, hours_rows));
        let at = clock.monotonic();
        let staged = committer.stage(partitions).unwrap();
        println!("  stage, with fsync {} ns", per_row(&*clock, at, rows));
        let at = clock.monotonic();
        committer.place(&staged).unwrap();
        println!("  place {} ms", (clock.monotonic() - at).as_millis());
        let at = clock.monotonic();
        committer.record(&staged, &passed(&[(0, 1 << 40), (1, 1 << 40)])).unwrap();
        println!("  record {} ms", (clock.monotonic() - at).as_millis());
        let bytes: u64 = fixture.glob().iter().map(|path| path.metadata().unwrap().len()).sum();
        println!("  {} bytes for 100 rows", bytes * 100 / rows as u64);
        let at = clock.monotonic();
        drop(committer);
        drop(fixture.open());
        println!("  open {} ms", (clock.monotonic() - at).as_millis());
    }
}

#[tokio::test]
#[ignore = "measurement"]
async fn nanoseconds_a_row_to_apply() {
    let (clock, fixture, rows) = (SystemClock::shared(), Fixture::new(), 500_000);
    let mut sink = fixture.open();
    let batches: Vec<_> = buffer(rows, 1).take().into_iter().collect();
    let at = clock.monotonic();
    for (partition, rows) in batches {
        for (offset, batch) in (0..).zip(rows.batches) {
            sink.apply(delivered(partition, offset, batch)).await.unwrap();
        }
    }
    println!("apply {} ns a row", per_row(&*clock, at, rows));
    assert!(sink.wants_flush(Duration::from_secs(3600)));
}

/// What a commit costs alone, in a shared table, and for each commit of others before it.
#[test]
#[ignore = "measurement"]
fn microseconds_a_commit_in_a_shared_table() {
    const COMMITS: u64 = 1000;
    let clock = SystemClock::shared();
    let fixture = Fixture::shared();
    let (mut one, mut two) = (fixture.committer(&[0]), fixture.committer(&[1]));
    let commit = |committer: &mut Committer, partition, next| {
        let since = clock.monotonic();
        committer.commit(BTreeMap::new(), &[Passed { partition, next }]).unwrap();
        (clock.monotonic() - since).as_micros()
    };
    let alone: u128 = (1..=COMMITS).map(|next| commit(&mut one, 0, next)).sum();
    let behind = commit(&mut two, 1, 1);
    let in_turn: u128 = (1..=COMMITS).map(|n| commit(&mut one, 0, COMMITS + n) + commit(&mut two, 1, 1 + n)).sum();
    println!("undisturbed {} us a commit", alone / u128::from(COMMITS));
    println!("in turn with another {} us a commit", in_turn / u128::from(2 * COMMITS));
    println!("behind {COMMITS} commits of another {behind} us");
}
