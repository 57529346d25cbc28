//! What a commit tells of the traced messages in it.

use std::sync::{Arc, Mutex};

use streams::consume::{Delivered, Effect};
use telemetry::clock::Clock;
use telemetry::trace::{
    AttributeValue, Context, MOST_CONTEXTS, RowContext, Span, SpanId, SpanKind, Spans, TraceId, Tracing,
};

use super::support::{ALL, Fixture, START, batch, delivered, passed, row};
use crate::{TableSink, TableSpec};

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Span>>);

impl Spans for Kept {
    fn take(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }

    fn contexts_left_out(&self, _count: usize) {}
}

impl Kept {
    fn spans(&self) -> Vec<Span> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn open(fixture: &Fixture, kept: &Arc<Kept>) -> TableSink {
    let (clock, tracing): (Arc<dyn Clock>, _) = (fixture.clock.clone(), Tracing::new(kept.clone(), 0.0));
    TableSink::open(&fixture.config, TableSpec::readings(), &ALL, clock, tracing, &fixture.metrics).unwrap()
}

fn context(number: u64) -> Context {
    Context { trace: TraceId(u128::from(number)), span: SpanId(number) }
}

/// A record of one row with these contexts.
fn traced(partition: u32, offset: u64, numbers: impl IntoIterator<Item = u64>) -> Delivered {
    let seq = i64::try_from(offset).unwrap();
    let contexts = numbers.into_iter().map(|number| RowContext { row: 0, context: context(number) }).collect();
    Delivered { contexts, ..delivered(partition, offset, batch(&[row("a", START, seq)])) }
}

fn said(span: &Span, name: &str) -> Option<AttributeValue> {
    span.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
}

#[tokio::test]
async fn a_commit_is_linked_to_what_is_in_it_and_has_its_steps() {
    let (fixture, kept) = (Fixture::new(), Arc::new(Kept::default()));
    let mut sink = open(&fixture, &kept);
    sink.apply(traced(0, 0, [1])).await.unwrap();
    sink.apply(traced(1, 0, [])).await.unwrap();
    // Two alerts on one message are one link.
    sink.apply(traced(1, 1, [2, 2, 1])).await.unwrap();
    sink.flush(&passed(&[(0, 1), (1, 2)])).await.unwrap();
    let spans = kept.spans();
    let [stage, place, record, commit] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!([stage.name, place.name, record.name, commit.name], ["stage", "place", "record", "table commit"]);
    assert_eq!((commit.kind, commit.parent), (SpanKind::Consumer, None));
    assert_eq!(commit.links, [context(1), context(2)]);
    for step in [stage, place, record] {
        assert_eq!((step.context.trace, step.parent), (commit.context.trace, Some(commit.context.span)));
        assert!(commit.start <= step.start && step.start <= step.end && step.end <= commit.end);
    }
    let version = fixture.table().version();
    assert_eq!(said(commit, "weir.table"), Some("readings".into()));
    assert_eq!(said(commit, "weir.version"), Some(i64::try_from(version).unwrap().into()));
    assert_eq!((said(commit, "weir.rows"), said(commit, "weir.files")), (Some(3.into()), Some(2.into())));
    // What was in that commit is not in the next.
    sink.apply(traced(0, 1, [])).await.unwrap();
    sink.flush(&passed(&[(0, 2), (1, 2)])).await.unwrap();
    assert_eq!(kept.spans(), []);
    sink.apply(traced(0, 2, [3])).await.unwrap();
    sink.flush(&passed(&[(0, 3), (1, 2)])).await.unwrap();
    assert_eq!(kept.spans()[3].links, [context(3)]);
}

#[tokio::test]
async fn a_record_that_a_restart_reads_again_is_linked_again() {
    let (fixture, kept) = (Fixture::new(), Arc::new(Kept::default()));
    let mut sink = open(&fixture, &kept);
    sink.apply(traced(0, 0, [1])).await.unwrap();
    drop(sink);
    assert_eq!(kept.spans(), []);
    let mut sink = open(&fixture, &kept);
    sink.apply(traced(0, 0, [1])).await.unwrap();
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    assert_eq!(kept.spans()[3].links, [context(1)]);
}

#[tokio::test]
async fn links_are_bounded() {
    let (fixture, kept) = (Fixture::new(), Arc::new(Kept::default()));
    let mut sink = open(&fixture, &kept);
    for offset in 0..100 {
        sink.apply(traced(0, offset, [2 * offset + 1, 2 * offset + 2])).await.unwrap();
    }
    sink.flush(&passed(&[(0, 100)])).await.unwrap();
    let expected: Vec<Context> = (1..).take(MOST_CONTEXTS).map(context).collect();
    assert_eq!(kept.spans()[3].links, expected);
}

#[tokio::test]
async fn a_commit_that_fails_says_so_and_which_step_it_was() {
    let (fixture, kept) = (Fixture::new(), Arc::new(Kept::default()));
    let mut sink = open(&fixture, &kept);
    sink.apply(traced(0, 0, [1])).await.unwrap();
    // A file is where the folder of the day is to be.
    let day = fixture.table_dir().join("date=2026-07-28");
    std::fs::write(&day, b"").unwrap();
    let error = sink.flush(&passed(&[(0, 1)])).await.unwrap_err().to_string();
    let spans = kept.spans();
    let [stage, place, commit] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((stage.name, &stage.error, place.name, commit.name), ("stage", &None, "place", "table commit"));
    assert!(error.contains(commit.error.as_ref().unwrap()), "{error}");
    assert_eq!(place.error, commit.error);
    assert_eq!((said(commit, "weir.version"), commit.links.clone()), (None, vec![context(1)]));
}

#[tokio::test]
async fn off_contexts_are_passed_over() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    sink.apply(traced(0, 0, [1])).await.unwrap();
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    assert_eq!(fixture.table().position("readings", 0), Some(1));
}
