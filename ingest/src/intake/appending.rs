//! A group that is traced, on its way to durability: its span `append`.

use streams::{Append, Partition};
use telemetry::trace::{Context, Span, SpanKind, Tracing};
use telemetry::{Clock, Timestamp};

/// From the first time that a group is submitted until it is durable.
const APPEND: &str = "append";

/// A span `append` that has not ended. It is a root: a group has many parents, which it links to.
#[derive(Debug)]
pub(super) struct Appending {
    span: Span,
    /// Times that the group was submitted: more than one if there was no room.
    attempts: i64,
}

impl Appending {
    /// The span of the group of `appends` with so many messages, of which `traced` are, if there are some; `appends`
    /// name it. Boxed, because few groups have one.
    pub(super) fn new(
        tracing: &Tracing,
        traced: Vec<Context>,
        messages: u64,
        appends: &mut [Append],
        clock: &dyn Clock,
    ) -> Option<Box<Self>> {
        if traced.is_empty() {
            return None;
        }
        let (context, now) = (tracing.root()?, clock.now());
        appends.iter_mut().for_each(|append| append.trace = Some(context));
        let mut places: Vec<&Partition> = appends.iter().map(|append| &append.to).collect();
        // They come partition by partition.
        places.dedup();
        let mut span = Span::new(APPEND, SpanKind::Producer, context, now, now)
            .linked(traced)
            .with("messaging.system", "weir")
            .with("messaging.operation.type", "send")
            .with("messaging.operation.name", APPEND)
            .with("messaging.batch.message_count", i64::try_from(messages).unwrap_or(i64::MAX))
            .with("weir.partitions", i64::try_from(places.len()).unwrap_or(i64::MAX));
        if let Some((first, rest)) = places.split_first()
            && rest.iter().all(|place| place.stream == first.stream)
        {
            span = span.with("messaging.destination.name", first.stream.as_str());
        }
        if let [only] = *places {
            span = span.with("messaging.destination.partition.id", only.index.to_string());
        }
        Some(Box::new(Self { span, attempts: 0 }))
    }

    /// The group is submitted at `now`, perhaps again.
    pub(super) fn submitted(&mut self, now: Timestamp) {
        if self.attempts == 0 {
            self.span.start = now;
        }
        self.attempts += 1;
    }

    /// The group is durable at `now`, its records at `offsets`.
    pub(super) fn durable(&mut self, now: Timestamp, offsets: &[u64]) {
        self.span.end = now.max(self.span.start);
        if let [only] = offsets {
            self.span.attributes.push(("weir.offset", i64::try_from(*only).unwrap_or(i64::MAX).into()));
        }
    }

    /// The group is not durable, and will not be, because of `why`.
    pub(super) fn failed(&mut self, now: Timestamp, why: &str) {
        self.span.end = now.max(self.span.start);
        self.span.error = Some(why.to_owned());
    }

    /// Hands the span over.
    pub(super) fn report(mut self, tracing: &Tracing) {
        if self.attempts > 1 {
            self.span.attributes.push(("weir.attempt", self.attempts.into()));
        }
        tracing.ended(self.span);
    }
}
