//! One measurement: `weir up` under load from `weir load`, until it has stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use simulator::LoadReport;
use telemetry::Clock;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::process::{self, Usage};
use crate::ports::free_address;
use crate::verify;
use crate::wiring::Behind;

/// How long `weir up` may take to listen.
const START: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) behind: Behind,
    pub(super) connections: u32,
    pub(super) readings_per_message: usize,
    /// Messages per second; as many as possible without.
    pub(super) rate: Option<f64>,
    pub(super) duration: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) scenario: &'static str,
    pub(super) load: LoadReport,
    /// From the first message until everything is in the table and `weir up` has exited.
    pub(super) stored_seconds: f64,
    /// Rows in the table; none for the endpoint alone.
    pub(super) stored_readings: u64,
    /// Of the pipeline, without the generator.
    pub(super) cpu_seconds: f64,
    pub(super) peak_bytes: u64,
}

/// Runs `scenario` with its data under `directory`.
pub(super) async fn measure(scenario: &Scenario, directory: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Measured> {
    let data = super::data(directory, scenario);
    let mqtt = free_address()?;
    let rules = rules_file(&data)?;
    let mut pipeline = start_pipeline(scenario, &data, mqtt, &rules)?;
    listening(mqtt, &mut pipeline).await?;

    let start = clock.monotonic();
    let load = generate(scenario, mqtt).await?;
    terminate(&pipeline)?;
    let usage: Usage = process::usage_until_exit(&mut pipeline, "weir up").await?;
    let stored_seconds = clock.monotonic().saturating_sub(start).as_secs_f64();

    let stored_readings = match scenario.behind {
        Behind::Everything | Behind::EverythingUnsynced => verify::rows(&data.join("tables/readings"))?,
        Behind::Nothing => 0,
    };
    if scenario.behind != Behind::Nothing && stored_readings < load.acknowledged_readings {
        let acknowledged = load.acknowledged_readings;
        bail!("{}: {acknowledged} readings acknowledged, {stored_readings} in the table", scenario.name);
    }
    std::fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
    Ok(Measured {
        scenario: scenario.name,
        load,
        stored_seconds,
        stored_readings,
        cpu_seconds: usage.cpu_seconds,
        peak_bytes: usage.peak_bytes,
    })
}

/// The pipeline is measured with the sample rules.
pub(super) fn rules_file(data: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(data).with_context(|| data.display().to_string())?;
    let path = data.join("rules.toml");
    std::fs::write(&path, processors::SAMPLE_RULES).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn start_pipeline(scenario: &Scenario, data: &Path, mqtt: SocketAddr, rules: &Path) -> anyhow::Result<Child> {
    let mut command = weir()?;
    command.arg("up").arg("--data").arg(data).arg("--rules").arg(rules);
    command.args(["--mqtt", &mqtt.to_string(), "--http", "127.0.0.1:0"]);
    match scenario.behind {
        Behind::Everything => {}
        Behind::Nothing => drop(command.arg("--bare")),
        Behind::EverythingUnsynced => drop(command.arg("--without-sync")),
    }
    command.env("RUST_LOG", "warn").stdin(Stdio::null()).spawn().context("weir up")
}

pub(super) fn weir() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("path of this program")?);
    command.kill_on_drop(true);
    Ok(command)
}

pub(super) async fn listening(address: SocketAddr, child: &mut Child) -> anyhow::Result<()> {
    let connect = async {
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("weir up ended with {status}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::time::timeout(START, connect).await.context("weir up does not listen")?
}

pub(super) async fn generate(scenario: &Scenario, mqtt: SocketAddr) -> anyhow::Result<LoadReport> {
    let mut command = weir()?;
    command.arg("load").args(["--mqtt", &mqtt.to_string()]);
    command.args(["--connections", &scenario.connections.to_string()]);
    command.args(["--readings-per-message", &scenario.readings_per_message.to_string()]);
    command.args(["--duration", &format!("{}ms", scenario.duration.as_millis())]);
    if let Some(rate) = scenario.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let output = command.stderr(Stdio::inherit()).output().await.context("weir load")?;
    if !output.status.success() {
        bail!("weir load ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("report of weir load")
}

pub(super) fn terminate(child: &Child) -> anyhow::Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    let pid = pid.context("weir up has ended")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("SIGTERM")
}
