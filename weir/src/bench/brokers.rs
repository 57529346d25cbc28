//! `weir bench brokers`: the same pipeline behind its own endpoint, behind a broker, and on a cluster, in one run.
//!
//! How a bridge is measured: Mosquitto first gathers messages for sessions whose clients are away, without a limit.
//! Then each client comes alone and takes its queue as fast as it can: bare rumqttc subscribers, which acknowledge at
//! once and do nothing else, and `weir up` with its bridge, which acknowledges what is durable. So each is fed at more
//! than it takes, with the same messages. Rates count from the first message that came to the last one, of the bridge
//! to the last acknowledgement.

mod bare;
mod bridge;
mod drain;
mod endpoint;
mod mosquitto;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use telemetry::Clock;

use self::mosquitto::Mosquitto;
use self::report::{Bridged, Figures, Way};
use super::scenario::{Scenario, generate};
use crate::wiring::Behind;

/// `weir bench brokers`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchBrokers {
    /// Controller of a Fluvio cluster, host:port; topics bench-* stay there [default: that way is not run]
    #[arg(long, value_name = "ADDR")]
    pub(crate) fluvio: Option<String>,
    /// Process of the cluster whose CPU is counted; may be given several times
    #[arg(long, value_name = "PID", requires = "fluvio")]
    pub(crate) fluvio_pid: Vec<u32>,
    /// Program of Mosquitto [default: the one in the path]
    #[arg(long, value_name = "FILE")]
    pub(crate) mosquitto: Option<PathBuf>,
    /// Seconds of load per measurement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// How often the queues of the broker are filled and taken; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Readings in a message
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) readings_per_message: u32,
    /// Directory for the data of the measurements, on the disk to measure [default: a new one in weir-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print the figures as one JSON line, last on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// What every measurement needs.
#[derive(Clone, Debug)]
struct Bench {
    directory: PathBuf,
    duration: Duration,
    readings_per_message: usize,
    rounds: u32,
    clock: Arc<dyn Clock>,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &BenchBrokers, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build, whose figures say nothing");
    }
    let bench = Bench {
        directory: super::directory(arguments.data.as_deref(), &clock)?,
        duration: Duration::from_secs(arguments.seconds),
        readings_per_message: usize::try_from(arguments.readings_per_message)?,
        rounds: arguments.rounds,
        clock,
    };
    let measured = measure(&bench, arguments).await;
    let removed = std::fs::remove_dir_all(&bench.directory).with_context(|| bench.directory.display().to_string());
    let figures = measured?;
    removed?;
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        print!("{figures}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(bench: &Bench, arguments: &BenchBrokers) -> anyhow::Result<Figures> {
    eprintln!("measuring: embedded log behind the endpoint");
    let embedded = endpoint::through(bench, "endpoint, embedded log", Vec::new(), &[]).await?;
    let (bridge, bare) = match mosquitto::program(arguments.mosquitto.as_deref()) {
        Ok(program) => {
            let Bridged { bridge, bare } = bridged(bench, &program).await?;
            (bridge, bare)
        }
        Err(error) => {
            let why = format!("{error:#}");
            (Way::not_run(bridge::NAME, why.clone()), vec![Way::not_run("bare rumqttc subscriber", why)])
        }
    };
    let fluvio = match &arguments.fluvio {
        Some(endpoint) => {
            eprintln!("measuring: streams on the Fluvio cluster at {endpoint}");
            let prefix = format!("bench-{}-", bench.clock.now().as_micros());
            let settings = vec![
                ("WEIR_STREAMS__BACKEND", "\"fluvio\"".to_owned()),
                ("WEIR_FLUVIO__ENDPOINT", format!("\"{endpoint}\"")),
                ("WEIR_FLUVIO__TOPIC_PREFIX", format!("\"{prefix}\"")),
                // Nobody takes the topics away.
                ("WEIR_FLUVIO__RETENTION_SECONDS", "3600".to_owned()),
            ];
            // The other figures are there by now, and stay.
            endpoint::through(bench, endpoint::FLUVIO, settings, &arguments.fluvio_pid)
                .await
                .unwrap_or_else(|error| Way::not_run(endpoint::FLUVIO, format!("failed: {error:#}")))
        }
        None => Way::not_run(endpoint::FLUVIO, "no cluster was given, --fluvio HOST:PORT".to_owned()),
    };
    Ok(Figures::new(bench, embedded, bridge, bare, fluvio))
}

/// The bridge and the bare subscribers, behind one Mosquitto.
async fn bridged(bench: &Bench, program: &Path) -> anyhow::Result<Bridged> {
    let mosquitto = Mosquitto::start(program, &bench.directory).await?;
    let mut drained = Bridged::default();
    // The bridge first: it is sent messages to show that it is subscribed, which the others need not have.
    bridge::subscribe(bench, &mosquitto).await?;
    for version in bare::VERSIONS {
        bare::subscribe(&mosquitto, version).await?;
    }
    let mut rounds = drain::Rounds::default();
    for round in 0..bench.rounds {
        eprintln!("measuring: round {} of {}: the broker gathers", round + 1, bench.rounds);
        let messages = fill(bench, &mosquitto).await?;
        let taken = drain::Taken::new(messages, bench.readings_per_message);
        // Turn about: who comes first finds a broker with more in its memory.
        if round % 2 == 0 {
            bare::take_all(bench, &mosquitto, taken, &mut rounds).await?;
        }
        eprintln!("measuring: the bridge takes {messages} messages");
        rounds.add(bridge::NAME, bridge::take(bench, &mosquitto, taken, round).await?);
        if round % 2 != 0 {
            bare::take_all(bench, &mosquitto, taken, &mut rounds).await?;
        }
    }
    for (name, taken) in rounds.medians() {
        let way = Way::drained(name, &taken);
        if name == bridge::NAME { drained.bridge = way } else { drained.bare.push(way) }
    }
    Ok(drained)
}

/// Lets the broker gather messages for those who are away; how many.
async fn fill(bench: &Bench, mosquitto: &Mosquitto) -> anyhow::Result<u64> {
    let load = generate(&bench.load(bench.duration), mosquitto.address()).await?;
    anyhow::ensure!(load.unacknowledged == 0, "mosquitto left {} messages without PUBACK", load.unacknowledged);
    anyhow::ensure!(load.acknowledged_messages > 0, "mosquitto acknowledged nothing");
    Ok(load.acknowledged_messages)
}

impl Bench {
    /// The generator, for a while.
    fn load(&self, duration: Duration) -> Scenario {
        Scenario {
            name: "brokers",
            behind: Behind::Everything,
            connections: super::CONNECTIONS,
            readings_per_message: self.readings_per_message,
            rate: None,
            duration,
        }
    }
}

#[cfg(test)]
mod tests;
