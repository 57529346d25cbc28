use bytes::{BufMut, Bytes, BytesMut};
use prometheus::Registry;
use telemetry::Timestamp;
use telemetry::clock::SystemClock;

use super::*;
use crate::contract::StreamName;
use crate::fluvio::{FluvioConfig, FluvioMetrics};

fn sieve(next: u64) -> Sieve {
    let config = FluvioConfig {
        endpoint: "127.0.0.1:1".to_owned(),
        topic_prefix: "weir-".to_owned(),
        replication: 1,
        retention: std::time::Duration::from_secs(3600),
        timeout: std::time::Duration::from_secs(1),
        lease: std::time::Duration::from_secs(2),
        owner: "test".to_owned(),
        record_bytes: 1024,
        queue_bytes: 1024,
        tls: None,
    };
    let metrics = FluvioMetrics::register(&Registry::new()).unwrap();
    let cluster = Arc::new(Cluster::new(&config, SystemClock::shared(), metrics).unwrap());
    let partition = Partition::new(StreamName::readings(), 0);
    Sieve::new(partition, ("weir-readings".into(), 0), cluster, next)
}

fn slot(offset: u64, kind: Kind, writer: u64, sequence: u64) -> Slot {
    let mut value = BytesMut::new();
    let envelope = Envelope { kind, writer, sequence, rows: 1, appended_at: Timestamp::from_micros(7) };
    envelope.put(format!("{writer}/{sequence}").as_bytes(), &mut value);
    Slot { offset, value: Some(value.freeze()) }
}

fn pass(sieve: &mut Sieve, base: u64, slots: Vec<Slot>) -> Read {
    let mut read = Read { next: sieve.next, ..Read::default() };
    slots.into_iter().for_each(|slot| sieve.pass(slot, base, &mut read));
    read.next = sieve.next;
    read
}

fn found(read: &Read) -> Vec<(u64, &str)> {
    read.records.iter().map(|record| (record.offset, std::str::from_utf8(&record.payload).unwrap())).collect()
}

#[test]
fn copies_and_damage_leave_gaps_that_are_counted() {
    let mut sieve = sieve(0);
    let mut slots: Vec<_> = [(1, 0), (1, 1), (2, 0), (1, 1), (2, 0), (2, 1)]
        .into_iter()
        .zip(0..)
        .map(|((writer, sequence), offset)| slot(offset, Kind::Record, writer, sequence))
        .collect();
    slots.push(Slot { offset: 6, value: None });
    slots.push(Slot { offset: 7, value: Some(Bytes::from_static(b"written by somebody else")) });
    slots.push(slot(8, Kind::Record, 1, 2));
    let read = pass(&mut sieve, 0, slots);
    assert_eq!(found(&read), [(0, "1/0"), (1, "1/1"), (2, "2/0"), (5, "2/1"), (8, "1/2")]);
    assert_eq!((read.next, read.lost), (9, 2));
    let metrics = &sieve.cluster.metrics;
    assert_eq!(metrics.copies.with_label_values(&["weir-readings"]).get(), 2);
    assert_eq!(metrics.damaged.with_label_values(&["weir-readings"]).get(), 2);
}

#[test]
fn what_is_before_the_place_only_teaches() {
    let mut sieve = sieve(2);
    let slots = [(1, 0), (1, 1), (1, 0), (1, 2)];
    let slots =
        slots.into_iter().zip(0..).map(|((writer, sequence), offset)| slot(offset, Kind::Record, writer, sequence));
    let read = pass(&mut sieve, 0, slots.collect());
    assert_eq!(found(&read), [(3, "1/2")], "the copy at offset 2 is recognised by its original at 0");
    assert_eq!((read.next, read.lost), (4, 0));
}

#[test]
fn what_says_nothing_takes_an_offset_but_is_no_record() {
    let nothing = |offset| slot(offset, Kind::Nothing, 0, 0);
    let mut sieve = self::sieve(0);
    let read = pass(&mut sieve, 0, vec![nothing(0), slot(1, Kind::Record, 1, 0), nothing(2), nothing(3)]);
    assert_eq!((found(&read), read.next, read.lost), (vec![(1, "1/0")], 4, 0));

    let mut moved = self::sieve(50);
    let read = pass(&mut moved, 50, vec![slot(0, Kind::Moved, 9, 50), nothing(1), slot(2, Kind::Moved, 9, 51)]);
    assert_eq!((found(&read), read.next, read.lost), (vec![(50, "9/50"), (51, "9/51")], 52, 0));
}

#[test]
fn records_that_are_missing_are_counted() {
    let mut sieve = sieve(0);
    pass(&mut sieve, 0, vec![slot(0, Kind::Record, 1, 0), slot(1, Kind::Record, 1, 3)]);
    assert_eq!(sieve.cluster.metrics.missing.with_label_values(&["weir-readings"]).get(), 2);
}

#[test]
fn moved_records_keep_their_offsets_though_copies_shift_them() {
    let mut sieve = sieve(50);
    let slots = vec![
        slot(0, Kind::Moved, 9, 50),
        slot(1, Kind::Moved, 9, 51),
        slot(2, Kind::Moved, 9, 50),
        slot(3, Kind::Moved, 9, 51),
        slot(4, Kind::Lost, 9, 52),
        slot(5, Kind::Moved, 9, 53),
    ];
    let read = pass(&mut sieve, 50, slots.clone());
    assert_eq!(found(&read), [(50, "9/50"), (51, "9/51"), (53, "9/53")]);
    assert_eq!((read.next, read.lost), (54, 1));
    let read = pass(&mut sieve, 50, vec![slot(6, Kind::Record, 1, 0)]);
    assert_eq!((found(&read), read.next), (vec![(56, "1/0")], 57), "what is appended afterwards comes behind them");

    let mut from_the_middle = self::sieve(53);
    assert_eq!(found(&pass(&mut from_the_middle, 50, slots)), [(53, "9/53")]);
}

#[test]
fn looking_back_is_bounded_by_bytes() {
    let sample = |len: usize| -> Vec<Slot> {
        (0..10)
            .map(|offset| {
                let mut value = BytesMut::new();
                value.put_bytes(0, len);
                Slot { offset, value: Some(value.freeze()) }
            })
            .collect()
    };
    assert_eq!(look_back(&sample(100)), LOOK_BACK);
    assert_eq!(look_back(&sample(64 * 1024)), 256);
    assert_eq!(look_back(&sample(4 * 1024 * 1024)), LOOK_BACK_LEAST);
    assert_eq!(look_back(&[]), LOOK_BACK);
}
