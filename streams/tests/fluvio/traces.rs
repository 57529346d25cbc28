//! What a trace says of an append to a cluster.

use std::sync::Mutex;

use telemetry::trace::{AttributeValue, Context, Span, SpanId, Spans, TraceId};

use super::*;

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Span>>);

impl Spans for Kept {
    fn take(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }

    fn contexts_left_out(&self, _count: usize) {}
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn a_traced_group_has_a_commit_in_each_of_its_partitions() {
    let kept = Arc::new(Kept::default());
    let (streams, _) = process_traced(&cluster(), readings(2), Tracing::new(kept.clone(), 0.0)).await;
    let context = Context { trace: TraceId(7), span: SpanId(9) };
    let traced = |to| Append { trace: Some(context), ..append(&partition(to), "x") };
    let group = vec![traced(0), traced(0), traced(1)];
    assert_eq!(streams.submit(group).await.unwrap().await, Ok(vec![0, 1, 0]));
    assert_eq!(streams.submit(vec![append(&partition(0), "y")]).await.unwrap().await, Ok(vec![2]));
    // A span is handed over before its ticket resolves.
    let spans = kept.0.lock().unwrap().clone();
    let mut partitions = Vec::new();
    for span in &spans {
        assert_eq!((span.name, span.context.trace, span.parent), ("commit", TraceId(7), Some(SpanId(9))));
        let of = |name| span.attributes.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
        assert_eq!(of("messaging.destination.name"), Some("readings".into()));
        partitions.extend(of("messaging.destination.partition.id"));
    }
    // Two records for one partition may go in two flights.
    partitions.sort_by_key(|partition| format!("{partition:?}"));
    partitions.dedup();
    assert_eq!(partitions, [AttributeValue::from("0"), AttributeValue::from("1")]);
    streams.delete_topics().await.unwrap();
}
