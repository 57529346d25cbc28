//! Spans as they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use streams::{Partition, StreamName, Streams};
use telemetry::ipc;
use telemetry::trace::{AttributeValue, RowContext, Span, Spans, Tracing};
use tokio::sync::watch;

/// Longer than anything here takes: a span that does not come fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a device says that is part of a trace.
pub(crate) const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Debug, Default)]
pub(crate) struct Kept {
    spans: watch::Sender<Vec<Span>>,
    left_out: AtomicUsize,
}

impl Kept {
    /// A recorder, and tracing of this share of messages into it.
    pub(crate) fn new(share: f64) -> (Arc<Self>, Tracing) {
        let kept = Arc::new(Self::default());
        (kept.clone(), Tracing::new(kept, share))
    }

    /// Waits for `count` spans called `name`; all there are by then.
    pub(crate) async fn named(&self, name: &str, count: usize) -> Vec<Span> {
        let those = |all: &[Span]| all.iter().filter(|span| span.name == name).cloned().collect::<Vec<_>>();
        let mut changes = self.spans.subscribe();
        let reached = tokio::time::timeout(PATIENCE, changes.wait_for(|all| those(all).len() >= count)).await;
        those(&reached.unwrap_or_else(|_| panic!("there are no {count} spans `{name}`")).unwrap())
    }

    /// How many spans have ended.
    pub(crate) fn count(&self) -> usize {
        self.spans.borrow().len()
    }

    pub(crate) fn left_out(&self) -> usize {
        self.left_out.load(Ordering::SeqCst)
    }
}

impl Spans for Kept {
    fn take(&self, span: Span) {
        self.spans.send_modify(|spans| spans.push(span));
    }

    fn contexts_left_out(&self, count: usize) {
        self.left_out.fetch_add(count, Ordering::SeqCst);
    }
}

pub(crate) fn attribute(span: &Span, name: &str) -> Option<AttributeValue> {
    span.attributes.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone())
}

/// The contexts in each record of `stream`, partition by partition.
pub(crate) async fn contexts(streams: &dyn Streams, stream: StreamName) -> Vec<Vec<RowContext>> {
    let partitions = streams.specs().iter().find(|spec| spec.name == stream).unwrap().partitions;
    let mut all = Vec::new();
    for index in 0..partitions {
        let read = streams.read(&Partition::new(stream.clone(), index), 0, usize::MAX).await.unwrap();
        all.extend(read.records.iter().map(|record| ipc::contexts(&record.payload)));
    }
    all
}
