//! Batches of readings for tests.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use telemetry::batch::ReadingsBuilder;
use telemetry::schema::alert;
use telemetry::trace::{AttributeValue, Context, Span, SpanId, Spans, TraceId, Tracing};
use telemetry::{Identity, Message, Reading, Timestamp, Value};

use crate::evaluation::Evaluation;
use crate::rules::RuleSet;

/// 2026-01-01T00:00:00Z.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// Spans in the order they ended, and how many contexts had no room.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    spans: Mutex<Vec<Span>>,
    left_out: Mutex<usize>,
}

impl Spans for Kept {
    fn take(&self, span: Span) {
        self.spans.lock().unwrap().push(span);
    }

    fn contexts_left_out(&self, count: usize) {
        *self.left_out.lock().unwrap() += count;
    }
}

impl Kept {
    /// What records, and what traces into it.
    pub(crate) fn tracing() -> (Arc<Self>, Tracing) {
        let kept = Arc::new(Self::default());
        (kept.clone(), Tracing::new(kept, 0.0))
    }

    /// The spans of this name.
    pub(crate) fn named(&self, name: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.lock().unwrap().len()
    }

    pub(crate) fn left_out(&self) -> usize {
        *self.left_out.lock().unwrap()
    }
}

/// The span `receive` number `number`.
pub(crate) fn context(number: u64) -> Context {
    Context { trace: TraceId(u128::from(number) << 64 | 1), span: SpanId(number) }
}

/// What a span says of `name`.
pub(crate) fn said<'a>(span: &'a Span, name: &str) -> Option<&'a AttributeValue> {
    span.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// A reading of the test's choice: metric and value, the rest as usual.
pub(crate) fn reading<'a>(metric: &'a str, value: Value<'a>) -> Reading<'a> {
    let time = Timestamp::from_micros(NEW_YEAR + 1_500_000);
    Reading { metric: Cow::Borrowed(metric), time, value, unit: Some(Cow::Borrowed("Cel")) }
}

/// A message of `device`; `identity` is boot and sequence number.
pub(crate) fn message<'a>(device: &'a str, identity: Option<(i64, i64)>, readings: Vec<Reading<'a>>) -> Message<'a> {
    Message {
        device_id: Cow::Borrowed(device),
        site: Some(Cow::Borrowed("hall-1")),
        identity: identity.map(|(boot, seq)| Identity { boot, seq }),
        readings,
        ignored_fields: 0,
    }
}

/// The batch of `messages`, received on new year.
pub(crate) fn batch(messages: &[Message<'_>]) -> RecordBatch {
    let mut builder = ReadingsBuilder::default();
    for message in messages {
        builder.push(message, Timestamp::from_micros(NEW_YEAR + 2_000_000));
    }
    builder.finish()
}

/// A batch of numbers of one metric, each a message of its own of device `d`.
pub(crate) fn numbers(metric: &str, values: &[f64]) -> RecordBatch {
    let message =
        |(seq, value): (i64, &f64)| message("d", Some((1, seq)), vec![reading(metric, Value::Number(*value))]);
    batch(&(0..).zip(values).map(message).collect::<Vec<_>>())
}

/// A rule file of one rule.
pub(crate) fn rule(id: &str, when: &str, message: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    format!(
        "[[rule]]\nid = {}\nwhen = {}\nseverity = \"warning\"\nmessage = {}\n",
        quoted(id),
        quoted(when),
        quoted(message)
    )
}

/// The rules of `(id, when)`.
pub(crate) fn rules(rules: &[(&str, &str)]) -> RuleSet {
    let file: Vec<String> = rules.iter().map(|(id, when)| rule(id, when, "{device_id} {value}")).collect();
    RuleSet::parse(&file.join("\n"), "test.toml").unwrap_or_else(|error| panic!("{error}"))
}

/// All alerts of an evaluation; `None` if there are none.
pub(crate) fn alerts(evaluation: &Evaluation<'_>) -> Option<RecordBatch> {
    let batches: Vec<_> = evaluation.alerts(usize::MAX).map(Result::unwrap).collect();
    assert!(batches.len() <= 1, "{}", batches.len());
    batches.into_iter().next()
}

/// A column of alerts as text; NULL is `-`.
pub(crate) fn texts(alerts: &RecordBatch, column: usize) -> Vec<String> {
    let array = alerts.column(column);
    let array = arrow::compute::cast(array, &arrow::datatypes::DataType::Utf8).unwrap();
    array.as_string::<i32>().iter().map(|text| text.unwrap_or("-").to_owned()).collect()
}

/// Ids of the rules that fired, in order.
pub(crate) fn fired(alerts: Option<&RecordBatch>) -> Vec<String> {
    alerts.map_or_else(Vec::new, |alerts| texts(alerts, alert::RULE_ID))
}

/// Number of values in a dictionary column.
pub(crate) fn dictionary_len(alerts: &RecordBatch, column: usize) -> usize {
    alerts.column(column).as_dictionary::<Int32Type>().values().len()
}
