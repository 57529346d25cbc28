use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::FutureExt;
use prometheus::Registry;
use streams::consume::{self, ConsumerConfig, Context};
use streams::memory::MemoryStreams;
use streams::metrics::ConsumerMetrics;
use streams::{AppendError, Error, GroupName, GroupPosition, Position, Read, StreamSpec, Ticket};
use telemetry::Timestamp;
use telemetry::clock::ManualClock;
use telemetry::schema::alert;
use tokio::sync::oneshot;

use super::*;
use crate::testing::{batch, message, numbers, reading, rules, texts};

mod flood;
mod reload;
mod traces;

/// What the next submit does.
#[derive(Debug)]
enum Reply {
    /// Durable once the test says so.
    When(oneshot::Receiver<Result<(), AppendError>>),
    Refuse(AppendError),
}

/// Streams that answer appends as the test scripts them, at once if it does not, and keep what was written.
#[derive(Debug)]
struct Scripted {
    specs: Vec<StreamSpec>,
    replies: Mutex<VecDeque<Reply>>,
    groups: Arc<Mutex<Vec<Vec<Append>>>>,
    appended: watch::Sender<u64>,
}

impl Scripted {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self {
            specs: vec![StreamSpec { name: StreamName::alerts(), partitions: 2 }],
            replies: Mutex::new(replies.into_iter().collect()),
            groups: Arc::default(),
            appended: watch::channel(0).0,
        })
    }

    fn written(&self) -> Vec<Vec<Append>> {
        self.groups.lock().unwrap().clone()
    }

    /// Source offsets of all records written, in the order written.
    fn sources(&self) -> Vec<String> {
        self.written()
            .iter()
            .flatten()
            .filter(|append| append.to.stream == StreamName::alerts())
            .map(|append| texts(&decode(&append.payload), alert::SOURCE_OFFSET)[0].clone())
            .collect()
    }
}

#[async_trait]
impl Streams for Scripted {
    fn specs(&self) -> &[StreamSpec] {
        &self.specs
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        let groups = self.groups.clone();
        let write = move || {
            let offsets = (0..).take(group.len()).collect();
            groups.lock().unwrap().push(group);
            Ok(offsets)
        };
        match self.replies.lock().unwrap().pop_front() {
            None => {
                let written = write();
                Ok(async move { written }.boxed())
            }
            Some(Reply::Refuse(error)) => Err(error),
            Some(Reply::When(told)) => Ok(async move {
                told.await.unwrap()?;
                write()
            }
            .boxed()),
        }
    }

    async fn read(&self, _: &Partition, _: u64, _: usize) -> Result<Read, Error> {
        Ok(Read::default())
    }

    fn bounds(&self, _: &Partition) -> Result<Range<u64>, Error> {
        Ok(0..0)
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    async fn position(&self, _: &GroupName, _: &Partition) -> Result<Option<Position>, Error> {
        Ok(None)
    }

    async fn commit(&self, _: &GroupName, _: Vec<(Partition, Position)>) -> Result<(), Error> {
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        Ok(Vec::new())
    }
}

fn decode(payload: &Bytes) -> RecordBatch {
    ipc::Decoder::new(schema::alerts_stream()).unwrap().decode(payload.clone()).unwrap()
}

fn delivered(offset: u64, values: &[f64]) -> Delivered {
    let batch = numbers("temperature", values);
    Delivered { partition: 1, offset, appended_at: Timestamp::from_micros(0), batch, contexts: Vec::new() }
}

struct Setup {
    effect: RulesEffect,
    streams: Arc<Scripted>,
    clock: Arc<ManualClock>,
    registry: Registry,
}

fn setup(replies: impl IntoIterator<Item = Reply>) -> Setup {
    let streams = Scripted::new(replies);
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let registry = Registry::new();
    let rules = constant(rules(&[("hot", "value > 80"), ("odd", "10 / (seq - 1) > 100")]));
    let metrics = RulesMetrics::register(&registry).unwrap();
    let effect = RulesEffect::new(rules, streams.clone(), metrics, clock.clone(), Tracing::default());
    Setup { effect, streams, clock, registry }
}

/// Rules that never change.
fn constant(rules: RuleSet) -> watch::Receiver<Arc<RuleSet>> {
    watch::channel(Arc::new(rules)).1
}

fn full() -> AppendError {
    AppendError::Full { used: 2, quota: 1 }
}

fn metric(registry: &Registry, line: &str) -> bool {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap().lines().any(|shown| shown == line)
}

#[tokio::test]
async fn what_fires_is_appended_beside_its_source() {
    let Setup { mut effect, streams, registry, .. } = setup([]);
    effect.apply(delivered(7, &[90.0, 20.0, 95.0])).await.unwrap();
    effect.apply(delivered(8, &[20.0])).await.unwrap();
    effect.flush(&[]).await.unwrap();
    let written = streams.written();
    assert_eq!(written.len(), 1);
    let [append, letters] = written[0].as_slice() else { panic!("{written:?}") };
    assert_eq!((append.to.clone(), append.rows), (Partition::new(StreamName::alerts(), 1), 2));
    let alerts = decode(&append.payload);
    assert_eq!(texts(&alerts, alert::MESSAGE), ["d 90", "d 95"]);
    assert_eq!(texts(&alerts, alert::SOURCE_OFFSET), ["7", "7"]);
    assert_eq!((letters.to.clone(), letters.rows), (Partition::new(StreamName::workflow_dead_letters(), 0), 1));
    assert!(metric(&registry, r#"weir_rules_evaluations_total{rule="hot"} 4"#));
    assert!(metric(&registry, r#"weir_rules_matches_total{rule="hot"} 2"#));
    assert!(metric(&registry, r#"weir_rules_errors_total{rule="odd"} 1"#));
    assert!(metric(&registry, "weir_rules_evaluation_seconds_count 2"));
    assert!(metric(&registry, "weir_rules_loaded 2"));
    assert_eq!(effect.recovered(0), None);
}

#[tokio::test]
async fn one_group_is_in_flight_and_the_rest_waits_in_order() {
    let (told, telling) = oneshot::channel();
    let Setup { mut effect, streams, .. } = setup([Reply::When(telling)]);
    for offset in 0..5 {
        effect.apply(delivered(offset, &[90.0])).await.unwrap();
    }
    assert!(streams.written().is_empty());
    told.send(Ok(())).unwrap();
    effect.flush(&[]).await.unwrap();
    assert_eq!(streams.sources(), ["0", "1", "2", "3", "4"]);
    assert_eq!(streams.written().iter().map(Vec::len).collect::<Vec<_>>(), [1, 4]);
}

#[tokio::test]
async fn a_flush_waits_for_durability() {
    let (told, telling) = oneshot::channel();
    let Setup { mut effect, streams, .. } = setup([Reply::When(telling)]);
    effect.apply(delivered(0, &[90.0])).await.unwrap();
    let mut flush = effect.flush(&[]);
    assert!((&mut flush).now_or_never().is_none());
    told.send(Ok(())).unwrap();
    flush.await.unwrap();
    assert_eq!(streams.sources(), ["0"]);
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let (told, telling) = oneshot::channel();
    let Setup { effect, .. } = setup([Reply::When(telling)]);
    let mut effect = effect.append_bytes(usize::MAX);
    // The first is in flight, the others wait behind it.
    for offset in 0..=limits::PENDING_RECORDS as u64 {
        effect.apply(delivered(offset, &[90.0])).await.unwrap();
    }
    let mut next = effect.apply(delivered(9_999, &[90.0]));
    assert!((&mut next).now_or_never().is_none());
    told.send(Ok(())).unwrap();
    next.await.unwrap();
}

#[tokio::test]
async fn full_streams_make_it_wait_not_lose() {
    let (told, telling) = oneshot::channel();
    told.send(Err(full())).unwrap();
    let replies = [Reply::Refuse(full()), Reply::When(telling), Reply::Refuse(full())];
    let Setup { mut effect, streams, registry, .. } = setup(replies);
    for offset in 0..3 {
        effect.apply(delivered(offset, &[90.0])).await.unwrap();
    }
    effect.flush(&[]).await.unwrap();
    assert_eq!(streams.sources(), ["0", "1", "2"]);
    assert!(metric(&registry, "weir_rules_append_waits_total 3"));
}

#[tokio::test]
async fn failed_streams_stop_the_consumer() {
    for error in [AppendError::Failed("disk".to_owned()), AppendError::Refused("size".to_owned())] {
        let Setup { mut effect, .. } = setup([Reply::Refuse(error.clone())]);
        let stopped = effect.apply(delivered(0, &[90.0])).await.unwrap_err();
        assert!(stopped.to_string().contains(&error.to_string()), "{stopped}");
        let (told, telling) = oneshot::channel();
        told.send(Err(error)).unwrap();
        let Setup { mut effect, .. } = setup([Reply::When(telling)]);
        effect.apply(delivered(0, &[90.0])).await.unwrap();
        effect.flush(&[]).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_flush_is_wanted_by_age_and_by_number() {
    let Setup { effect, clock, .. } = setup([]);
    let mut effect = effect.flush_every(Duration::from_secs(2));
    assert!(!effect.wants_flush(Duration::from_secs(100)));
    clock.advance(Duration::from_secs(10));
    effect.apply(delivered(0, &[20.0])).await.unwrap();
    assert!(!effect.wants_flush(Duration::from_millis(11_999)));
    assert!(effect.wants_flush(Duration::from_secs(12)));
    effect.flush(&[]).await.unwrap();
    assert!(!effect.wants_flush(Duration::from_secs(100)));
    for offset in 0..limits::RECORDS_PER_FLUSH as u64 {
        effect.apply(delivered(offset, &[20.0])).await.unwrap();
    }
    assert!(effect.wants_flush(Duration::from_secs(10)));
}

/// Runs the rules over all that `streams` hold, as the process does.
async fn consume_all(streams: &Arc<MemoryStreams>, group: &str) {
    let registry = Registry::new();
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let rules = constant(rules(&[("hot", "value > 80")]));
    let effect = RulesEffect::new(
        rules,
        streams.clone(),
        RulesMetrics::register(&registry).unwrap(),
        clock.clone(),
        Tracing::default(),
    );
    let metrics = ConsumerMetrics::register(&registry).unwrap();
    let context = Context { streams: streams.clone(), clock, metrics };
    let config = ConsumerConfig {
        group: group.into(),
        stream: StreamName::readings(),
        partitions: vec![0, 1],
        read_bytes: 1024,
        commit_interval: Duration::ZERO,
        gather: std::time::Duration::from_millis(1),
    };
    let (_stop, stopped) = watch::channel(true);
    consume::run(context, config, effect, stopped).await.unwrap();
}

#[tokio::test]
async fn a_replay_appends_the_same_records_again_in_order() {
    let specs = [StreamName::readings(), StreamName::alerts()].map(|name| StreamSpec { name, partitions: 2 });
    let streams = MemoryStreams::new(specs.to_vec(), ManualClock::new(Timestamp::from_micros(0)));
    let mut encoder = ipc::Encoder::new(schema::readings_stream()).unwrap();
    // Without identities, so that every record is delivered.
    for (partition, value) in [(0, 90.0), (1, 20.0), (0, 10.0), (1, 91.0), (0, 92.0)] {
        let reading = reading("temperature", telemetry::Value::Number(value));
        let batch = batch(&[message("d", None, vec![reading])]);
        let to = Partition::new(StreamName::readings(), partition);
        let append = Append::new(to, 1, encoder.encode(&batch).unwrap());
        streams.submit(vec![append]).await.unwrap().await.unwrap();
    }
    let mut read = Vec::new();
    // A second group is what a crash before the first commit would be.
    for group in ["rules", "rules-again", "rules"] {
        consume_all(&streams, group).await;
        read.clear();
        for partition in 0..2 {
            let from = Partition::new(StreamName::alerts(), partition);
            read.push(streams.read(&from, 0, usize::MAX).await.unwrap().records);
        }
    }
    let payloads =
        |records: &[streams::Record]| records.iter().map(|record| record.payload.clone()).collect::<Vec<_>>();
    let (first, second) = (payloads(&read[0]), payloads(&read[1]));
    assert_eq!((first.len(), second.len()), (4, 2));
    assert_eq!(first[..2], first[2..]);
    assert_eq!(second[..1], second[1..]);
    let sources: Vec<_> = first.iter().map(|one| texts(&decode(one), alert::SOURCE_OFFSET)[0].clone()).collect();
    assert_eq!(sources, ["0", "2", "0", "2"]);
    assert_eq!(texts(&decode(&second[0]), alert::MESSAGE), ["d 91"]);
}
