//! What rules tell of traced messages, and what they pass on.

use telemetry::Value;
use telemetry::trace::MOST_CONTEXTS;

use super::*;
use crate::testing::{Kept, context, said};

/// One rule with a step, one without.
const RULES: &str = "[[rule]]\nid = 'steps'\nwhen = 'value > 80'\nseverity = 'info'\nmessage = '{value}'\n\
                     [[rule.step]]\nlog = true\n\
                     [[rule]]\nid = 'none'\nwhen = 'value > 90'\nseverity = 'info'\nmessage = '{value}'\n";

/// A message of one reading for each value.
fn of<'a>(device: &'a str, values: &[f64]) -> telemetry::Message<'a> {
    message(device, Some((1, 1)), values.iter().map(|value| reading("m", Value::Number(*value))).collect())
}

fn row(row: u32, number: u64) -> RowContext {
    RowContext { row, context: context(number) }
}

fn record(messages: &[telemetry::Message<'_>], contexts: &[RowContext]) -> Delivered {
    let (batch, contexts) = (batch(messages), contexts.to_vec());
    Delivered { partition: 1, offset: 7, appended_at: Timestamp::from_micros(0), batch, contexts }
}

/// The records that an effect of `file` appends of what is delivered.
async fn appended(tracing: &Tracing, file: &str, bytes: usize, delivered: Delivered) -> Vec<Append> {
    let streams = Scripted::new([]);
    let rules = constant(RuleSet::parse(file, "f").unwrap());
    let metrics = RulesMetrics::register(&Registry::new()).unwrap();
    let clock = ManualClock::new(Timestamp::from_micros(5));
    let effect = RulesEffect::new(rules, streams.clone(), metrics, clock, tracing.clone());
    let mut effect = effect.append_bytes(bytes);
    effect.apply(delivered).await.unwrap();
    effect.flush(&[]).await.unwrap();
    streams.written().into_iter().flatten().collect()
}

/// Contexts in the records of `stream`, one after the other.
fn contexts(appended: &[Append], stream: &StreamName) -> Vec<Vec<RowContext>> {
    let records = appended.iter().filter(|append| append.to.stream == *stream);
    records.map(|append| ipc::contexts(&append.payload)).collect()
}

/// Rows 0 and 1 are of `a`, 2 to 4 of `b`, 5 of `c`, 6 of `d`; traced are `a`, `b` and `d`.
fn some() -> Delivered {
    let messages = [of("a", &[10.0, 95.0]), of("b", &[85.0, 20.0, 91.0]), of("c", &[99.0]), of("d", &[1.0])];
    record(&messages, &[row(0, 1), row(2, 2), row(6, 4)])
}

#[tokio::test]
async fn what_fires_has_the_context_of_its_message_at_its_row() {
    let (kept, tracing) = Kept::tracing();
    let appended = appended(&tracing, RULES, usize::MAX, some()).await;
    // By reading, then by rule: row 1 both, row 2 the first, row 4 both, row 5 both.
    let alerts = contexts(&appended, &StreamName::alerts());
    assert_eq!(alerts, [vec![row(0, 1), row(1, 1), row(2, 2), row(3, 2), row(4, 2)]]);
    let firings = contexts(&appended, &StreamName::workflows());
    // Two readings of one metric and time are one run.
    assert_eq!(firings, [vec![row(0, 1), row(1, 2)]]);
    let spans = kept.named("rules");
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(span.links, [context(1), context(2), context(4)]);
    assert_eq!((span.parent, &span.error), (None, &None));
    assert!(span.links.iter().all(|link| link.trace != span.context.trace));
    for (name, value) in
        [("weir.offset", 7), ("weir.rows", 7), ("weir.firings", 7), ("messaging.batch.message_count", 4)]
    {
        assert_eq!(said(span, name), Some(&value.into()), "{name}");
    }
    assert_eq!(said(span, "messaging.destination.name"), Some(&"readings".into()));
    assert_eq!(said(span, "messaging.destination.partition.id"), Some(&"1".into()));
    assert_eq!((kept.len(), kept.left_out()), (1, 0));
}

#[tokio::test]
async fn off_records_are_what_they_were_byte_for_byte_and_nothing_is_told() {
    let untraced = || Delivered { contexts: Vec::new(), ..some() };
    let before = appended(&Tracing::default(), RULES, usize::MAX, untraced()).await;
    assert_eq!(before.len(), 2);
    assert!(before.iter().all(|append| ipc::contexts(&append.payload).is_empty() && append.trace.is_none()));
    assert_eq!(appended(&Tracing::default(), RULES, usize::MAX, some()).await, before);
    let (kept, tracing) = Kept::tracing();
    assert_eq!(appended(&tracing, RULES, usize::MAX, untraced()).await, before);
    assert_eq!(kept.len(), 0);
    // Traced, they say the same: ids of alerts and runs do not depend on it.
    for (plain, traced) in before.iter().zip(appended(&tracing, RULES, usize::MAX, some()).await) {
        let mut decoder = ipc::Decoder::new(schema::of_stream(plain.to.stream.as_str())).unwrap();
        let plain = decoder.decode(plain.payload.clone()).unwrap();
        assert_eq!(decoder.decode(traced.payload).unwrap(), plain);
    }
}

#[tokio::test]
async fn contexts_are_bounded_and_those_beyond_are_counted() {
    let (kept, tracing) = Kept::tracing();
    let values = [95.0; 100];
    let appended =
        appended(&tracing, RULES, usize::MAX, record(&[of("a", &[1.0]), of("b", &values)], &[row(1, 2)])).await;
    let alerts = contexts(&appended, &StreamName::alerts()).concat();
    assert_eq!(alerts.len(), MOST_CONTEXTS);
    assert_eq!((alerts[0], alerts[63]), (row(0, 2), row(63, 2)));
    let firings = contexts(&appended, &StreamName::workflows()).concat();
    assert_eq!(firings, [row(0, 2)], "readings of one time are one run");
    assert_eq!(kept.left_out(), 200 - MOST_CONTEXTS);
}

#[tokio::test]
async fn contexts_stay_at_their_rows_where_records_are_cut_and_leave_room_for_themselves() {
    let (_, tracing) = Kept::tracing();
    let values = [95.0; 200];
    let bytes = 20_000;
    let file = RULES.replace("{value}", &"x".repeat(200));
    let delivered = record(&[of("a", &values), of("b", &[95.0])], &[row(200, 2)]);
    let cut = appended(&tracing, &file, bytes, delivered).await;
    assert!(cut.len() > 5 && cut.iter().all(|append| append.payload.len() <= bytes), "{}", cut.len());
    let alerts = contexts(&cut, &StreamName::alerts());
    let (last, others) = alerts.split_last().unwrap();
    assert!(others.iter().all(Vec::is_empty));
    let rows = cut.iter().rfind(|append| append.to.stream == StreamName::alerts()).unwrap().rows;
    assert_eq!(*last, [row(rows - 2, 2), row(rows - 1, 2)]);
}

#[test]
fn a_record_grows_by_no_more_than_was_kept_free() {
    let batch = batch(&[of("a", &[1.0])]);
    let mut encoder = ipc::Encoder::new(schema::readings_stream()).unwrap();
    let contexts: Vec<RowContext> = (0..100).map(|at| row(at, 1)).collect();
    let (plain, traced) = (encoder.encode(&batch).unwrap(), encoder.encode_traced(&batch, &contexts).unwrap());
    assert_eq!(traced.len() - plain.len(), crate::traced::CONTEXTS_BYTES);
}
