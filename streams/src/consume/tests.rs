use std::borrow::Cow;
use std::sync::Mutex;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use prometheus::Registry;
use telemetry::batch::ReadingsBuilder;
use telemetry::clock::SystemClock;
use telemetry::ipc::Encoder;
use telemetry::schema::{self, reading};
use telemetry::trace::{Context as Trace, SpanId, TraceId};
use telemetry::{Identity, Message, Reading, Timestamp, Value};

use super::*;
use crate::contract::{Append, StreamSpec};
use crate::memory::MemoryStreams;

const PARTITIONS: u32 = 2;

fn context() -> Context {
    let clock = SystemClock::shared();
    let specs = vec![StreamSpec { name: StreamName::readings(), partitions: PARTITIONS }];
    let metrics = ConsumerMetrics::register(&Registry::new()).unwrap();
    Context { streams: MemoryStreams::new(specs, clock.clone()), clock, metrics }
}

fn config() -> ConsumerConfig {
    ConsumerConfig {
        group: "test".into(),
        stream: StreamName::readings(),
        partitions: (0..PARTITIONS).collect(),
        read_bytes: 1,
        commit_interval: Duration::from_millis(1),
        gather: std::time::Duration::from_millis(1),
    }
}

/// Appends one record to `partition`: messages of device `d` with these sequence numbers, two rows each.
async fn append(context: &Context, partition: u32, seqs: &[i64]) {
    append_traced(context, partition, seqs, &[]).await;
}

async fn append_traced(context: &Context, partition: u32, seqs: &[i64], contexts: &[RowContext]) {
    let mut builder = ReadingsBuilder::default();
    for seq in seqs {
        let reading = Reading {
            metric: Cow::Borrowed("m"),
            time: Timestamp::from_micros(0),
            value: Value::Number(0.0),
            unit: None,
        };
        let message = Message {
            device_id: Cow::Owned(format!("d{partition}")),
            site: None,
            identity: Some(Identity { boot: 1, seq: *seq }),
            readings: vec![reading.clone(), reading],
            ignored_fields: 0,
        };
        builder.push(&message, Timestamp::from_micros(0));
    }
    let batch = builder.finish();
    let rows = u32::try_from(batch.num_rows()).unwrap();
    let payload = Encoder::new(schema::readings_stream()).unwrap().encode_traced(&batch, contexts).unwrap();
    let to = Partition::new(StreamName::readings(), partition);
    context.streams.submit(vec![Append::new(to, rows, payload)]).await.unwrap().await.unwrap();
}

/// What an effect did, as its own store would have it after a crash.
#[derive(Debug, Default)]
struct Store {
    /// Partition and sequence number of every flushed row, in order.
    rows: Vec<(u32, i64)>,
    passed: Vec<Passed>,
    flushes: usize,
}

/// Keeps rows until a flush; keeps its position with them if `own_position`.
struct Collect {
    store: Arc<Mutex<Store>>,
    pending: Vec<(u32, i64)>,
    own_position: bool,
    flush_every: usize,
    fail_on_flush: Option<usize>,
}

impl Collect {
    fn new(store: &Arc<Mutex<Store>>, own_position: bool) -> Self {
        Self { store: store.clone(), pending: Vec::new(), own_position, flush_every: 1, fail_on_flush: None }
    }
}

#[async_trait]
impl Effect for Collect {
    async fn apply(&mut self, delivered: Delivered) -> Result<(), EffectError> {
        let seqs = delivered.batch.column(reading::SEQ).as_primitive::<Int64Type>();
        self.pending.extend(seqs.values().iter().map(|seq| (delivered.partition, *seq)));
        Ok(())
    }

    fn wants_flush(&self, _now: Duration) -> bool {
        self.pending.len() >= self.flush_every
    }

    async fn flush(&mut self, passed: &[Passed]) -> Result<(), EffectError> {
        let mut store = self.store.lock().unwrap();
        if self.fail_on_flush == Some(store.flushes) {
            return Err(EffectError::new("flush", "the disk is full"));
        }
        store.flushes += 1;
        store.rows.append(&mut self.pending);
        store.passed = passed.to_vec();
        Ok(())
    }

    fn recovered(&self, partition: u32) -> Option<u64> {
        let store = self.store.lock().unwrap();
        let passed = store.passed.iter().find(|passed| passed.partition == partition)?;
        self.own_position.then_some(passed.next)
    }
}

/// Runs until everything appended so far is passed.
async fn drain(context: &Context, effect: Collect) -> Result<(), ConsumeError> {
    run(context.clone(), config(), effect, watch::channel(true).1).await
}

fn rows(store: &Arc<Mutex<Store>>, partition: u32) -> Vec<i64> {
    store.lock().unwrap().rows.iter().filter(|row| row.0 == partition).map(|row| row.1).collect()
}

#[tokio::test]
async fn every_row_once_and_in_order_and_a_stop_drains() {
    let (context, store) = (context(), Arc::default());
    append(&context, 0, &[0, 1]).await;
    append(&context, 1, &[0]).await;
    append(&context, 0, &[1, 2, 2]).await;
    drain(&context, Collect::new(&store, false)).await.unwrap();
    assert_eq!(rows(&store, 0), [0, 0, 1, 1, 2, 2]);
    assert_eq!(rows(&store, 1), [0, 0]);
    let labels = ["test", "readings"];
    assert_eq!(context.metrics.deduplicated_messages.with_label_values(&labels).get(), 2);
    assert_eq!(context.metrics.deduplicated_rows.with_label_values(&labels).get(), 4);
}

#[tokio::test]
async fn a_restart_goes_on_from_the_position_and_remembers_what_was_seen() {
    let (context, store) = (context(), Arc::default());
    append(&context, 0, &[0, 1]).await;
    drain(&context, Collect::new(&store, false)).await.unwrap();
    append(&context, 0, &[0, 1, 2]).await;
    drain(&context, Collect::new(&store, false)).await.unwrap();
    assert_eq!(rows(&store, 0), [0, 0, 1, 1, 2, 2]);
    let position = context.streams.position(&"test".into(), &Partition::new(StreamName::readings(), 0)).await;
    assert_eq!(position.unwrap().unwrap().offset, 2);
}

#[tokio::test]
async fn an_effect_ahead_of_its_position_is_not_given_the_same_twice_but_its_duplicates_are_known() {
    let (context, store) = (context(), Arc::<Mutex<Store>>::default());
    append(&context, 0, &[0]).await;
    append(&context, 0, &[1]).await;
    // The table has both records, the position was never committed: a crash between the two.
    store.lock().unwrap().passed = vec![Passed { partition: 0, next: 2 }];
    append(&context, 0, &[1, 2]).await;
    drain(&context, Collect::new(&store, true)).await.unwrap();
    assert_eq!(rows(&store, 0), [2, 2]);
}

#[tokio::test]
async fn partitions_of_others_are_left_alone() {
    let (context, store) = (context(), Arc::default());
    append(&context, 0, &[0]).await;
    append(&context, 1, &[1]).await;
    let config = ConsumerConfig { partitions: vec![1], ..config() };
    run(context.clone(), config, Collect::new(&store, false), watch::channel(true).1).await.unwrap();
    assert_eq!((rows(&store, 0), rows(&store, 1)), (vec![], vec![1, 1]));
    let groups: Vec<_> = context.streams.groups().await.unwrap().iter().map(|at| at.partition.index).collect();
    assert_eq!(groups, [1]);
}

#[tokio::test]
async fn a_failed_flush_stops_with_the_group_and_moves_no_position() {
    let (context, store) = (context(), Arc::default());
    append(&context, 0, &[0]).await;
    let effect = Collect { fail_on_flush: Some(0), ..Collect::new(&store, false) };
    let error = drain(&context, effect).await.unwrap_err().to_string();
    assert_eq!(error, "consumer group test: flush: the disk is full");
    drain(&context, Collect::new(&store, false)).await.unwrap();
    assert_eq!(rows(&store, 0), [0, 0]);
}

#[tokio::test]
async fn an_output_that_does_not_belong_to_the_stream_is_refused() {
    let (context, store) = (context(), Arc::<Mutex<Store>>::default());
    append(&context, 1, &[0]).await;
    store.lock().unwrap().passed = vec![Passed { partition: 1, next: 7 }];
    let error = drain(&context, Collect::new(&store, true)).await.unwrap_err().to_string();
    assert!(error.contains("readings/1: the output stands at offset 7, the stream holds 0..1"), "{error}");
}

#[tokio::test]
async fn the_position_moves_past_what_was_seen_before() {
    let (context, store) = (context(), Arc::default());
    append(&context, 0, &[0]).await;
    let (stop, stopped) = watch::channel(false);
    let consumer = tokio::spawn(run(context.clone(), config(), Collect::new(&store, false), stopped));
    let place = Partition::new(StreamName::readings(), 0);
    for seq in [0, 0] {
        append(&context, 0, &[seq]).await;
    }
    let (group, mut offset) = ("test".into(), 0);
    while offset < 3 {
        tokio::task::yield_now().await;
        offset = context.streams.position(&group, &place).await.unwrap().map_or(0, |position| position.offset);
    }
    assert_eq!(rows(&store, 0), [0, 0]);
    stop.send_replace(true);
    consumer.await.unwrap().unwrap();
}

/// Keeps contexts, by the sequence number of the row that they are at.
struct Traced(Arc<Mutex<Vec<(i64, Trace)>>>);

#[async_trait]
impl Effect for Traced {
    async fn apply(&mut self, delivered: Delivered) -> Result<(), EffectError> {
        let batch = &delivered.batch;
        let (seqs, rows) = (batch.column(reading::SEQ), batch.column(reading::ROW).as_primitive::<Int32Type>());
        for RowContext { row, context } in delivered.contexts {
            let row = usize::try_from(row).unwrap();
            assert_eq!(rows.value(row), 0, "a message begins there");
            self.0.lock().unwrap().push((seqs.as_primitive::<Int64Type>().value(row), context));
        }
        Ok(())
    }

    fn wants_flush(&self, _now: Duration) -> bool {
        false
    }

    async fn flush(&mut self, _passed: &[Passed]) -> Result<(), EffectError> {
        Ok(())
    }

    fn recovered(&self, _partition: u32) -> Option<u64> {
        None
    }
}

#[tokio::test]
async fn contexts_go_with_their_messages_and_those_of_repeated_ones_are_left_out() {
    let (context, found) = (context(), Arc::<Mutex<Vec<_>>>::default());
    let trace = |number: u64| Trace { trace: TraceId(u128::from(number)), span: SpanId(number) };
    let at = |row, number| RowContext { row, context: trace(number) };
    append(&context, 0, &[0, 1]).await;
    // Two rows a message: 1 is a repetition, and no row 40 is there.
    append_traced(&context, 0, &[1, 2, 0, 3], &[at(0, 10), at(2, 20), at(6, 30), at(40, 40)]).await;
    append_traced(&context, 1, &[0, 1], &[at(2, 50)]).await;
    run(context.clone(), config(), Traced(found.clone()), watch::channel(true).1).await.unwrap();
    found.lock().unwrap().sort_unstable();
    assert_eq!(*found.lock().unwrap(), [(1, trace(50)), (2, trace(20)), (3, trace(30))]);
}

/// Lag of partition 1 as it is first told by a consumer that is opened now.
async fn first_lag(context: &Context) -> (Lag, i64) {
    let store = Arc::default();
    let consumer = Consumer::open(context.clone(), config(), Collect::new(&store, false)).await.unwrap();
    let lag = Lag::new(context.clone(), config(), consumer.lanes.iter().map(Lane::passed));
    let records = lag_of(context, &lag);
    (lag, records)
}

fn lag_of(context: &Context, lag: &Lag) -> i64 {
    lag.report_once();
    context.metrics.lag_records.with_label_values(&["test", "readings", "1"]).get()
}

#[tokio::test]
async fn lag_counts_what_is_not_applied() {
    let context = context();
    append(&context, 1, &[0]).await;
    let (lag, records) = first_lag(&context).await;
    assert_eq!(records, 1);
    lag.passed(1, 1, Timestamp::from_micros(0));
    assert_eq!(lag_of(&context, &lag), 0);
    assert!(context.metrics.lag_seconds.with_label_values(&["test", "readings", "1"]).get() == 0.0);
}

#[tokio::test]
async fn lag_after_a_restart_is_what_is_behind_the_position() {
    let (context, store) = (context(), Arc::default());
    append(&context, 1, &[0]).await;
    drain(&context, Collect::new(&store, false)).await.unwrap();
    assert_eq!(first_lag(&context).await.1, 0);
    append(&context, 1, &[1]).await;
    assert_eq!(first_lag(&context).await.1, 1);
}
