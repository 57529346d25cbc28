use std::borrow::Cow;

use std::sync::Arc;

use telemetry::trace::{Span, Spans, Tracing};
use telemetry::{Reading, Reason, Value, ipc};

use super::*;
use crate::intake::Incoming;

#[derive(Debug)]
struct Deaf;

impl Spans for Deaf {
    fn take(&self, _span: Span) {}

    fn contexts_left_out(&self, _count: usize) {}
}

/// The span of a message of `pump-1`.
fn receiving(tracing: &Tracing) -> Receiving {
    let incoming = Incoming { topic: "t", payload: b"", identity: None, client_id: "c", traceparent: None };
    let now = Timestamp::from_micros(1);
    Receiving::admitted(tracing, &incoming, &message("a", 1), now, now).unwrap()
}

fn tracing() -> Tracing {
    Tracing::new(Arc::new(Deaf), 1.0)
}

fn message(text: &str, readings: usize) -> Message<'_> {
    let reading = Reading {
        metric: Cow::Borrowed("note"),
        time: Timestamp::from_micros(1),
        value: Value::Text(Cow::Borrowed(text)),
        unit: None,
    };
    Message {
        device_id: Cow::Borrowed("pump-1"),
        site: None,
        identity: None,
        readings: vec![reading; readings],
        ignored_fields: 2,
    }
}

fn letter_of(client_id: &str) -> DeadLetter<'_> {
    DeadLetter {
        received_at: Timestamp::from_micros(1),
        reason: Reason::Undecodable.as_str(),
        detail: "no format",
        topic: "t",
        client_id,
        payload: b"x",
        identity: None,
    }
}

#[test]
fn a_group_becomes_one_record_for_each_partition_used() {
    let mut group = Group::new(4);
    assert!(group.is_empty());
    group.push(&message("a", 3), 2, 100, Timestamp::from_micros(1));
    group.push(&message("b", 1), 0, 100, Timestamp::from_micros(1));
    group.push_dead_letter(&letter_of("c"));
    assert_eq!(group.tally, Tally { messages: 3, readings: 4, ignored_fields: 4 });
    assert!(group.bytes > 200);
    let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
    let places: Vec<_> = appends.iter().map(|append| (append.to.to_string(), append.rows)).collect();
    assert_eq!(places, [("readings/0".into(), 1), ("readings/2".into(), 3), ("dead_letters/0".into(), 1)]);
    assert_eq!(group.encoded, Encoded { messages: 2, readings: 4, dead_letters: 1 });
    assert!(group.is_empty() && group.bytes == 0);
    assert_eq!(group.encode(&mut Encoders::new().unwrap()).unwrap(), []);
}

#[test]
fn records_are_bounded_and_messages_stay_whole() {
    let text = "x".repeat(8 * 1024);
    let (readings, messages) = (100, 12);
    let mut group = Group::new(1);
    for _ in 0..messages {
        group.push(&message(&text, readings), 0, text.len() * readings, Timestamp::from_micros(1));
    }
    let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
    assert!(appends.len() > 1);
    let most = RECORD_BYTES + 2 * readings * text.len();
    assert!(appends.iter().all(|append| append.payload.len() <= most));
    assert!(appends.iter().all(|append| usize::try_from(append.rows).unwrap().is_multiple_of(readings)));
    let rows: u32 = appends.iter().map(|append| append.rows).sum();
    assert_eq!(usize::try_from(rows).unwrap(), readings * messages);
}

#[test]
fn each_record_has_the_contexts_of_its_own_messages() {
    let (text, readings, tracing) = ("x".repeat(8 * 1024), 100, tracing());
    let mut group = Group::new(1);
    let mut expected = Vec::new();
    for index in 0..12 {
        if index % 2 == 1 {
            let traced = group.trace(Some(0), receiving(&tracing)).unwrap();
            expected.push(traced.context());
        }
        group.push(&message(&text, readings), 0, text.len() * readings, Timestamp::from_micros(1));
    }
    let letter = group.trace(None, receiving(&tracing)).unwrap();
    group.push_dead_letter(&letter_of("c"));
    let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
    assert!(appends.len() > 2, "several records of readings");
    let mut found = Vec::new();
    let mut begins = 0;
    for append in &appends[..appends.len() - 1] {
        for RowContext { row, context } in ipc::contexts(&append.payload) {
            assert!(row < append.rows && (begins + row) / 100 % 2 == 1, "row {row} of {}", append.rows);
            found.push(context);
        }
        begins += append.rows;
    }
    assert_eq!(found, expected);
    let context = letter.context();
    assert_eq!(ipc::contexts(&appends.last().unwrap().payload), [RowContext { row: 0, context }]);
    expected.push(context);
    assert_eq!((std::mem::take(&mut group.traced), group.left_out), (expected, 0));

    group.push(&message("a", 1), 0, 1, Timestamp::from_micros(1));
    let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
    assert_eq!((ipc::contexts(&appends[0].payload), &*group.traced), (vec![], &[][..]), "nothing is left of it");
}

#[test]
fn a_record_without_traces_is_what_it_was() {
    let mut group = Group::new(1);
    let mut builder = ReadingsBuilder::default();
    for message in [message("a", 3), message("b", 1)] {
        group.push(&message, 0, 1, Timestamp::from_micros(1));
        builder.push(&message, Timestamp::from_micros(1));
    }
    let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
    let alone = Encoder::new(schema::readings_stream()).unwrap().encode(&builder.finish()).unwrap();
    assert_eq!((&appends[0].payload, appends[0].trace), (&alone, None));
}

#[test]
fn contexts_of_a_record_and_of_a_group_are_bounded() {
    let (tracing, partitions) = (tracing(), 64);
    let mut group = Group::new(partitions);
    for partition in 0..partitions {
        for _ in 0..MOST_CONTEXTS + 1 {
            drop(group.trace(Some(partition), receiving(&tracing)));
            group.push(&message("a", 1), partition, 1, Timestamp::from_micros(1));
        }
    }
    let pushed = 64 * (MOST_CONTEXTS + 1);
    assert_eq!(group.left_out, pushed - TRACED);
    assert!(group.trace(Some(partitions), receiving(&tracing)).is_none(), "no such partition");
    let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
    let contexts: Vec<usize> = appends.iter().map(|append| ipc::contexts(&append.payload).len()).collect();
    assert_eq!(contexts, [vec![MOST_CONTEXTS; 32], vec![0; 32]].concat());
    assert_eq!(group.traced.len(), MOST_CONTEXTS);
    assert!(group.trace(Some(63), receiving(&tracing)).is_some(), "the next group has room again");
}
