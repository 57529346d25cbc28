//! What is opened, in which order, and what each role does of it.

use std::path::Path;

use ingest::Incoming;
use processors::workflows::target::{Command, CommandError, Devices};
use streams::{Partition, StreamName};
use telemetry::clock::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::devices::Elsewhere;
use super::*;
use crate::ports::free_address;
use crate::verify;

const RULES: &str = "[[rule]]\nid = \"hot\"\nwhen = \"value > 80\"\nseverity = \"warning\"\nmessage = \"{value}\"\n";

fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.data.dir = dir.to_owned();
    config.streams.partitions = 4;
    config.streams.emit = vec!["maintenance".to_owned()];
    (config.mqtt.listen, config.http.listen) = (free_address().unwrap(), free_address().unwrap());
    config
}

async fn open(config: &Config) -> Backend {
    Backend::open(config, "test", true, &Registry::new(), SystemClock::shared()).await.unwrap()
}

/// Waits until nobody has the log: the last task that did ends a moment after the stop.
async fn closed(config: &Config) {
    let open = async || Backend::open(config, "test", true, &Registry::new(), SystemClock::shared()).await;
    until("the log is closed", async || match open().await {
        Ok(backend) => backend.close().await.is_ok(),
        Err(_) => false,
    })
    .await;
}

/// Opens the consumers of `role`, and says where each group stands then.
async fn positions_of(config: &Config, role: &Role) -> Vec<String> {
    closed(config).await;
    let (registry, backend) = (Registry::new(), open(config).await);
    let metrics = ConsumerMetrics::register(&registry).unwrap();
    let context = consume::Context { streams: backend.streams(), clock: SystemClock::shared(), metrics };
    let rules = Some(watch::channel(Arc::new(RuleSet::empty())).1);
    let groups = Groups::of(config, role).unwrap();
    let around = Surroundings { config, role, rules, registry: &registry, reach: Reach::Elsewhere };
    drop(Consumers::open(groups, around, context).await.unwrap());
    let groups = backend.streams().groups().await.unwrap();
    backend.close().await.unwrap();
    groups.iter().map(|at| format!("{} {} {}", at.group, at.partition, at.offset)).collect()
}

/// Starts `role` on ports of its own, once the one before has let go of the log.
async fn start(config: &Config, rules: &str, role: Role) -> Pipeline {
    closed(config).await;
    let mut config = config.clone();
    (config.mqtt.listen, config.http.listen) = (free_address().unwrap(), free_address().unwrap());
    let rules = RuleSet::parse(rules, "test").unwrap();
    let started = Pipeline::start(&config, rules, &role, SystemClock::shared(), std::future::pending()).await;
    started.unwrap().unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn every_group_holds_the_log_before_anything_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let positions = positions_of(&config, &Role::up(Behind::Everything)).await;
    for (group, stream) in [
        ("rules", "readings"),
        ("workflows", "workflows"),
        ("sink/maintenance", "maintenance"),
        ("sink/readings", "readings"),
        ("sink/alerts", "alerts"),
    ] {
        for index in 0..config.streams.partitions {
            let position = format!("{group} {stream}/{index} 0");
            assert!(positions.contains(&position), "{position}: {positions:?}");
        }
    }
}

#[tokio::test]
async fn a_stage_opens_its_own_groups_in_its_own_partitions() {
    let (beginning, half) = (Beginning::First, Assignment::Instance("1/2".parse().unwrap()));
    let positions = async |role: Role| {
        let dir = tempfile::tempdir().unwrap();
        positions_of(&config(dir.path()), &role).await
    };
    assert_eq!(positions(Role::ingest()).await, [""; 0]);
    let rules = positions(Role::process(half.clone(), beginning)).await;
    assert_eq!(rules, ["rules readings/1 0", "rules readings/3 0"]);
    let list = Assignment::Listed("0,2-3".parse().unwrap());
    let tables = Tables::Named(vec!["maintenance".to_owned()]);
    let sink = positions(Role::sink(tables, list, beginning)).await;
    assert_eq!(
        sink,
        ["sink/maintenance maintenance/0 0", "sink/maintenance maintenance/2 0", "sink/maintenance maintenance/3 0"]
    );
    let workflows = positions(Role::workflows(half, beginning)).await;
    assert_eq!(
        workflows,
        [
            "workflows workflows/1 0",
            "workflows workflows/3 0",
            "workflows/emit maintenance/1 0",
            "workflows/emit maintenance/3 0",
            "workflows/emit/1 workflow_dead_letters/0 0"
        ]
    );
}

#[tokio::test]
async fn a_new_group_begins_where_it_is_told_and_an_old_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.streams.partitions = 1;
    let door = start(&config, "", Role::ingest()).await;
    for value in 0..3 {
        publish(&door, &format!(r#"[{{"n":"temperature","v":{value}}}]"#)).await;
    }
    door.stop().await.unwrap();
    let at = async |from| positions_of(&config, &Role::process(Assignment::All, from)).await;
    assert_eq!(at(Beginning::Now).await, ["rules readings/0 3"]);
    assert_eq!(at(Beginning::First).await, ["rules readings/0 3"], "it has a position");
}

async fn publish(door: &Pipeline, payload: &str) {
    let intake = door.door.as_ref().unwrap().ingest.intake();
    let (topic, payload, client_id) = ("hall/pump-1/telemetry", payload.as_bytes(), "pump-1");
    let incoming = Incoming { topic, payload, identity: None, client_id, traceparent: None };
    let receipt = intake.accept(&incoming).unwrap();
    assert!(!receipt.is_refused());
    intake.durable(receipt.group).await.unwrap();
}

/// One stage at a time over one log: none needs another to run.
#[tokio::test]
async fn stages_apart_pass_on_what_the_one_before_left() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (all, first) = (Assignment::All, Beginning::First);

    let door = start(&config, "", Role::ingest()).await;
    for value in 70..90 {
        publish(&door, &format!(r#"[{{"n":"temperature","v":{value}}}]"#)).await;
    }
    assert!(get(door.http, "/readyz").await.starts_with("HTTP/1.1 200"));
    for (path, says) in [
        ("rules", "no rules run in this process: ask one of `weir process`"),
        ("dlq?source=workflows", "letters of workflows are not in this process"),
        ("dlq/workflow-0-0", "letters of workflows are not in this process"),
    ] {
        let answer = get(door.http, &format!("/api/v1/{path}")).await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains(says), "{path}: {answer}");
    }
    assert!(get(door.http, "/api/v1/dlq").await.contains("\"letters\":[]"));
    door.stop().await.unwrap();

    let rules = start(&config, RULES, Role::process(all.clone(), first)).await;
    assert!(rules.mqtt.is_none() && rules.door.is_none());
    assert!(get(rules.http, "/api/v1/rules").await.contains("\"id\":\"hot\""));
    let dlq = get(rules.http, "/api/v1/dlq").await;
    assert!(dlq.starts_with("HTTP/1.1 404") && dlq.contains("ask one of `weir ingest` or `weir workflows`"), "{dlq}");
    let alerts = async |pipeline: &Pipeline| {
        let alerts = |index| pipeline.backend.streams().bounds(&Partition::new(StreamName::alerts(), index)).unwrap();
        (0..config.streams.partitions).map(|index| alerts(index).end).sum::<u64>()
    };
    until("alerts are appended", async || alerts(&rules).await > 0).await;
    rules.stop().await.unwrap();

    let sink = start(&config, "", Role::sink(Tables::All, all, first)).await;
    // The tables would wait a minute for more: what is read is written by the stop.
    let read = || {
        let families = sink.registry.gather();
        let rows = families.iter().find(|family| family.name() == "weir_consumer_group_read_rows_total");
        rows.map_or(0.0, |rows| rows.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum::<f64>())
    };
    until("all is read", async || read() == 29.0).await;
    sink.stop().await.unwrap();
    assert_eq!(verify::rows(&table(&config, "readings")).unwrap(), 20);
    assert_eq!(verify::rows(&table(&config, "alerts")).unwrap(), 9);
}

#[tokio::test]
async fn a_damaged_table_is_found_before_the_port_listens() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let commits = table(&config, "readings").join("_delta_log");
    std::fs::create_dir_all(&commits).unwrap();
    std::fs::write(commits.join("00000000000000000000.json"), "no commit\n").unwrap();
    let (role, never) = (Role::up(Behind::Everything), std::future::pending());
    let started = Pipeline::start(&config, RuleSet::empty(), &role, SystemClock::shared(), never).await;
    assert!(started.is_err());
    // Nobody has the port: had the door been open, its thread would still hold it.
    assert!(std::net::TcpListener::bind(config.mqtt.listen).is_ok());
    closed(&config).await;
}

#[tokio::test]
async fn a_stop_before_the_start_is_done_leaves_nothing_open() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (role, now) = (Role::up(Behind::Everything), std::future::ready(Ok(())));
    let started = Pipeline::start(&config, RuleSet::empty(), &role, SystemClock::shared(), now).await;
    // Which of both is first is not said.
    if let Some(pipeline) = started.unwrap() {
        pipeline.stop().await.unwrap();
    }
    closed(&config).await;
}

#[tokio::test]
async fn commands_to_devices_of_another_process_are_refused_with_the_way_out() {
    let command = Command {
        topic: "hall/pump-1/commands".into(),
        payload: b"{}".as_slice().into(),
        key: "k".into(),
        expiry: Duration::from_secs(60),
        trace: None,
    };
    let Err(CommandError::Refused(why)) = Elsewhere.send(command).await else { panic!("it was taken") };
    assert!(why.contains("`broker`") && why.contains("`weir up`"), "{why}");
}

#[cfg(not(feature = "fluvio"))]
#[tokio::test]
async fn a_binary_without_the_feature_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.streams.backend = crate::config::Backend::Fluvio;
    let opened = Backend::open(&config, "test", true, &Registry::new(), SystemClock::shared()).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("feature `fluvio`") && error.contains("embedded"), "{error}");
}
