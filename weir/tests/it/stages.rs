//! Stages as processes of their own.
//!
//! Those over a cluster are ignored: `WEIR_FLUVIO=host:port cargo test -p weir --test it stages:: -- --ignored`. Each has
//! topics of its own, which stay until their retention ends.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::process::{free_address, last_json, parquet_files, pause, until, weir};

const RULES: &str = "[[rule]]\nid = \"warm\"\nwhen = \"metric = 'temperature'\"\nseverity = \"info\"\n\
                     message = \"{value}\"\ncooldown = \"1s\"\n[[rule.step]]\nemit = \"maintenance\"\n";

/// Readings in a message of the simulated fleet.
const READINGS: usize = 5;

/// What a set of stages has in common.
struct Plant {
    directory: tempfile::TempDir,
    endpoint: String,
    prefix: String,
}

impl Plant {
    /// Stages over the cluster of `WEIR_FLUVIO`, with topics of their own.
    fn new(name: &str) -> Self {
        let endpoint = std::env::var("WEIR_FLUVIO").expect("WEIR_FLUVIO=host:port of a cluster's controller");
        Self::at(endpoint, name)
    }

    fn at(endpoint: String, name: &str) -> Self {
        let prefix = format!("{name}-{}-", std::process::id());
        Self { directory: tempfile::tempdir().unwrap(), endpoint, prefix }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `weir` with the settings of all stages.
    fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = weir();
        command.args(arguments).env("WEIR_STREAMS__BACKEND", "fluvio");
        command.env("WEIR_FLUVIO__ENDPOINT", &self.endpoint).env("WEIR_FLUVIO__TOPIC_PREFIX", &self.prefix);
        command.env("WEIR_FLUVIO__LEASE_SECONDS", "8.0").env("WEIR_STREAMS__EMIT", "[\"maintenance\"]");
        command.env("WEIR_STREAMS__PARTITIONS", "4");
        command.env("WEIR_SINK__ROLL_AGE_SECONDS", "0.5").env("WEIR_CONSUMERS__COMMIT_INTERVAL_SECONDS", "0.5");
        command
    }

    /// Starts a stage with data in `data`.
    fn stage(&self, data: &str, arguments: &[&str]) -> Stage {
        let http = free_address();
        let mut command = self.weir(arguments);
        command.arg("--data").arg(self.path(data)).args(["--http", &http.to_string()]).stderr(Stdio::piped());
        Stage { child: command.spawn().unwrap(), http }
    }

    /// Runs a stage that is expected to end by itself.
    fn ended(&self, data: &str, arguments: &[&str]) -> Output {
        self.stage(data, arguments).ended()
    }

    fn verify(&self, ledger: &Path) -> Option<serde_json::Value> {
        let mut command = weir();
        command.args(["verify", "--json", "--ledger"]).arg(ledger).arg("--table").arg(self.table("readings"));
        let output = command.output().unwrap();
        // There is no table yet, or not all of it.
        if output.stdout.is_empty() { None } else { Some(last_json(&output)) }
    }

    fn table(&self, name: &str) -> PathBuf {
        self.path("sink").join("tables").join(name)
    }
}

/// A running stage; killed when dropped.
struct Stage {
    child: Child,
    http: SocketAddr,
}

impl Stage {
    fn readiness(&self) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        Some(response)
    }

    fn ready(mut self) -> Self {
        until("the stage is ready", || {
            self.lives();
            self.readiness().is_some_and(|response| response.starts_with("HTTP/1.1 200"))
        });
        self
    }

    /// Fails with what it said if it has ended.
    fn lives(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            let mut says = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut says).unwrap();
            panic!("the stage ended: {says}");
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    fn ended(mut self) -> Output {
        until("the stage ends", || self.child.try_wait().unwrap().is_some());
        let status = self.child.wait().unwrap();
        let mut stderr = Vec::new();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status, stdout: Vec::new(), stderr }
    }

    /// Stops it by SIGTERM; it must end well.
    fn stop(self) {
        self.signal(rustix::process::Signal::TERM);
        let output = self.ended();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

fn said(output: &Output) -> String {
    assert!(!output.status.success(), "it ended well");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_stage_apart_wants_a_cluster() {
    let directory = tempfile::tempdir().unwrap();
    for stage in ["ingest", "process", "workflows", "sink"] {
        let output = weir().arg(stage).arg("--data").arg(directory.path()).output().unwrap();
        let error = said(&output);
        assert!(error.contains("streams.backend = \"embedded\"") && error.contains("`weir up`"), "{stage}: {error}");
    }
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "nothing was created");
}

#[test]
fn what_a_stage_cannot_have_is_named_before_anything_is_opened() {
    let plant = Plant::at("127.0.0.1:1".to_owned(), "bad");
    for (arguments, part) in [
        (&["process", "--partitions", "2-4"][..], "partition 4: expected numbers from 0 to 3"),
        (&["workflows", "--instance", "4/5"], "streams.partitions = 4"),
        (&["sink", "--table", "reading"], "`reading`: expected some of readings, alerts, maintenance"),
    ] {
        let error = said(&plant.ended("data", arguments));
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    assert!(!plant.path("data").exists());
}

#[cfg(feature = "fluvio")]
#[test]
fn a_stage_that_waits_for_the_cluster_answers_and_can_be_stopped() {
    let plant = Plant::at(free_address().to_string(), "away");
    let stage = plant.stage("sink", &["sink"]);
    until("it says what it waits for", || {
        stage.readiness().is_some_and(|answer| answer.starts_with("HTTP/1.1 503") && answer.contains("starting"))
    });
    stage.stop();
}

#[test]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
fn each_stage_is_killed_once_and_nothing_is_lost_or_doubled() {
    let plant = Plant::new("kill");
    let (mqtt, ledger, rules) = (free_address().to_string(), plant.path("ledger.csv"), plant.path("rules.toml"));
    std::fs::write(&rules, RULES).unwrap();
    let rules = rules.to_str().unwrap();
    let ingest = || plant.stage("ingest", &["ingest", "--mqtt", &mqtt]).ready();
    let process = || plant.stage("process", &["process", "--rules", rules]).ready();
    let workflows = || plant.stage("workflows", &["workflows"]).ready();
    let sink = |instance| plant.stage("sink", &["sink", "--instance", instance]).ready();
    let (first, second, third) = (ingest(), process(), workflows());
    let (fourth, mut fifth) = (sink("0/2"), sink("1/2"));

    let mut fleet = plant
        .weir(&["simulate", "--mqtt", &mqtt, "--devices", "40", "--rate", "300", "--for", "60s", "--drain", "60s"])
        .arg("--ledger")
        .arg(&ledger)
        .spawn()
        .unwrap();
    let while_readings_come = || pause(Duration::from_secs(3));
    while_readings_come();
    first.kill();
    let first = ingest();
    while_readings_come();
    second.kill();
    let mut second = process();
    while_readings_come();
    third.kill();
    let mut third = workflows();
    while_readings_come();
    fourth.kill();
    let mut fourth = sink("0/2");
    assert!(fleet.wait().unwrap().success(), "not everything was acknowledged in the end");
    first.stop();

    let mut seen = None;
    until("all is in the table", || {
        [&mut second, &mut third, &mut fourth, &mut fifth].into_iter().for_each(Stage::lives);
        seen = plant.verify(&ledger).filter(|verdict| verdict["lost"].as_u64() == Some(0));
        seen.is_some()
    });
    let verdict = seen.unwrap();
    println!("{verdict}");
    assert_eq!(verdict["duplicated"].as_u64(), Some(0), "{verdict}");
    assert!(verdict["acknowledged"].as_u64().unwrap() > 10_000, "{verdict}");
    // One reading of each message fires; and one event goes out for each device and second with such a reading.
    let messages = usize::try_from(verdict["acknowledged"].as_u64().unwrap()).unwrap() / READINGS;
    until("all alerts are there", || column(&plant.table("alerts"), "message").len() >= messages);
    let (devices, times) = (column(&plant.table("alerts"), "device_id"), column(&plant.table("alerts"), "time"));
    assert_eq!(devices.len(), messages, "alerts");
    let second_of = |time: &String| time.split('.').next().unwrap().trim_end_matches('Z').to_owned();
    let expected: BTreeSet<_> = devices.iter().zip(times.iter().map(second_of)).collect();
    let keys = || column(&plant.table("maintenance"), "event_id");
    until("all events are there", || keys().len() >= expected.len());
    second.stop();
    third.stop();
    fourth.stop();
    fifth.stop();
    println!("{messages} alerts, {} events", expected.len());
    assert_eq!(keys().len(), expected.len(), "events");
    assert_eq!(keys().iter().collect::<BTreeSet<_>>().len(), expected.len(), "an event is there twice");
    let verdict = plant.verify(&ledger).unwrap();
    assert_eq!((verdict["lost"].as_u64(), verdict["duplicated"].as_u64()), (Some(0), Some(0)), "{verdict}");
}

#[test]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
fn a_second_owner_is_refused_and_takes_over_from_a_dead_one() {
    let plant = Plant::new("own");
    let first = plant.stage("sink", &["sink", "--partitions", "0-1"]).ready();
    let error = said(&plant.ended("sink", &["sink", "--instance", "1/2"]));
    let pid = first.child.id().to_string();
    assert!(error.contains("belongs to weir sink on") && error.contains(&pid), "{error}");
    assert!(error.contains("which is alive") && error.contains("/1"), "{error}");
    // Nobody has the other half.
    let other = plant.stage("sink", &["sink", "--partitions", "2,3"]).ready();
    // Of a stage that was stopped nobody waits for the lease; of one that was killed, until it has run out.
    first.stop();
    let again = plant.stage("sink", &["sink", "--partitions", "0-1"]).ready();
    again.kill();
    let taker = plant.stage("sink", &["sink", "--partitions", "0-1"]);
    until("it waits for the lease, or has it", || {
        taker.readiness().is_some_and(|answer| {
            answer.contains("waiting for the lease of sink/") || answer.starts_with("HTTP/1.1 200")
        })
    });
    taker.ready().stop();
    other.stop();
}

/// The texts of a column of a table, as any reader of its files sees them.
fn column(table: &Path, name: &str) -> Vec<String> {
    let mut texts = Vec::new();
    if !table.exists() {
        return texts;
    }
    for path in parquet_files(table) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
        for batch in reader.build().unwrap() {
            let column = batch.unwrap().column_by_name(name).unwrap().clone();
            let column = arrow::compute::cast(&column, &arrow::datatypes::DataType::Utf8).unwrap();
            texts.extend(column.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()));
        }
    }
    texts
}
