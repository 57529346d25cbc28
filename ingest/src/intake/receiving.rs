//! A message that is traced, on its way to its acknowledgement: its span `receive`.

use telemetry::trace::{Context, Received, Span, SpanKind, Tracing};
use telemetry::{Identity, Message, Reason, Timestamp};

use super::{Incoming, Intake, Shared};

/// From the receipt of a message until its acknowledgement was handed to its connection. Of one that nobody waits for,
/// until it is durable.
const RECEIVE: &str = "receive";
/// Bytes of a topic that a span shows. MQTT allows 65,535, and what is refused was checked by nobody.
const TOPIC_BYTES: usize = 1024;

/// A span `receive` that has not ended.
#[derive(Debug)]
pub(crate) struct Receiving(Box<Span>);

impl Receiving {
    /// The span of a message that was admitted, if it is traced.
    pub(super) fn admitted(
        tracing: &Tracing,
        incoming: &Incoming<'_>,
        message: &Message<'_>,
        received_at: Timestamp,
        now: Timestamp,
    ) -> Option<Self> {
        let received = tracing.receive(&message.device_id, message.identity, received_at, incoming.traceparent)?;
        let span = begin(incoming, received, now).with("weir.device", &*message.device_id);
        Some(Self(Box::new(identified(span, message.identity))))
    }

    /// The span of a message that goes to the dead letters because of `reason`, if it is traced. It has no device:
    /// whether it is sampled depends on who sent it.
    pub(super) fn refused(
        tracing: &Tracing,
        incoming: &Incoming<'_>,
        reason: Reason,
        received_at: Timestamp,
        now: Timestamp,
    ) -> Option<Self> {
        let received = tracing.receive(incoming.client_id, incoming.identity, received_at, incoming.traceparent)?;
        let mut span = identified(begin(incoming, received, now), incoming.identity);
        span.error = Some(reason.as_str().to_owned());
        Some(Self(Box::new(span)))
    }

    pub(super) fn context(&self) -> Context {
        self.0.context
    }

    fn end(mut self, tracing: &Tracing, now: Timestamp, error: Option<&str>) {
        // The clock may have been set back.
        self.0.end = now.max(self.0.start);
        if let Some(error) = error {
            self.0.error.get_or_insert_with(|| error.to_owned());
        }
        tracing.ended(*self.0);
    }
}

fn begin(incoming: &Incoming<'_>, received: Received, now: Timestamp) -> Span {
    let topic = incoming.topic.get(..incoming.topic.floor_char_boundary(TOPIC_BYTES)).unwrap_or_default();
    Span::new(RECEIVE, SpanKind::Consumer, received.context, now, now)
        .within(received.parent)
        .with("messaging.system", "mqtt")
        .with("messaging.operation.type", "receive")
        .with("messaging.operation.name", RECEIVE)
        .with("messaging.destination.name", topic)
}

fn identified(span: Span, identity: Option<Identity>) -> Span {
    match identity {
        Some(Identity { boot, seq }) => span.with("weir.boot", boot).with("weir.seq", seq),
        None => span,
    }
}

impl Intake {
    /// Whether anything is traced: if not, nobody needs to look for what senders say of traces.
    pub(crate) fn is_traced(&self) -> bool {
        self.shared.tracing.is_on()
    }

    /// The acknowledgements of these messages were handed to their connection.
    pub(crate) fn acknowledged(&self, messages: Vec<Receiving>) {
        self.shared.end_received(messages, None);
    }

    /// The connection of these messages ended before their acknowledgements were handed to it.
    pub(crate) fn forgiven(&self, messages: Vec<Receiving>) {
        self.shared.end_received(messages, Some("the connection ended before the acknowledgement"));
    }
}

impl Shared {
    /// Ends the spans of `messages`; `error` is why they are not acknowledged.
    pub(super) fn end_received(&self, messages: Vec<Receiving>, error: Option<&str>) {
        if messages.is_empty() {
            return;
        }
        let now = self.clock.now();
        messages.into_iter().for_each(|message| message.end(&self.tracing, now, error));
    }
}
