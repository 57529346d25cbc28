//! Messages that are traced: their spans, and their contexts in records.

use std::sync::Arc;

use ingest::{Ingest, IngestMetrics};
use prometheus::Registry;
use streams::log::{EmbeddedLog, LogConfig, LogMetrics};
use streams::{AppendError, Partition, StreamName, StreamSpec, Streams};
use telemetry::clock::SystemClock;
use telemetry::trace::{AttributeValue, Context, RowContext, SpanKind, Tracing, trace_of};
use telemetry::{Identity, Timestamp, partition};

use crate::door::{Door, config};
use crate::gate::{Gate, PARTITIONS};
use crate::kept::{Kept, TRACEPARENT, attribute, contexts};
use crate::raw::{BOTH, Raw, Version, pack, puback, publish, user_property};

const TOPIC: &str = "hall/pump/telemetry";

/// Message 1 of `pump`, as a part of a trace where the version has properties.
fn traced(version: Version, qos: u8) -> Vec<u8> {
    let property = if version == Version::V5 { user_property("traceparent", TRACEPARENT) } else { Vec::new() };
    publish(version, TOPIC, qos, u16::from(qos), &property, &pack(1))
}

/// A door over an embedded log.
async fn over_a_log(dir: &std::path::Path, tracing: Tracing) -> (Ingest, Arc<EmbeddedLog>) {
    let (clock, registry) = (SystemClock::shared(), Registry::new());
    let specs = vec![
        StreamSpec { name: StreamName::readings(), partitions: PARTITIONS },
        StreamSpec { name: StreamName::dead_letters(), partitions: 1 },
    ];
    let settings = LogConfig { dir: dir.to_owned(), ..LogConfig::default() };
    let metrics = LogMetrics::register(&registry).unwrap();
    let log = EmbeddedLog::open(settings, specs, clock.clone(), tracing.clone(), metrics).unwrap();
    let metrics = IngestMetrics::register(&registry).unwrap();
    (Ingest::start(config(), log.clone(), clock, tracing, metrics).await.unwrap(), log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_publish_to_the_disk_and_the_record() {
    for (version, share) in [(Version::V5, 0.0), (Version::V3, 1.0)] {
        let (dir, (kept, tracing)) = (tempfile::tempdir().unwrap(), Kept::new(share));
        let (ingest, log) = over_a_log(dir.path(), tracing).await;
        let mut client = Raw::connect(ingest.local_addr(), version, "c").await;
        client.send(&traced(version, 1)).await;
        client.expect(&puback(1)).await;
        let receive = kept.named("receive", 1).await.remove(0);
        let append = kept.named("append", 1).await.remove(0);
        let commit = kept.named("commit", 1).await.remove(0);

        let device = Context::parse(TRACEPARENT).filter(|_| version == Version::V5);
        let own = trace_of("pump", Some(Identity { boot: 1, seq: 1 }), Timestamp::from_micros(0));
        assert_eq!(receive.context.trace, device.map_or(own, |device| device.trace));
        assert_eq!((receive.parent, receive.kind), (device.map(|device| device.span), SpanKind::Consumer));
        assert_eq!((append.parent, append.kind, &*append.links), (None, SpanKind::Producer, &[receive.context][..]));
        assert_eq!((commit.parent, commit.context.trace), (Some(append.context.span), append.context.trace));
        assert_ne!(append.context.trace, receive.context.trace);
        let times = [receive.start, append.start, commit.start, commit.end, append.end, receive.end];
        assert!(times.is_sorted(), "each within the one before: {times:?}");
        let expected = vec![vec![RowContext { row: 0, context: receive.context }]];
        assert_eq!(contexts(&*log, StreamName::readings()).await, expected);

        let text = |text: &str| Some(AttributeValue::from(text));
        assert_eq!(attribute(&receive, "messaging.system"), text("mqtt"));
        assert_eq!(attribute(&receive, "messaging.destination.name"), text(TOPIC));
        assert_eq!(attribute(&receive, "weir.device"), text("pump"));
        assert_eq!(attribute(&receive, "weir.seq"), Some(1.into()));
        assert_eq!(attribute(&append, "messaging.destination.name"), text("readings"));
        let index = partition::of_device("pump", PARTITIONS);
        assert_eq!(attribute(&append, "messaging.destination.partition.id"), text(&index.to_string()));
        assert_eq!(attribute(&append, "messaging.batch.message_count"), Some(1.into()));
        assert_eq!(
            (attribute(&append, "weir.partitions"), attribute(&append, "weir.offset")),
            (Some(1.into()), Some(0.into()))
        );
        assert_eq!(attribute(&append, "weir.attempt"), None);
        ingest.stop().await.unwrap();
        assert_eq!(kept.count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn off_a_record_has_nothing_of_a_trace() {
    let door = Door::open().await;
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.send(&traced(Version::V5, 1)).await;
    client.expect(&puback(1)).await;
    assert_eq!(contexts(&*door.gate, StreamName::readings()).await, [vec![]]);
    let from = Partition::new(StreamName::readings(), partition::of_device("pump", PARTITIONS));
    let record = door.gate.read(&from, 0, 1).await.unwrap().records.remove(0);
    assert_eq!(record.payload[..8], *b"WR\x01\0\0\0\0\0", "the header of programs that know no contexts");
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_traceparent_is_ignored_and_its_message_stored() {
    let (kept, tracing) = Kept::new(0.0);
    let door = Door::traced(Gate::open(), tracing).await;
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    let property = |value: &str| user_property("traceparent", value);
    let hostile = [
        property(&format!("{TRACEPARENT}{}", "0".repeat(10 * 1024))),
        property(""),
        property("00"),
        property(&TRACEPARENT.to_uppercase()),
        property(&TRACEPARENT.replace("-01", "-00")),
        property(&TRACEPARENT.replace('4', "é")),
        [property(TRACEPARENT), property(TRACEPARENT)].concat(),
        [property(TRACEPARENT), property("")].concat(),
        user_property("Traceparent", TRACEPARENT),
    ];
    for (id, properties) in (1..).zip(&hostile) {
        client.send(&publish(Version::V5, TOPIC, 1, id, properties, &pack(i64::from(id)))).await;
        client.expect(&puback(id)).await;
    }
    door.ingest.stop().await.unwrap();
    assert_eq!(door_rows(&door.gate).await, hostile.len());
    assert!(contexts(&*door.gate, StreamName::readings()).await.iter().all(Vec::is_empty));
    assert_eq!((kept.count(), kept.left_out()), (0, 0));
}

/// Rows of readings.
async fn door_rows(gate: &Gate) -> usize {
    let mut rows = 0;
    for index in 0..PARTITIONS {
        let read = gate.read(&Partition::new(StreamName::readings(), index), 0, usize::MAX).await.unwrap();
        rows += read.records.iter().map(|record| record.rows as usize).sum::<usize>();
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_so_many_contexts_and_no_more() {
    const MESSAGES: u16 = 100;
    let (kept, tracing) = Kept::new(1.0);
    let door = Door::traced(Gate::closed(), tracing).await;
    let mut client = Raw::connect(door.address(), Version::V3, "c").await;
    // Two groups are under way, so that all others wait together.
    for id in [1, 2] {
        client.publish(TOPIC, 1, id, &pack(i64::from(id))).await;
        door.gate.submitted(usize::from(id)).await;
    }
    let burst = (3..3 + MESSAGES).flat_map(|id| publish(Version::V3, TOPIC, 1, id, &[], &pack(i64::from(id))));
    client.send(&burst.collect::<Vec<u8>>()).await;
    door.metric_becomes("weir_ingest_unacknowledged_messages", f64::from(MESSAGES + 2)).await;
    door.gate.let_through(true);
    for id in 1..3 + MESSAGES {
        client.expect(&puback(id)).await;
    }
    let appends = kept.named("append", 3).await;
    assert_eq!(appends.iter().map(|append| append.links.len()).collect::<Vec<_>>(), [1, 1, 64]);
    assert_eq!(attribute(&appends[2], "messaging.batch.message_count"), Some(i64::from(MESSAGES).into()));
    let records = contexts(&*door.gate, StreamName::readings()).await;
    assert_eq!(records.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 64]);
    assert!(records[2].iter().map(|context| context.row).eq(0..64), "one row each");
    assert_eq!(records[2].iter().map(|row| row.context).collect::<Vec<_>>(), appends[2].links);
    assert_eq!(door.rows().await.len(), usize::from(MESSAGES) + 2);
    assert_eq!(kept.left_out(), usize::from(MESSAGES) - 64);
    assert_eq!(kept.named("receive", 66).await.len(), 66, "what is left out has no span either");
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_received_until_its_acknowledgement_or_its_connection_ends() {
    for version in BOTH {
        let (kept, tracing) = Kept::new(1.0);
        let door = Door::traced(Gate::closed(), tracing).await;
        let mut client = Raw::connect(door.address(), version, "c").await;
        client.send(&traced(version, 1)).await;
        door.gate.submitted(1).await;
        client.expect_silence().await;
        assert_eq!(kept.count(), 0);
        drop(client);
        let why = kept.named("receive", 1).await.remove(0).error;
        assert_eq!(why.as_deref(), Some("the connection ended before the acknowledgement"));
        door.gate.let_through(true);
        assert_eq!(kept.named("append", 1).await[0].error, None, "it is durable all the same");

        let mut client = Raw::connect(door.address(), version, "c").await;
        client.send(&traced(version, 2)).await;
        client.expect(&[0x50, 2, 0, 2]).await;
        // Sent again, it is answered and not received.
        client.send(&traced(version, 2)).await;
        client.expect(&[0x50, 2, 0, 2]).await;
        assert_eq!(kept.named("receive", 2).await[1].error, None);
        assert_eq!(kept.named("append", 2).await.len(), 2);
        assert_eq!(kept.count(), 4);
        door.ingest.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_waits_for_is_received_until_it_is_durable() {
    let (kept, tracing) = Kept::new(0.0);
    let door = Door::traced(Gate::closed(), tracing).await;
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.send(&traced(Version::V5, 0)).await;
    door.gate.submitted(1).await;
    client.expect_silence().await;
    assert_eq!(kept.count(), 0);
    door.gate.let_through(true);
    let receive = kept.named("receive", 1).await.remove(0);
    assert_eq!((receive.error, receive.parent), (None, Context::parse(TRACEPARENT).map(|device| device.span)));
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_finds_no_room_has_one_span_for_all_attempts() {
    let (kept, tracing) = Kept::new(1.0);
    let door = Door::traced(Gate::open(), tracing).await;
    door.gate.refuse(Some(AppendError::Full { used: 11, quota: 10 }));
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.send(&traced(Version::V5, 1)).await;
    door.gate.submitted(3).await;
    assert_eq!(kept.count(), 0);
    door.gate.refuse(None);
    client.expect(&puback(1)).await;
    let append = kept.named("append", 1).await.remove(0);
    assert!(matches!(attribute(&append, "weir.attempt"), Some(AttributeValue::Integer(4..))), "{append:?}");
    assert_eq!((append.error, append.links.len()), (None, 1));
    assert_eq!(kept.named("receive", 1).await[0].context, append.links[0]);
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_durable_says_why() {
    let (kept, tracing) = Kept::new(1.0);
    let door = Door::traced(Gate::open(), tracing).await;
    door.gate.refuse(Some(AppendError::Failed("no such disk".to_owned())));
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    client.send(&traced(Version::V5, 0)).await;
    client.expect_closed(0x83).await;
    for name in ["append", "receive"] {
        let why = kept.named(name, 1).await.remove(0).error.unwrap();
        assert!(why.contains("no such disk"), "{name}: {why}");
    }
    assert!(door.ingest.stop().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_traced_into_the_dead_letters() {
    let (kept, tracing) = Kept::new(0.0);
    let door = Door::traced(Gate::open(), tracing).await;
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    let properties =
        [user_property("traceparent", TRACEPARENT), user_property("boot", "4"), user_property("seq", "44")].concat();
    // A character of two bytes is where the topic is cut.
    let topic = format!("{}é/x", "a".repeat(1023));
    client.send(&publish(Version::V5, &topic, 1, 1, &properties, b"no reading")).await;
    client.expect(&puback(1)).await;
    let receive = kept.named("receive", 1).await.remove(0);
    assert_eq!(receive.error.as_deref(), Some(&*door.letters().await[0].reason));
    assert_eq!((attribute(&receive, "weir.device"), attribute(&receive, "weir.seq")), (None, Some(44.into())));
    assert_eq!(attribute(&receive, "messaging.destination.name"), Some("a".repeat(1023).into()));
    let context = receive.context;
    assert_eq!(contexts(&*door.gate, StreamName::dead_letters()).await, [vec![RowContext { row: 0, context }]]);
    let append = kept.named("append", 1).await.remove(0);
    assert_eq!(append.links, [context]);
    assert_eq!(attribute(&append, "messaging.destination.name"), Some("dead_letters".into()));
    door.ingest.stop().await.unwrap();
}
