//! Streams on a Fluvio cluster. Each test has topics of its own and deletes them.
//!
//! `WEIR_FLUVIO_REPLICATION=2` for a cluster of two servers; `WEIR_FLUVIO_TLS=FOLDER` for one that asks for certificates, with
//! `ca.pem`, `client.pem` and `client.key`, and servers that are called `fluvio.test` and `NAME.fluvio.test`.

mod load;
mod records;
mod tls;
mod traces;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use prometheus::Registry;
use streams::fluvio::{FluvioConfig, FluvioMetrics, FluvioStreams, Tls};
use streams::{Append, Error, Partition, Position, Record, StreamName, StreamSpec, Streams, conformance};
use telemetry::Timestamp;
use telemetry::clock::SystemClock;
use telemetry::trace::Tracing;

/// A cluster, with topics that nobody else has.
fn cluster() -> FluvioConfig {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let started = SystemClock::shared().now().as_micros() / 1000 % 1_000_000_000;
    FluvioConfig {
        endpoint: std::env::var("WEIR_FLUVIO").expect("WEIR_FLUVIO=host:port"),
        topic_prefix: format!("t{started}-{}-{}-", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed)),
        replication: std::env::var("WEIR_FLUVIO_REPLICATION").map_or(1, |replicas| replicas.parse().unwrap()),
        retention: Duration::from_secs(3600),
        timeout: Duration::from_secs(5),
        lease: Duration::from_secs(5),
        owner: "a test".to_owned(),
        record_bytes: 16 * 1024 * 1024,
        queue_bytes: 32 * 1024 * 1024,
        tls: std::env::var("WEIR_FLUVIO_TLS").ok().map(|folder| {
            let file = |name: &str| std::path::Path::new(&folder).join(name);
            let (ca, certificate, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
            Tls { domain: "fluvio.test".to_owned(), ca, certificate, key }
        }),
    }
}

/// The streams as one process has them, and what it counts.
async fn process(config: &FluvioConfig, specs: Vec<StreamSpec>) -> (Arc<FluvioStreams>, Registry) {
    process_traced(config, specs, Tracing::default()).await
}

async fn process_traced(
    config: &FluvioConfig,
    specs: Vec<StreamSpec>,
    tracing: Tracing,
) -> (Arc<FluvioStreams>, Registry) {
    let registry = Registry::new();
    let metrics = FluvioMetrics::register(&registry).unwrap();
    let streams = FluvioStreams::connect(config.clone(), specs, SystemClock::shared(), tracing, metrics).await.unwrap();
    (streams, registry)
}

fn readings(partitions: u32) -> Vec<StreamSpec> {
    vec![StreamSpec { name: StreamName::readings(), partitions }]
}

fn partition(index: u32) -> Partition {
    Partition::new(StreamName::readings(), index)
}

fn append(to: &Partition, payload: impl Into<bytes::Bytes>) -> Append {
    Append::new(to.clone(), 1, payload.into())
}

/// Sum of a metric over its labels.
fn count(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    family.map_or(0.0, |family| family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn fluvio_conforms() {
    let opened = std::sync::Mutex::new(Vec::new());
    conformance::run(async || {
        let (streams, _) = process(&cluster(), conformance::specs()).await;
        opened.lock().unwrap().push(streams.clone());
        streams
    })
    .await;
    let opened = opened.into_inner().unwrap();
    assert_eq!(opened.len(), conformance::CASES.len());
    for streams in opened {
        streams.delete_topics().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn another_process_goes_on_where_one_stopped() {
    let config = cluster();
    let group = "rules".into();
    let (first, _) = process(&config, readings(2)).await;
    assert_eq!(first.submit(vec![append(&partition(1), "a")]).await.unwrap().await, Ok(vec![0]));
    let position = Position { offset: 1, state: "state".into() };
    first.claim(&group, &[partition(1)]).await.unwrap();
    first.commit(&group, vec![(partition(1), position.clone())]).await.unwrap();
    let (second, _) = process(&config, readings(2)).await;
    let refused = second.claim(&group, &[partition(1)]).await;
    assert!(matches!(refused, Err(Error::Owned { .. })), "{refused:?}");
    first.close().await.unwrap();
    second.claim(&group, &[partition(1)]).await.unwrap();
    assert_eq!(second.position(&group, &partition(1)).await.unwrap(), Some(position));
    assert_eq!(second.submit(vec![append(&partition(1), "b")]).await.unwrap().await, Ok(vec![1]));
    second.close().await.unwrap();
    second.delete_topics().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn what_one_process_appends_is_announced_to_another() {
    let config = cluster();
    let (writes, _) = process(&config, readings(1)).await;
    let (reads, _) = process(&config, readings(1)).await;
    let mut next = 0;
    for n in 0..100_u64 {
        assert!(reads.read(&partition(0), next, 100).await.unwrap().records.is_empty());
        let mut appended = reads.appended();
        let ticket = writes.submit(vec![append(&partition(0), n.to_string())]).await.unwrap();
        assert_eq!(ticket.await, Ok(vec![n]));
        while reads.bounds(&partition(0)).unwrap().end == next {
            tokio::time::timeout(Duration::from_secs(60), appended.changed()).await.unwrap().unwrap();
        }
        let read = reads.read(&partition(0), next, 100).await.unwrap();
        assert_eq!(read.records.len(), 1);
        assert_eq!(read.records[0].payload, n.to_string());
        next = read.next;
    }
    writes.delete_topics().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn another_number_of_partitions_is_refused() {
    let config = cluster();
    let (streams, _) = process(&config, readings(2)).await;
    let metrics = FluvioMetrics::register(&Registry::new()).unwrap();
    let refused = FluvioStreams::connect(config, readings(3), SystemClock::shared(), Tracing::default(), metrics).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("has 2 partitions") && refused.contains("asks for 3"), "{refused}");
    streams.delete_topics().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn records_moved_twice_are_there_once() {
    let config = cluster();
    let record = |offset: u64| Record {
        offset,
        appended_at: Timestamp::from_micros(i64::try_from(offset).unwrap() * 1000),
        rows: 3,
        payload: format!("record {offset}").into(),
    };
    let (streams, _) = process(&config, readings(1)).await;
    streams.set_base(&partition(0), 100).await.unwrap();
    assert_eq!(streams.import(&partition(0), Vec::new()).await.unwrap(), 100);
    assert_eq!(streams.import(&partition(0), (100..150).map(record).collect()).await.unwrap(), 150);
    drop(streams);
    let (streams, _) = process(&config, readings(1)).await;
    // 160 to 169 were lost where they come from.
    let rest: Vec<_> = (120..160).chain(170..200).map(record).collect();
    assert_eq!(streams.import(&partition(0), rest).await.unwrap(), 200);
    assert_eq!(streams.bounds(&partition(0)).unwrap(), 100..200);
    let read = streams.read(&partition(0), 100, usize::MAX).await.unwrap();
    assert_eq!((read.next, read.lost), (200, 10));
    assert_eq!(read.records, (100..160).chain(170..200).map(record).collect::<Vec<_>>());
    let group = "rules".into();
    streams.claim(&group, &[partition(0)]).await.unwrap();
    streams.commit(&group, vec![(partition(0), Position { offset: 155, ..Position::default() })]).await.unwrap();
    let read = streams.read(&partition(0), 155, 1).await.unwrap();
    assert_eq!((read.records, read.next), (vec![record(155)], 156));
    assert_eq!(streams.submit(vec![append(&partition(0), "new")]).await.unwrap().await, Ok(vec![200]));
    assert_eq!(streams.read(&partition(0), 200, 1).await.unwrap().records[0].payload, "new");
    streams.delete_topics().await.unwrap();
}
