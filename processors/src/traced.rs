//! The traced messages of one record of readings: the span of its evaluation, and the contexts that what fired
//! carries on.

use telemetry::trace::{Context, MOST_CONTEXTS, RowContext, Span, SpanKind, Tracing};
use telemetry::{Clock, Timestamp};

use crate::evaluation::Evaluation;
use crate::readings::Readings;

/// From when a record was delivered until what fired on it was handed to the outbox.
const RULES: &str = "rules";

/// Most bytes that contexts add to a record: 32 each.
pub(crate) const CONTEXTS_BYTES: usize = 32 * MOST_CONTEXTS;

/// The traced messages of a record that is being evaluated.
#[derive(Debug)]
pub(crate) struct Traced {
    /// By their first row, ascending.
    messages: Vec<RowContext>,
    begun: Timestamp,
}

/// Where a record of readings stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

impl Traced {
    /// `None`, without a look at the clock, if no message of the record is traced, or nothing is in this process.
    pub(crate) fn begin(tracing: &Tracing, mut messages: Vec<RowContext>, clock: &dyn Clock) -> Option<Self> {
        if messages.is_empty() || !tracing.is_on() {
            return None;
        }
        messages.sort_by_key(|message| message.row);
        Some(Self { messages, begun: clock.now() })
    }

    /// The contexts of a record whose rows are about these `rows` of `readings`, one for each that is about a traced
    /// message. Those that have no room in a record are counted.
    pub(crate) fn contexts(&self, tracing: &Tracing, readings: &Readings<'_>, rows: &[u32]) -> Vec<RowContext> {
        let (mut contexts, mut left_out) = (Vec::new(), 0);
        for (row, about) in (0..).zip(rows) {
            match self.context(readings, *about) {
                Some(context) if contexts.len() < MOST_CONTEXTS => contexts.push(RowContext { row, context }),
                Some(_) => left_out += 1,
                None => {}
            }
        }
        tracing.contexts_left_out(left_out);
        contexts
    }

    /// The context of the message that `row` belongs to.
    fn context(&self, readings: &Readings<'_>, row: u32) -> Option<Context> {
        let start = readings.message_start(row);
        let found = self.messages.binary_search_by_key(&start, |message| message.row).ok()?;
        Some(self.messages.get(found)?.context)
    }

    /// Hands over the span of the evaluation, which ends now.
    pub(crate) fn ended(self, tracing: &Tracing, clock: &dyn Clock, place: Place, evaluation: &Evaluation<'_>) {
        let Some(context) = tracing.root() else { return };
        let firings = evaluation.rules.iter().map(|rule| rule.matches).sum();
        let readings = evaluation.readings();
        let span = Span::new(RULES, SpanKind::Consumer, context, self.begun, clock.now())
            .linked(self.messages.iter().map(|message| message.context))
            .with("messaging.system", "weir")
            .with("messaging.operation.type", "process")
            .with("messaging.operation.name", RULES)
            .with("messaging.destination.name", "readings")
            .with("messaging.destination.partition.id", place.partition.to_string())
            .with("messaging.batch.message_count", length(readings.message_starts().len()))
            .with("weir.offset", number(place.offset))
            .with("weir.rows", length(readings.len()))
            .with("weir.firings", number(firings));
        tracing.ended(span);
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
