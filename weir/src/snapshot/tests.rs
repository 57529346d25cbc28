use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::Int32Type;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use serde_json::json;
use streams::memory::MemoryStreams;
use streams::{Append, Partition, StreamName, StreamSpec, Streams};
use telemetry::clock::ManualClock;
use telemetry::ipc::Encoder;
use telemetry::{Timestamp, schema};

use super::alerts::{MESSAGE_CHARS, NEWEST};
use super::*;

const NOW: i64 = 1_700_000_000_000_000;

/// A process that has what a test registers and appends.
struct Process {
    registry: Registry,
    clock: Arc<ManualClock>,
    streams: Arc<MemoryStreams>,
    source: Source,
}

impl Process {
    fn new(streams: &[StreamName]) -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(NOW));
        let specs = streams.iter().map(|name| StreamSpec { name: name.clone(), partitions: 2 }).collect();
        let streams = MemoryStreams::new(specs, clock.clone());
        let registry = Registry::new();
        let ready = Arc::new(|| Err("the log is full".to_owned()));
        let source = Source::new("up", registry.clone(), ready, streams.clone(), clock.clone());
        Self { registry, clock, streams, source }
    }

    fn counter(&self, name: &str, labels: &[&str], values: &[(&[&str], u64)]) {
        let counter = IntCounterVec::new(Opts::new(name, "A test"), labels).unwrap();
        for (label, value) in values {
            counter.with_label_values(label).inc_by(*value);
        }
        self.registry.register(Box::new(counter)).unwrap();
    }

    fn gauge(&self, name: &str, labels: &[&str], values: &[(&[&str], f64)]) {
        let gauge = GaugeVec::new(Opts::new(name, "A test"), labels).unwrap();
        for (label, value) in values {
            gauge.with_label_values(label).set(*value);
        }
        self.registry.register(Box::new(gauge)).unwrap();
    }

    async fn append(&self, partition: u32, alerts: &[(&str, &str)]) {
        let to = Partition::new(StreamName::alerts(), partition);
        let payload = Encoder::new(schema::alerts_stream()).unwrap().encode(&batch(alerts)).unwrap();
        let append = Append::new(to, alerts.len().try_into().unwrap(), payload);
        self.streams.submit(vec![append]).await.unwrap().await.unwrap();
        self.clock.advance(Duration::from_millis(5));
    }

    async fn alerts(&self) -> Vec<String> {
        self.source.snapshot().await.alerts.into_iter().map(|alert| alert.id).collect()
    }
}

/// Alerts of these ids and messages.
fn batch(alerts: &[(&str, &str)]) -> RecordBatch {
    let rows = alerts.len();
    let schema = schema::alerts_stream();
    let names = |value: &'static str| -> ArrayRef {
        Arc::new(std::iter::repeat_n(value, rows).collect::<DictionaryArray<Int32Type>>())
    };
    let texts = |of: fn(&(&str, &str)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(alerts.iter().map(of)))
    };
    let column = |name: &str| -> ArrayRef {
        match name {
            "alert_id" => texts(|(id, _)| (*id).to_owned()),
            "message" => texts(|(_, message)| (*message).to_owned()),
            "rule_id" => names("hot"),
            "severity" => names("warning"),
            "device_id" => names("pump-7"),
            "metric" => names("temperature"),
            "site" => names("hall-a"),
            "value" => Arc::new(Float64Array::from(vec![81.5; rows])),
            "time" | "received_at" => Arc::new(TimestampMicrosecondArray::from(vec![NOW; rows]).with_timezone("UTC")),
            "source_partition" | "source_index" => Arc::new(Int32Array::from(vec![0; rows])),
            "source_offset" => Arc::new(Int64Array::from(vec![0; rows])),
            name => new_null_array(schema.field_with_name(name).unwrap().data_type(), rows),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

#[tokio::test]
async fn a_process_without_anything_tells_just_that() {
    let snapshot = Process::new(&[]).source.snapshot().await;
    let shown = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(
        shown,
        json!({
            "time_ms": NOW / 1000, "version": env!("CARGO_PKG_VERSION"), "stage": "up",
            "ready": { "ok": false, "reason": "the log is full" }, "totals": { "rejected": {} },
            "streams": [], "groups": [], "tables": [], "rules": [], "fleet": [], "latencies": [], "alerts": [],
        })
    );
    assert_eq!(serde_json::from_value::<Snapshot>(shown).unwrap(), snapshot);
}

#[tokio::test]
async fn counts_are_summed_over_partitions_and_lag_is_the_worst() {
    let process = Process::new(&[]);
    process.counter("weir_ingest_received_readings_total", &[], &[(&[], 1000)]);
    process.counter("weir_ingest_rejected_messages_total", &["reason"], &[(&["too_long"], 3), (&["undecodable"], 0)]);
    process.counter("weir_streams_appended_records_total", &["stream"], &[(&["readings"], 7), (&["alerts"], 2)]);
    let of = &["group", "stream", "partition"];
    let at = |partition| ["rules", "readings", partition];
    process.gauge("weir_consumer_group_lag_records", of, &[(&at("0"), 2.0), (&at("1"), 3.0)]);
    process.gauge("weir_consumer_group_lag_seconds", of, &[(&at("0"), 0.5), (&at("1"), 0.25)]);
    process.counter("weir_consumer_group_read_rows_total", &["group", "stream"], &[(&["rules", "readings"], 990)]);
    let snapshot = process.source.snapshot().await;
    assert_eq!(snapshot.totals.received_readings, Some(1000));
    assert_eq!(snapshot.totals.rejected, [("too_long".to_owned(), 3), ("undecodable".to_owned(), 0)].into());
    assert_eq!((snapshot.totals.appended_records, snapshot.streams.len()), (Some(9), 2));
    let (group, stream) = ("rules".to_owned(), "readings".to_owned());
    let read = Group { group, stream, lag_records: 5, lag_seconds: 0.5, read_rows: 990, deduplicated_rows: 0 };
    assert_eq!(snapshot.groups, [read]);
}

#[tokio::test]
async fn workflows_fleet_and_balance_are_told() {
    let process = Process::new(&[]);
    process.counter("weir_workflows_firings_total", &["outcome"], &[(&["taken"], 4), (&["repeated"], 1)]);
    process.counter("weir_workflows_runs_total", &["state"], &[(&["done"], 3)]);
    process.gauge("weir_workflows_open_runs", &["state"], &[(&["pending"], 1.0), (&["dead"], 2.0)]);
    process.gauge("weir_workflows_breaker_state", &["target"], &[(&["webhook a"], 2.0), (&["webhook b"], 0.0)]);
    process.gauge("weir_workflows_pending", &["target"], &[(&["webhook a"], 6.0)]);
    let pair = &["metric", "site"];
    process.counter("weir_fleet_readings_total", pair, &[(&["temperature", "yard"], 60)]);
    process.gauge("weir_fleet_value_mean", pair, &[(&["temperature", "yard"], 20.5)]);
    process.gauge("weir_fleet_value_max", pair, &[(&["temperature", "yard"], f64::NAN)]);
    process.gauge("weir_fleet_devices", &["state"], &[(&["active"], 10.0), (&["silent"], 1.0)]);
    process.gauge("weir_balance_readings", &["part"], &[(&["received"], 60.0), (&["in_flight"], -1.0)]);
    process.gauge("weir_balance_difference_readings", &[], &[(&[], 0.0)]);
    let snapshot = process.source.snapshot().await;
    let workflows = snapshot.workflows.clone().unwrap();
    assert_eq!((workflows.firings, workflows.open_runs, workflows.dead_runs), (5, 1, 2));
    let states: Vec<_> = workflows
        .breakers
        .iter()
        .map(|breaker| (breaker.target.as_str(), breaker.state.as_str(), breaker.pending))
        .collect();
    assert_eq!(states, [("webhook a", "open", 6), ("webhook b", "closed", 0)]);
    let [fleet] = snapshot.fleet.as_slice() else { panic!("{:?}", snapshot.fleet) };
    assert_eq!((fleet.readings, fleet.mean, fleet.max), (60, Some(20.5), None));
    assert_eq!(snapshot.devices, Some(Devices { active: 10, silent: 1 }));
    let balance = snapshot.balance.clone().unwrap();
    assert_eq!((balance.readings["received"], balance.readings["in_flight"]), (60, -1));
    assert_eq!((balance.difference_readings, balance.difference_messages), (Some(0), None));
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
}

#[tokio::test]
async fn tables_rules_and_latencies_are_told_by_their_names() {
    let process = Process::new(&[]);
    process.counter("weir_sink_committed_rows_total", &["table"], &[(&["readings"], 50)]);
    process.counter("weir_sink_committed_files_total", &["table"], &[(&["readings"], 2)]);
    process.counter("weir_rules_matches_total", &["rule"], &[(&["hot"], 5)]);
    process.counter("weir_rules_errors_total", &["rule"], &[(&["hot"], 1), (&["odd"], 2)]);
    let buffered = IntGaugeVec::new(Opts::new("weir_sink_buffered_rows", "A test"), &["table"]).unwrap();
    buffered.with_label_values(&["readings"]).set(9);
    process.registry.register(Box::new(buffered)).unwrap();
    let options = HistogramOpts::new("weir_sink_freshness_seconds", "A test").buckets(vec![0.1, 1.0]);
    let freshness = HistogramVec::new(options, &["table"]).unwrap();
    for seconds in [0.05, 0.5, 5.0] {
        freshness.with_label_values(&["readings"]).observe(seconds);
    }
    process.registry.register(Box::new(freshness)).unwrap();
    let snapshot = process.source.snapshot().await;
    let [table] = snapshot.tables.as_slice() else { panic!("{:?}", snapshot.tables) };
    assert_eq!((table.rows, table.files, table.bytes, table.buffered_rows), (50, 2, 0, 9));
    let rules: Vec<_> = snapshot.rules.iter().map(|rule| (rule.rule.as_str(), rule.matches, rule.errors)).collect();
    assert_eq!(rules, [("hot", 5, 1), ("odd", 0, 2)]);
    let hop = Latency { hop: "table/readings".to_owned(), count: 3, buckets: vec![(0.1, 1), (1.0, 2)] };
    assert_eq!(snapshot.latencies, [hop]);
}

#[tokio::test]
async fn the_newest_alerts_of_all_partitions_come_first() {
    let process = Process::new(&[StreamName::readings(), StreamName::alerts()]);
    process.append(0, &[("a", "1"), ("b", "2")]).await;
    process.append(1, &[("c", &"x".repeat(MESSAGE_CHARS + 1))]).await;
    let snapshot = process.source.snapshot().await;
    let [c, b, _] = snapshot.alerts.as_slice() else { panic!("{:?}", snapshot.alerts) };
    assert_eq!((c.id.as_str(), b.id.as_str()), ("c", "b"));
    assert_eq!((c.time_ms, b.time_ms), (NOW / 1000 + 5, NOW / 1000));
    assert_eq!((b.rule.as_str(), b.severity.as_str(), b.device.as_str()), ("hot", "warning", "pump-7"));
    assert_eq!((b.metric.as_str(), b.site.as_deref(), b.value), ("temperature", Some("hall-a"), Some(81.5)));
    assert_eq!((b.message.as_str(), c.message.chars().count()), ("2", MESSAGE_CHARS));

    process.append(0, &[("d", "4")]).await;
    assert_eq!(process.alerts().await, ["d", "c", "b", "a"]);
    // Appended again after a crash.
    process.append(0, &[("b", "2")]).await;
    assert_eq!(process.alerts().await, ["d", "c", "b", "a"]);
}

#[tokio::test]
async fn a_storm_of_alerts_shows_its_end() {
    let process = Process::new(&[StreamName::alerts()]);
    for record in 0..2 * NEWEST {
        process.append(0, &[(&format!("{record}-0"), ""), (&format!("{record}-1"), "")]).await;
    }
    let shown = process.alerts().await;
    assert_eq!((shown.len(), shown[0].as_str()), (NEWEST, "99-1"));
    assert_eq!(shown.last().unwrap(), "75-0");
    let payload = b"no record".as_slice().into();
    let append = Append::new(Partition::new(StreamName::alerts(), 1), 1, payload);
    process.streams.submit(vec![append]).await.unwrap().await.unwrap();
    assert_eq!(process.alerts().await, shown, "what cannot be read is left out");
}
