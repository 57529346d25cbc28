//! The suite every backend passes: what [`crate::contract`] promises, as cases that panic where it is broken.
//!
//! Public, not only for tests of this crate, because every backend runs it. Retention, quotas, locks and
//! damage are matters of a backend and tested there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use telemetry::trace::{Context, SpanId, TraceId};

use crate::contract::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, StreamName, StreamSpec, Streams,
    Ticket,
};

/// A case: its name, and what it does to streams fresh with [`specs`].
pub type Case = (&'static str, fn(Arc<dyn Streams>) -> BoxFuture<'static, ()>);

/// All cases.
pub const CASES: &[Case] = &[
    ("what is appended is read back", |streams| Box::pin(what_is_appended_is_read_back(streams))),
    ("a group spans partitions", |streams| Box::pin(a_group_spans_partitions(streams))),
    ("order is that of submission", |streams| Box::pin(order_is_that_of_submission(streams))),
    ("a dropped ticket still appends", |streams| Box::pin(a_dropped_ticket_still_appends(streams))),
    ("empty groups and payloads are allowed", |streams| Box::pin(empty_groups_and_payloads_are_allowed(streams))),
    ("reads are about as large as asked", |streams| Box::pin(reads_are_about_as_large_as_asked(streams))),
    ("reads past the end are refused", |streams| Box::pin(reads_past_the_end_are_refused(streams))),
    ("unknown partitions are refused", |streams| Box::pin(unknown_partitions_are_refused(streams))),
    ("a refused group leaves nothing", |streams| Box::pin(a_refused_group_leaves_nothing(streams))),
    ("a traced append is read like any other", |streams| Box::pin(a_traced_append_is_read_like_any_other(streams))),
    ("appends are announced", |streams| Box::pin(appends_are_announced(streams))),
    ("positions are kept by group", |streams| Box::pin(positions_are_kept_by_group(streams))),
    ("positions are committed together", |streams| Box::pin(positions_are_committed_together(streams))),
    ("groups are listed", |streams| Box::pin(groups_are_listed(streams))),
];

/// The streams a case needs: `readings` with 3 partitions and `alerts` with 1.
#[must_use]
pub fn specs() -> Vec<StreamSpec> {
    vec![
        StreamSpec { name: StreamName::readings(), partitions: 3 },
        StreamSpec { name: StreamName::alerts(), partitions: 1 },
    ]
}

/// Runs every case, each on streams of its own that `make` opens with [`specs`].
///
/// # Panics
/// Where the backend breaks the contract.
pub async fn run<S: Streams>(make: impl AsyncFn() -> Arc<S>) {
    for (name, case) in CASES {
        tracing::info!(case = name, "conformance");
        case(make().await).await;
    }
}

async fn what_is_appended_is_read_back(streams: Arc<dyn Streams>) {
    let payloads: Vec<Bytes> = (0..20_u8).map(|n| Bytes::from(vec![n; usize::from(n) * 7])).collect();
    for (offset, payload) in (0..).zip(&payloads) {
        let appended = append(&streams, vec![record(&readings(1), payload.clone())]).await;
        assert_eq!(appended, [offset], "offsets count the records of a partition");
    }
    assert_eq!(bounds(&streams, &readings(1)), 0..20, "all are durable once their tickets resolve");
    assert_eq!(bounds(&streams, &readings(0)), 0..0, "other partitions are untouched");
    let read = read(&streams, &readings(1), 0, usize::MAX).await;
    assert_eq!((read.next, read.lost), (20, 0));
    assert_eq!(read.records.iter().map(|record| record.payload.clone()).collect::<Vec<_>>(), payloads);
    assert!(read.records.iter().map(|record| record.offset).eq(0..20));
    assert!(read.records.iter().all(|record| record.rows == ROWS));
    let times: Vec<_> = read.records.iter().map(|record| record.appended_at).collect();
    let again = self::read(&streams, &readings(1), 0, usize::MAX).await;
    assert!(again.records.iter().map(|record| record.appended_at).eq(times), "a replay sees the same times");
}

async fn a_group_spans_partitions(streams: Arc<dyn Streams>) {
    let group = vec![
        record(&readings(2), "a"),
        record(&alerts(), "b"),
        record(&readings(2), "c"),
        record(&readings(0), "d"),
        record(&readings(2), "e"),
    ];
    assert_eq!(append(&streams, group).await, [0, 0, 1, 0, 2], "offsets come in the order of the group");
    assert_eq!(all(&streams, &readings(2)).await, ["a", "c", "e"]);
    assert_eq!(all(&streams, &readings(0)).await, ["d"]);
    assert_eq!(all(&streams, &alerts()).await, ["b"]);
}

async fn order_is_that_of_submission(streams: Arc<dyn Streams>) {
    let mut tickets = Vec::new();
    for n in 0..200 {
        tickets.push(submit(&streams, vec![record(&readings(0), n.to_string())]).await);
    }
    for (n, ticket) in (0..).zip(tickets) {
        assert_eq!(durable(ticket).await, [n]);
    }
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(all(&streams, &readings(0)).await, expected);
}

async fn a_dropped_ticket_still_appends(streams: Arc<dyn Streams>) {
    drop(submit(&streams, vec![record(&readings(0), "first")]).await);
    assert_eq!(append(&streams, vec![record(&readings(0), "second")]).await, [1]);
    assert_eq!(all(&streams, &readings(0)).await, ["first", "second"]);
}

async fn empty_groups_and_payloads_are_allowed(streams: Arc<dyn Streams>) {
    assert!(append(&streams, Vec::new()).await.is_empty());
    assert_eq!(append(&streams, vec![record(&alerts(), "")]).await, [0]);
    assert_eq!(all(&streams, &alerts()).await, [""]);
}

async fn reads_are_about_as_large_as_asked(streams: Arc<dyn Streams>) {
    let group = (0..100).map(|_| record(&readings(0), vec![7; 1000])).collect();
    append(&streams, group).await;
    assert_eq!(read(&streams, &readings(0), 0, 0).await.records.len(), 1, "at least one");
    let some = read(&streams, &readings(0), 10, 10_000).await;
    assert!((5..=20).contains(&some.records.len()), "about 10,000 bytes, not {} records", some.records.len());
    assert_eq!(some.next, 10 + u64::try_from(some.records.len()).unwrap_or(0));
    let mut offset = 0;
    while offset < 100 {
        let part = read(&streams, &readings(0), offset, 3_000).await;
        assert!(part.records.first().is_some_and(|record| record.offset == offset), "each read goes on");
        offset = part.next;
    }
    let end = read(&streams, &readings(0), 100, 1_000).await;
    assert_eq!(end, Read { records: Vec::new(), next: 100, lost: 0 }, "nothing at the end, and no waiting");
}

async fn reads_past_the_end_are_refused(streams: Arc<dyn Streams>) {
    append(&streams, vec![record(&readings(0), "x")]).await;
    let refused = streams.read(&readings(0), 2, 100).await;
    assert!(matches!(refused, Err(Error::OutOfRange { offset: 2, start: 0, end: 1, .. })), "{refused:?}");
}

async fn unknown_partitions_are_refused(streams: Arc<dyn Streams>) {
    let group: GroupName = "rules".into();
    let nowhere = StreamName::new("nowhere").map(|name| Partition::new(name, 0));
    for unknown in [Some(readings(3)), Some(Partition::new(StreamName::alerts(), 1)), nowhere].into_iter().flatten() {
        assert!(matches!(streams.bounds(&unknown), Err(Error::UnknownPartition(of)) if of == unknown));
        assert!(matches!(streams.read(&unknown, 0, 1).await, Err(Error::UnknownPartition(_))));
        assert!(matches!(streams.position(&group, &unknown).await, Err(Error::UnknownPartition(_))));
        let commit = streams.commit(&group, vec![(unknown.clone(), Position::default())]).await;
        assert!(matches!(commit, Err(Error::UnknownPartition(_))));
        let refused = streams.submit(vec![record(&unknown, "x")]).await;
        assert!(matches!(refused, Err(AppendError::Refused(_))));
    }
}

async fn a_refused_group_leaves_nothing(streams: Arc<dyn Streams>) {
    let refused = streams.submit(vec![record(&readings(0), "x"), record(&readings(9), "y")]).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))));
    assert_eq!(append(&streams, vec![record(&readings(0), "z")]).await, [0]);
    assert_eq!(all(&streams, &readings(0)).await, ["z"]);
}

async fn a_traced_append_is_read_like_any_other(streams: Arc<dyn Streams>) {
    let context = Context { trace: TraceId(7), span: SpanId(9) };
    let traced = Append { trace: Some(context), ..record(&readings(0), "x") };
    assert_eq!(append(&streams, vec![traced, record(&readings(0), "y")]).await, [0, 1]);
    assert_eq!(all(&streams, &readings(0)).await, ["x", "y"]);
}

async fn appends_are_announced(streams: Arc<dyn Streams>) {
    let mut appended = streams.appended();
    appended.borrow_and_update();
    append(&streams, vec![record(&alerts(), "x")]).await;
    let changed = tokio::time::timeout(PATIENCE, appended.changed()).await;
    assert!(matches!(changed, Ok(Ok(()))), "a receiver sees that records became durable");
    assert_eq!(bounds(&streams, &alerts()), 0..1);
}

async fn positions_are_kept_by_group(streams: Arc<dyn Streams>) {
    append(&streams, vec![record(&readings(0), "x"), record(&readings(0), "y")]).await;
    let (rules, sink): (GroupName, GroupName) = ("rules".into(), "sink/readings".into());
    assert_eq!(position(&streams, &rules, &readings(0)).await, None);
    let first = Position { offset: 1, state: Bytes::from_static(b"state of rules") };
    commit(&streams, &rules, vec![(readings(0), first.clone())]).await;
    commit(&streams, &rules, vec![(readings(0), first.clone())]).await;
    assert_eq!(position(&streams, &rules, &readings(0)).await, Some(first.clone()));
    assert_eq!(position(&streams, &sink, &readings(0)).await, None, "groups do not see each other's");
    assert_eq!(position(&streams, &rules, &readings(1)).await, None);
    let second = Position { offset: 2, state: Bytes::new() };
    commit(&streams, &sink, vec![(readings(0), second.clone())]).await;
    assert_eq!(position(&streams, &rules, &readings(0)).await, Some(first));
    assert_eq!(position(&streams, &sink, &readings(0)).await, Some(second));
}

async fn positions_are_committed_together(streams: Arc<dyn Streams>) {
    append(&streams, vec![record(&readings(0), "x"), record(&readings(1), "y")]).await;
    let group: GroupName = "rules".into();
    let one = Position { offset: 1, state: Bytes::from_static(b"1") };
    let past_the_end = Position { offset: 2, state: Bytes::new() };
    works("claim", streams.claim(&group, &[readings(0), readings(1)]).await);
    let refused = streams.commit(&group, vec![(readings(0), one.clone()), (readings(1), past_the_end)]).await;
    assert!(matches!(refused, Err(Error::OutOfRange { offset: 2, start: 0, end: 1, .. })), "{refused:?}");
    assert_eq!(position(&streams, &group, &readings(0)).await, None, "a refused commit changes nothing");
    commit(&streams, &group, vec![(readings(0), one.clone()), (readings(1), one.clone())]).await;
    commit(&streams, &group, Vec::new()).await;
    assert_eq!(position(&streams, &group, &readings(0)).await, Some(one.clone()));
    assert_eq!(position(&streams, &group, &readings(1)).await, Some(one));
}

async fn groups_are_listed(streams: Arc<dyn Streams>) {
    append(&streams, vec![record(&readings(0), "x"), record(&readings(1), "y")]).await;
    let none = works("groups", streams.groups().await);
    assert_eq!(none, [], "a claim or a record is no position");
    let (rules, sink): (GroupName, GroupName) = ("rules".into(), "sink/readings".into());
    let at = |offset| Position { offset, state: Bytes::new() };
    commit(&streams, &sink, vec![(readings(1), at(1)), (readings(0), at(0))]).await;
    commit(&streams, &rules, vec![(readings(0), at(1))]).await;
    let listed = |group: &GroupName, partition, offset| GroupPosition { group: group.clone(), partition, offset };
    let expected = [listed(&rules, readings(0), 1), listed(&sink, readings(0), 0), listed(&sink, readings(1), 1)];
    assert_eq!(works("groups", streams.groups().await), expected);
}

/// How long something that must happen may take before the case fails; far more than it ever needs.
const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: u32 = 3;

fn readings(index: u32) -> Partition {
    Partition::new(StreamName::readings(), index)
}

fn alerts() -> Partition {
    Partition::new(StreamName::alerts(), 0)
}

fn record(to: &Partition, payload: impl Into<Bytes>) -> Append {
    Append::new(to.clone(), ROWS, payload.into())
}

async fn submit(streams: &Arc<dyn Streams>, group: Vec<Append>) -> Ticket {
    works("submit", streams.submit(group).await)
}

async fn durable(ticket: Ticket) -> Vec<u64> {
    works("ticket", ticket.await)
}

async fn append(streams: &Arc<dyn Streams>, group: Vec<Append>) -> Vec<u64> {
    durable(submit(streams, group).await).await
}

async fn read(streams: &Arc<dyn Streams>, from: &Partition, offset: u64, max_bytes: usize) -> Read {
    works("read", streams.read(from, offset, max_bytes).await)
}

async fn all(streams: &Arc<dyn Streams>, of: &Partition) -> Vec<String> {
    let read = read(streams, of, 0, usize::MAX).await;
    read.records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

fn bounds(streams: &Arc<dyn Streams>, of: &Partition) -> std::ops::Range<u64> {
    works("bounds", streams.bounds(of))
}

async fn position(streams: &Arc<dyn Streams>, group: &GroupName, of: &Partition) -> Option<Position> {
    works("position", streams.position(group, of).await)
}

async fn commit(streams: &Arc<dyn Streams>, group: &GroupName, positions: Vec<(Partition, Position)>) {
    let partitions: Vec<_> = positions.iter().map(|(of, _)| of.clone()).collect();
    works("claim", streams.claim(group, &partitions).await);
    works("commit", streams.commit(group, positions).await);
}

fn works<T, E: std::fmt::Display>(what: &str, outcome: Result<T, E>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("{what} failed: {error}"),
    }
}
