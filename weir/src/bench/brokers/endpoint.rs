//! `weir up` behind its own endpoint, on either backend of streams.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::process::Child;

use super::Bench;
use super::report::Way;
use crate::bench::process;
use crate::bench::scenario::{generate, listening, rules_file, terminate, weir};
use crate::ports::free_address;
use crate::verify;

/// How figures call it on a cluster.
pub(super) const FLUVIO: &str = "endpoint, Fluvio cluster";

/// How long a stop may take, the longest that is allowed: what waits is written first, and that is measured.
const STOP_SECONDS: u32 = 1_200;

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) mqtt: SocketAddr,
    pub(super) http: SocketAddr,
}

/// Load for a while; then it is stopped, and everything is in the table. `pids` are processes that work for it.
pub(super) async fn through(
    bench: &Bench,
    name: &'static str,
    settings: Vec<(&'static str, String)>,
    pids: &[u32],
) -> anyhow::Result<Way> {
    let data = bench.directory.join(name.replace([' ', ','], "-"));
    let ends = Ends { mqtt: free_address()?, http: free_address()? };
    let others = || pids.iter().map(|pid| process::cpu_seconds(*pid)).sum::<anyhow::Result<f64>>();
    let mut child = start(&data, ends, &settings)?;
    listening(ends.mqtt, &mut child).await?;
    let (began, before) = (bench.clock.monotonic(), others()?);
    let load = generate(&bench.load(bench.duration), ends.mqtt).await?;
    terminate(&child)?;
    let usage = process::usage_until_exit(&mut child, "weir up").await?;
    let stored_within = bench.clock.monotonic().saturating_sub(began);
    let others = others()? - before;
    let stored = verify::rows(&data.join("tables/readings"))?;
    let acknowledged = load.acknowledged_readings;
    ensure!(stored >= acknowledged, "{name}: {acknowledged} readings acknowledged, {stored} in the table");
    std::fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
    Ok(Way::loaded(name, &load, (stored, stored_within), usage, (!pids.is_empty()).then_some(others)))
}

/// Starts it with its data and rules in `data`.
pub(super) fn start(data: &Path, ends: Ends, settings: &[(&'static str, String)]) -> anyhow::Result<Child> {
    let rules = rules_file(data)?;
    let mut command = weir()?;
    command.arg("up").arg("--data").arg(data).arg("--rules").arg(&rules);
    command.args(["--mqtt", &ends.mqtt.to_string(), "--http", &ends.http.to_string()]);
    command.env("RUST_LOG", "warn").env("WEIR_MQTT__STOP_DEADLINE_SECONDS", STOP_SECONDS.to_string());
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).spawn().context("weir up")
}
