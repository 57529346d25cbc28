use streams::dedupe::{Dedupe, Sources};
use streams::log::{EmbeddedLog, LogConfig, LogMetrics};
use telemetry::Value;

use super::*;
use crate::evaluation::count;

/// What these streams take at once: less than a tenth of the alerts of a flood.
const BYTES: usize = 40_000;

/// A record of 100 readings.
fn flood(offset: u64) -> Delivered {
    let text = "x".repeat(2_000);
    let value = Value::Text((&*text).into());
    let batch = batch(&[message("d", None, vec![reading("state", value); 100])]);
    Delivered { partition: 1, offset, appended_at: Timestamp::from_micros(0), batch, contexts: Vec::new() }
}

/// Two rules that fire always.
fn always(streams: Arc<dyn Streams>) -> RulesEffect {
    let metrics = RulesMetrics::register(&Registry::new()).unwrap();
    let rules = constant(rules(&[("always", "true"), ("text", "value_text IS NOT NULL")]));
    RulesEffect::new(rules, streams, metrics, ManualClock::new(Timestamp::from_micros(0)), Tracing::default())
}

fn flooded(replies: impl IntoIterator<Item = Reply>) -> (RulesEffect, Arc<Scripted>) {
    let streams = Scripted::new(replies);
    (always(streams.clone()).append_bytes(BYTES), streams)
}

/// Source offset and index of all alerts written, in the order written.
fn written_alerts(streams: &Scripted) -> Vec<(String, String)> {
    let records = streams.written().into_iter().flatten().map(|append| decode(&append.payload));
    let sources = |one: RecordBatch| {
        texts(&one, alert::SOURCE_OFFSET).into_iter().zip(texts(&one, alert::SOURCE_INDEX)).collect::<Vec<_>>()
    };
    records.flat_map(sources).collect()
}

#[tokio::test]
async fn a_flood_from_one_record_arrives_whole_and_in_order() {
    let (mut effect, streams) = flooded([]);
    for offset in [3, 4] {
        effect.apply(flood(offset)).await.unwrap();
    }
    effect.flush(&[]).await.unwrap();
    let expected: Vec<_> =
        [3, 4].iter().flat_map(|offset| (0..200).map(move |at| (offset.to_string(), at.to_string()))).collect();
    assert_eq!(written_alerts(&streams), expected);
    let written = streams.written();
    assert!(written.iter().flatten().count() > 10);
    for group in written {
        assert!(group.iter().map(|append| append.payload.len()).sum::<usize>() <= BYTES);
    }
}

#[tokio::test]
async fn a_flood_waits_inside_one_record_of_readings() {
    let (told, telling) = oneshot::channel();
    let (later_told, later_telling) = oneshot::channel();
    let (mut effect, streams) = flooded([Reply::When(telling), Reply::When(later_telling)]);
    let mut apply = effect.apply(flood(0));
    assert!((&mut apply).now_or_never().is_none());
    assert!(streams.written().is_empty());
    told.send(Ok(())).unwrap();
    // Only what fits goes on: one group in flight, one behind it.
    assert!((&mut apply).now_or_never().is_none());
    assert_eq!(streams.written().len(), 1);
    later_told.send(Err(full())).unwrap();
    apply.await.unwrap();
    effect.flush(&[]).await.unwrap();
    let expected: Vec<_> = (0..200).map(|at| ("0".to_owned(), at.to_string())).collect();
    assert_eq!(written_alerts(&streams), expected);
}

/// Records that the rules append for a flood at offset 7, with records of at most `bytes`.
async fn flood_records(bytes: usize) -> Vec<RecordBatch> {
    let (effect, streams) = flooded([]);
    let mut effect = effect.append_bytes(bytes);
    effect.apply(flood(7)).await.unwrap();
    effect.flush(&[]).await.unwrap();
    streams.written().iter().flatten().map(|append| decode(&append.payload)).collect()
}

#[tokio::test]
async fn a_replay_of_a_flood_goes_on_where_the_crash_cut_it() {
    let first = flood_records(BYTES).await;
    assert!(first.len() > 5);
    assert_eq!(first, flood_records(BYTES).await);
    let ids = |alerts: &RecordBatch| texts(alerts, alert::ALERT_ID);
    let expected: Vec<String> = first.iter().flat_map(ids).collect();
    // The second run may have been given another size of records.
    for second in [first.clone(), flood_records(3 * BYTES).await] {
        for cut in 0..=first.len() {
            let mut dedupe = Dedupe::Sources(Sources::of_alerts());
            let mut kept = Vec::new();
            let mut left_out = 0;
            for record in first[..cut].iter().chain(&second) {
                let verdict = dedupe.check(record).unwrap();
                left_out += verdict.duplicates;
                kept.extend(match verdict.keep {
                    Some(keep) => ids(&arrow::compute::filter_record_batch(record, &keep).unwrap()),
                    None => ids(record),
                });
            }
            assert_eq!(kept, expected, "cut after {cut} records");
            assert_eq!(left_out, first[..cut].iter().map(|record| count(record.num_rows())).sum::<u64>());
        }
    }
}

/// The alerts of a flood of 8 MiB and more, through a log with a queue of `queue_bytes`.
async fn flood_a_log(queue_bytes: usize, prepare: impl FnOnce(RulesEffect) -> RulesEffect) -> Vec<Bytes> {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        dir: dir.path().to_owned(),
        queue_bytes,
        // As `weir` sets it.
        record_bytes: queue_bytes / 2,
        ..LogConfig::default()
    };
    let specs = vec![StreamSpec { name: StreamName::alerts(), partitions: 2 }];
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let metrics = LogMetrics::register(&Registry::new()).unwrap();
    let log = EmbeddedLog::open(config, specs, clock, Tracing::default(), metrics).unwrap();
    let mut effect = prepare(always(log.clone()));
    let text = "x".repeat(8 * 1024);
    let batch = batch(&[message("d", None, vec![reading("state", Value::Text((&*text).into())); 512])]);
    effect.apply(Delivered { batch, ..flood(0) }).await.unwrap();
    effect.flush(&[]).await.unwrap();
    let read = log.read(&Partition::new(StreamName::alerts(), 1), 0, usize::MAX).await.unwrap();
    read.records.into_iter().map(|record| record.payload).collect()
}

#[tokio::test]
async fn no_queue_that_can_be_configured_refuses_a_flood() {
    let smallest = flood_a_log(1024 * 1024, |effect| effect).await;
    let usual = flood_a_log(32 * 1024 * 1024, |effect| effect.append_bytes(16 * 1024 * 1024)).await;
    assert!(smallest.iter().all(|record| record.len() <= limits::APPEND_BYTES));
    assert!(usual.iter().all(|record| record.len() <= limits::ALERT_BYTES_PER_RECORD));
    assert!(smallest.len() > usual.len() && usual.len() > 2, "{} and {}", smallest.len(), usual.len());
    let indexes = |records: &[Bytes]| -> Vec<String> {
        records.iter().flat_map(|record| texts(&decode(record), alert::SOURCE_INDEX)).collect()
    };
    assert_eq!(indexes(&smallest), (0..1024).map(|at| at.to_string()).collect::<Vec<_>>());
    assert_eq!(indexes(&usual), indexes(&smallest));
}
