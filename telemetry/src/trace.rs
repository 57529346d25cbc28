//! Traces of messages: W3C contexts, which messages have one, and the spans that stages report (docs/adr/0018).
//!
//! Off, [`Tracing`] is one comparison for each message. On, a message has a trace if its device says so, or if its
//! trace id is below the share that is sampled; the id is a hash of the message's identity, so that a resend and a
//! replay have the fate of the first copy. A stage makes a [`Span`] when what it spans has ended, from timestamps
//! that it took, and hands it over; who keeps or sends spans ([`Spans`]) must not block.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use twox_hash::{XxHash3_128, XxHash64};

use crate::Timestamp;
use crate::message::Identity;

/// Contexts that a record carries, and links of a span, at most.
pub const MOST_CONTEXTS: usize = 64;

/// Number of a trace, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub u128);

/// Number of a span in its trace, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A span of a trace that is sampled: what its children and links name. Displayed as W3C `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

impl Context {
    /// The context of a W3C `traceparent` whose flag `sampled` is set; `None` if it is not, or if the text is no
    /// `traceparent`. A later version is read as far as version 00 goes, as the recommendation asks.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let text = traceparent.as_bytes();
        let version = hex(text.get(0..2)?)?;
        let longer = text.len() > 55;
        if version == 0xff || (version == 0 && longer) || (longer && text.get(55) != Some(&b'-')) {
            return None;
        }
        if [2, 35, 52].iter().any(|dash| text.get(*dash) != Some(&b'-')) {
            return None;
        }
        let trace = hex(text.get(3..35)?)?;
        let span = u64::try_from(hex(text.get(36..52)?)?).ok()?;
        let sampled = hex(text.get(53..55)?)? & 1 == 1;
        (sampled && trace != 0 && span != 0).then_some(Self { trace: TraceId(trace), span: SpanId(span) })
    }
}

/// The number that lower-case hexadecimal digits write.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// The context of the message that begins at a row of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowContext {
    /// The message's first row in the record.
    pub row: u32,
    /// Its span `receive`.
    pub context: Context,
}

/// What a span says of its place between a producer and a consumer, as OpenTelemetry defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work inside a stage.
    Internal,
    /// A request to somebody else.
    Client,
    /// Hands messages to a stream.
    Producer,
    /// Takes messages.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Text.
    Text(String),
    /// A number.
    Integer(i64),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// Something that took time and has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What was done; one of few.
    pub name: &'static str,
    /// Its place.
    pub kind: SpanKind,
    /// Its own trace and number.
    pub context: Context,
    /// The span of the same trace that it is part of.
    pub parent: Option<SpanId>,
    /// Spans of other traces that led to it, at most [`MOST_CONTEXTS`].
    pub links: Vec<Context>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// By the names of OpenTelemetry's semantic conventions where those have one.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Span {
    /// A span `name` that was `context`, from `start` to `end`, with nothing else said of it.
    #[must_use]
    pub fn new(name: &'static str, kind: SpanKind, context: Context, start: Timestamp, end: Timestamp) -> Self {
        let (links, attributes) = (Vec::new(), Vec::new());
        Self { name, kind, context, parent: None, links, start, end, attributes, error: None }
    }

    /// With the attribute `name`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<AttributeValue>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// As a part of `parent`.
    #[must_use]
    pub fn within(mut self, parent: Option<SpanId>) -> Self {
        self.parent = parent;
        self
    }

    /// With links to `contexts`, the first [`MOST_CONTEXTS`] of them.
    #[must_use]
    pub fn linked(mut self, contexts: impl IntoIterator<Item = Context>) -> Self {
        self.links.extend(contexts.into_iter().take(MOST_CONTEXTS));
        self
    }
}

/// Takes spans as they end.
pub trait Spans: fmt::Debug + Send + Sync {
    /// Takes `span`, or drops and counts it: never blocks.
    fn take(&self, span: Span);

    /// Counts contexts that a record had no room for.
    fn contexts_left_out(&self, count: usize);
}

/// Whether and how this process traces. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Tracing(Option<Arc<On>>);

#[derive(Debug)]
struct On {
    spans: Arc<dyn Spans>,
    /// Messages whose trace id's lower half is below are sampled.
    below: u64,
    /// Different in each process, so that numbers of spans are, too.
    seed: u64,
    numbers: AtomicU64,
}

/// The trace of a message that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its span `receive`.
    pub context: Context,
    /// The span of the device that sent it.
    pub parent: Option<SpanId>,
}

impl Tracing {
    /// Traces into `spans`, with `share` (0 to 1) of the messages that do not bring a context.
    #[must_use]
    pub fn new(spans: Arc<dyn Spans>, share: f64) -> Self {
        let seed = std::hash::RandomState::new().hash_one(0);
        Self(Some(Arc::new(On { spans, below: threshold(share), seed, numbers: AtomicU64::new(0) })))
    }

    /// Whether anything is traced.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The trace of a message of `device_id`, if it has one: that of its `traceparent`, or its own if it is sampled.
    #[must_use]
    pub fn receive(
        &self,
        device_id: &str,
        identity: Option<Identity>,
        received_at: Timestamp,
        traceparent: Option<&str>,
    ) -> Option<Received> {
        let on = self.0.as_ref()?;
        if let Some(device) = traceparent.and_then(Context::parse) {
            let context = Context { trace: device.trace, span: on.span() };
            return Some(Received { context, parent: Some(device.span) });
        }
        if on.below == 0 {
            return None;
        }
        let trace = trace_of(device_id, identity, received_at);
        on.samples(trace).then(|| Received { context: Context { trace, span: on.span() }, parent: None })
    }

    /// A first span of a new trace; `None` if nothing is traced.
    #[must_use]
    pub fn root(&self) -> Option<Context> {
        let on = self.0.as_ref()?;
        let trace = u128::from(on.span().0) << 64 | u128::from(on.span().0);
        Some(Context { trace: TraceId(trace), span: on.span() })
    }

    /// A further span of the trace of `parent`; `None` if nothing is traced.
    #[must_use]
    pub fn child(&self, parent: Context) -> Option<Context> {
        let on = self.0.as_ref()?;
        Some(Context { trace: parent.trace, span: on.span() })
    }

    /// Hands `span` over.
    pub fn ended(&self, span: Span) {
        if let Some(on) = &self.0 {
            on.spans.take(span);
        }
    }

    /// Says that `count` contexts had no room in their record.
    pub fn contexts_left_out(&self, count: usize) {
        if let Some(on) = self.0.as_ref().filter(|_| count > 0) {
            on.spans.contexts_left_out(count);
        }
    }
}

impl On {
    fn samples(&self, trace: TraceId) -> bool {
        // The lower half: what other samplers of trace ids look at.
        let [_, _, _, _, _, _, _, _, low @ ..] = trace.0.to_be_bytes();
        u64::from_be_bytes(low) < self.below
    }

    fn span(&self) -> SpanId {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        SpanId(XxHash64::oneshot(self.seed, &number.to_le_bytes()).max(1))
    }
}

/// The bound below which `share` of all 64-bit numbers are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates: 0 to 1 is the whole range"
)]
fn threshold(share: f64) -> u64 {
    (share * 2_f64.powi(64)) as u64
}

/// The trace of a message that brought none: of its identity, or, if it has none, of when it came.
#[must_use]
pub fn trace_of(device_id: &str, identity: Option<Identity>, received_at: Timestamp) -> TraceId {
    let mut key = Vec::with_capacity(device_id.len() + 17);
    key.extend_from_slice(device_id.as_bytes());
    // No device id holds it: the two kinds of keys are apart.
    match identity {
        Some(Identity { boot, seq }) => {
            key.push(0);
            key.extend_from_slice(&boot.to_le_bytes());
            key.extend_from_slice(&seq.to_le_bytes());
        }
        None => {
            key.push(1);
            key.extend_from_slice(&received_at.as_micros().to_le_bytes());
        }
    }
    TraceId(XxHash3_128::oneshot(&key).max(1))
}

#[cfg(test)]
mod tests;
