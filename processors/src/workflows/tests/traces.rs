//! Spans of steps, from a firing's message to whoever does the step.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use streams::consume::{self, ConsumerConfig, Context as Around};
use streams::memory::MemoryStreams;
use streams::metrics::ConsumerMetrics;
use streams::{Append, Partition, StreamName, StreamSpec, Streams};
use telemetry::trace::{Context, RowContext, Span, SpanKind};
use telemetry::{Value, ipc, schema};
use tokio::sync::watch;

use super::world::*;
use crate::firing::Firing;
use crate::testing::{Kept, batch, context, message, reading, said};
use crate::workflows::outside::testing::{Stub, StubDevices};
use crate::workflows::outside::{Outside, OutsideConfig};
use crate::workflows::{RunState, WorkflowsConfig};
use crate::{RuleSet, RulesEffect, RulesMetrics};

fn traced(world: &mut World) -> Arc<Kept> {
    let (kept, tracing) = Kept::tracing();
    world.tracing = tracing;
    kept
}

/// Firing number `number`, of a message with the span `receive` of that number.
fn of_traced(number: u32, steps: &[crate::plan::Step]) -> Firing {
    Firing { trace: Some(context(u64::from(number))), ..firing(number, "d", steps) }
}

fn is_part_of(span: &Span, receive: Context) -> bool {
    span.context.trace == receive.trace && span.parent == Some(receive.span) && span.context.span != receive.span
}

#[tokio::test]
async fn each_attempt_at_a_step_of_a_traced_firing_is_a_span() {
    let mut world = World::new();
    let kept = traced(&mut world);
    let running = world.start().await;
    let first = of_traced(1, &[webhook("a"), emit()]);
    world.script.next(&first.step_key(0), [fails(), done()]);
    world.fire(&[first.clone(), firing(2, "d", &[webhook("a"), emit()])]).await;
    world.drained(&running, 2).await;
    running.stop().await;
    let spans = kept.named("step");
    assert_eq!(kept.len(), spans.len());
    let [failed, well, emitted] = &spans[..] else { panic!("{spans:?}") };
    let words = |span: &Span| {
        let word = |name| said(span, name).cloned();
        (word("weir.step"), word("weir.step.kind"), word("weir.target"), word("weir.attempt"))
    };
    let step = |step: i64, kind: &str, target: String, attempt: i64| {
        (Some(step.into()), Some(kind.into()), Some(target.into()), Some(attempt.into()))
    };
    assert_eq!(words(failed), step(0, "webhook", hook("a"), 1));
    assert_eq!(words(well), step(0, "webhook", hook("a"), 2));
    assert_eq!(words(emitted), step(1, "emit", "emit events".to_owned(), 1));
    assert_eq!([&failed.error, &well.error, &emitted.error], [&Some("500".to_owned()), &None, &None]);
    for span in &spans {
        assert!(is_part_of(span, context(1)) && span.kind == SpanKind::Client, "{span:?}");
        assert_eq!(said(span, "weir.workflow.run"), Some(&first.run_id.as_str().into()));
        assert_eq!((said(span, "weir.rule"), said(span, "weir.device")), (Some(&"hot".into()), Some(&"d".into())));
        assert!(span.start <= span.end && span.links.is_empty());
    }
    assert!(failed.end <= well.start);
    // The events of both, one record each or one for both: the context is at the row of its firing.
    assert_eq!(contexts(&world, "events", "event_id").await, [(first.step_key(1), context(1))]);
}

/// The value of the column `name` at each context in the records of a stream.
async fn contexts(world: &World, stream: &str, name: &str) -> Vec<(String, Context)> {
    let (stream, mut found) = (StreamName::new(stream).unwrap(), Vec::new());
    for spec in world.streams.specs().iter().filter(|spec| spec.name == stream) {
        for index in 0..spec.partitions {
            let mut decoder = ipc::Decoder::new(schema::of_stream(stream.as_str())).unwrap();
            let partition = Partition::new(stream.clone(), index);
            for record in world.streams.read(&partition, 0, usize::MAX).await.unwrap().records {
                let contexts = ipc::contexts(&record.payload);
                let batch = decoder.decode(record.payload).unwrap();
                let at = batch.schema().index_of(name).unwrap();
                let texts = crate::testing::texts(&batch, at);
                found.extend(contexts.iter().map(|at| (texts[usize::try_from(at.row).unwrap()].clone(), at.context)));
            }
        }
    }
    found
}

#[tokio::test]
async fn events_of_many_firings_have_their_contexts_as_far_as_there_is_room() {
    let mut world = World::new();
    let kept = traced(&mut world);
    let running = world.start().await;
    let of = |number: u32| Firing {
        trace: (!number.is_multiple_of(3)).then(|| context(u64::from(number))),
        ..firing(number, &format!("d-{number}"), &[emit()])
    };
    let firings: Vec<_> = (0..300).map(of).collect();
    world.fire(&firings).await;
    world.drained(&running, 300).await;
    running.stop().await;
    let found = contexts(&world, "events", "event_id").await;
    let expected = |key: &String| firings.iter().find(|firing| firing.step_key(0) == *key).unwrap().trace;
    assert!(found.iter().all(|(key, context)| expected(key) == Some(*context)));
    assert!(!found.is_empty());
    // Firings that came with a context may have had none in the record of theirs: it has room for as many.
    let steps = kept.named("step").len();
    assert_eq!(found.len() + kept.left_out(), steps);
}

#[tokio::test]
async fn a_firing_is_part_of_its_trace_after_a_restart() {
    let mut world = World::new();
    let kept = traced(&mut world);
    world.script.always(&hook("a"), fails());
    let running = world.start().await;
    let mut step = webhook("a");
    step.retry.attempts = 1_000;
    let first = of_traced(1, &[step, webhook("b")]);
    world.fire(std::slice::from_ref(&first)).await;
    world.until("it was tried", async || !kept.named("step").is_empty()).await;
    // The outbox has it, and the position is behind it: it is not read from the stream again.
    running.stop().await;
    let before = kept.named("step").len();
    world.script.always(&hook("a"), done());
    let running = world.start().await;
    world.drained(&running, 1).await;
    assert_eq!(running.state(&first).await, Some(RunState::Done));
    let repeated = running.metric("weir_workflows_firings_total").get("repeated").copied();
    assert_eq!(repeated.unwrap_or(0.0), 0.0);
    let spans = kept.named("step").split_off(before);
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|span| is_part_of(span, context(1)) && span.error.is_none()), "{spans:?}");
    running.stop().await;
    // A crash right behind the append: then it comes from the stream.
    let second = of_traced(2, &[webhook("a")]);
    world.script.next(&second.step_key(0), [Act::Hangs]);
    let running = world.start().await;
    world.fire(std::slice::from_ref(&second)).await;
    world.until("it is tried", async || world.script.hanging() == 1).await;
    running.crash().await;
    let running = world.start().await;
    world.drained(&running, 2).await;
    assert!(is_part_of(kept.named("step").last().unwrap(), context(2)));
    running.stop().await;
}

#[tokio::test]
async fn what_waits_as_a_letter_is_part_of_its_trace_when_it_is_admitted() {
    let mut world = World::with(WorkflowsConfig { max_pending: 1, ..WorkflowsConfig::default() });
    let kept = traced(&mut world);
    let running = world.start().await;
    let firing = of_traced(3, &[webhook("a")]);
    let payload = crate::workflows::backlog::payload(&firing);
    assert_eq!(crate::workflows::firing_of(&payload).unwrap().trace, firing.trace);
    running.workflows.admit_letter(&payload).await.unwrap();
    world.drained(&running, 1).await;
    assert!(is_part_of(&kept.named("step")[0], context(3)));
    running.stop().await;
}

#[tokio::test]
async fn off_nothing_is_told_and_nothing_is_kept() {
    let world = World::new();
    let running = world.start().await;
    world.fire(&[of_traced(1, &[webhook("a"), emit()])]).await;
    world.drained(&running, 1).await;
    running.stop().await;
    assert_eq!(contexts(&world, "events", "event_id").await, []);
    let store = crate::workflows::store::Store::open(world.dir.path()).unwrap().store;
    assert_eq!(store.runs(&[1]).unwrap()[0].firing.trace, None);
}

/// Runs the rules of `file` over all readings there are.
async fn evaluate(world: &World, file: &str) {
    let rules = watch::channel(Arc::new(RuleSet::parse(file, "f").unwrap())).1;
    let registry = prometheus::Registry::new();
    let metrics = RulesMetrics::register(&registry).unwrap();
    let (streams, clock) = (world.streams.clone(), world.clock.clone());
    let effect = RulesEffect::new(rules, streams.clone(), metrics, clock.clone(), world.tracing.clone());
    let context = Around { streams, clock, metrics: ConsumerMetrics::register(&registry).unwrap() };
    let config = ConsumerConfig {
        group: "rules".into(),
        stream: StreamName::readings(),
        partitions: (0..PARTITIONS).collect(),
        read_bytes: 1024,
        commit_interval: std::time::Duration::ZERO,
        gather: std::time::Duration::from_millis(1),
    };
    consume::run(context, config, effect, watch::channel(true).1).await.unwrap();
}

#[tokio::test]
async fn a_reading_that_fires_a_webhook_is_one_trace_to_whoever_answers_it() {
    let stub = Stub::start(|_| (StatusCode::ACCEPTED, "taken").into_response()).await;
    let mut world = World::new();
    let kept = traced(&mut world);
    let streams = [StreamName::readings(), StreamName::alerts(), StreamName::workflows()];
    let letters = StreamSpec { name: StreamName::workflow_dead_letters(), partitions: 1 };
    let specs = streams.map(|name| StreamSpec { name, partitions: PARTITIONS }).into_iter().chain([letters]);
    world.streams = MemoryStreams::new(specs.collect(), world.clock.clone());
    let outside = OutsideConfig { allow_addresses: vec!["127.0.0.1/32".parse().unwrap()], email: None };
    world.targets = Outside::new(&outside, StubDevices::new(Ok(())), world.clock.clone());
    // The door: two messages in a record, the second is traced.
    let of = |seq| message("oven", Some((1, seq)), vec![reading("m", Value::Number(95.0)); 2]);
    let (batch, row) = (batch(&[of(1), of(2)]), RowContext { row: 2, context: context(9) });
    let payload = ipc::Encoder::new(schema::readings_stream()).unwrap().encode_traced(&batch, &[row]).unwrap();
    let to = Partition::new(StreamName::readings(), telemetry::partition::of_device("oven", PARTITIONS));
    world.streams.submit(vec![Append::new(to, 4, payload)]).await.unwrap().await.unwrap();
    let file = format!(
        "[[rule]]\nid = 'hot'\nwhen = 'value > 80'\nseverity = 'info'\nmessage = '{{value}}'\n\
         [[rule.step]]\nwebhook = '{}'\n",
        stub.url("/hook?token=secret")
    );
    evaluate(&world, &file).await;
    let running = world.start().await;
    world.drained(&running, 2).await;
    running.stop().await;
    assert_eq!(kept.named("rules")[0].links, [context(9)]);
    let steps = kept.named("step");
    let [step] = &steps[..] else { panic!("{steps:?}") };
    assert!(is_part_of(step, context(9)), "{step:?}");
    assert_eq!((said(step, "weir.boot"), said(step, "weir.seq")), (Some(&1.into()), Some(&2.into())));
    assert_eq!(said(step, "http.response.status_code"), Some(&202.into()));
    assert_eq!(said(step, "server.address"), Some(&"127.0.0.1".into()));
    assert_eq!(said(step, "server.port"), Some(&i64::from(stub.address.port()).into()));
    assert!(!format!("{step:?}").contains("secret"), "{step:?}");
    // Of two requests one is of the traced message: its header is the span of the step.
    let key = said(step, "weir.workflow.run").cloned();
    let mut sent = Vec::new();
    for request in stub.seen() {
        let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        sent.push((header("idempotency-key").unwrap().replace("-0", ""), header("traceparent")));
    }
    assert_eq!(sent.len(), 2);
    let traced: Vec<_> = sent.iter().filter_map(|(run, parent)| Some((run.as_str().into(), parent.clone()?))).collect();
    assert_eq!(traced, [(key.unwrap(), step.context.to_string())]);
}
