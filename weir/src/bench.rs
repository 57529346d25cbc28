//! `weir bench`: the endpoint alone beside the whole pipeline, generator included, in one run.
//!
//! Every measurement runs the real binary: `weir up` as one process, the load generator as another, so that
//! the CPU of the pipeline is told apart from the generator's. A measurement ends when `weir up` has stopped
//! cleanly, with everything acknowledged in the table, and the table is counted.

pub(crate) mod brokers;
mod fdatasync;
mod process;
mod report;
pub(crate) mod rules;
mod scenario;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use telemetry::Clock;

use self::report::Figures;
use self::scenario::{Scenario, measure};
use crate::cli::Bench;
use crate::config::Config;
use crate::wiring::Behind;

/// Connections of the generator where throughput is measured.
const CONNECTIONS: u32 = 64;
/// Messages per second where latency is measured.
const LATENCY_RATE: f64 = 5_000.0;

/// Runs all measurements and prints them.
pub(crate) async fn run(arguments: &Bench, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let directory = directory(arguments.data.as_deref(), &clock)?;
    let duration = Duration::from_secs(arguments.seconds);
    let scenario = |name, behind, readings_per_message, rate| Scenario {
        name,
        behind,
        connections: CONNECTIONS,
        readings_per_message,
        rate,
        duration,
    };
    let mut results = Vec::new();
    for scenario in [
        scenario("endpoint, single readings", Behind::Nothing, 1, None),
        scenario("pipeline, single readings", Behind::Everything, 1, None),
        scenario("endpoint, packs of ten", Behind::Nothing, 10, None),
        scenario("pipeline, packs of ten", Behind::Everything, 10, None),
    ] {
        eprintln!("measuring: {}", scenario.name);
        results.push(measure(&scenario, &directory, &clock).await?);
    }
    eprintln!("measuring: the same without fdatasync before the acknowledgement");
    let unsynced =
        measure(&scenario("pipeline, single, no sync", Behind::EverythingUnsynced, 1, None), &directory, &clock)
            .await?;
    eprintln!("measuring: latency at {LATENCY_RATE} messages/s, and fdatasync alone and beside it");
    let alone = fdatasync::alone(&directory, &clock)?;
    let scenario = scenario("latency", Behind::Everything, 1, Some(LATENCY_RATE));
    let (latency, beside) = fdatasync::beside(&directory, &clock, measure(&scenario, &directory, &clock)).await?;

    std::fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let figures = Figures::new(results, unsynced, latency, alone, beside);
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        print!("{figures}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A new directory below `parent`, or below the directory of data.
fn directory(parent: Option<&Path>, clock: &Arc<dyn Clock>) -> anyhow::Result<PathBuf> {
    let parent = parent.map_or_else(|| Config::default().data.dir, Path::to_owned);
    let directory = parent.join(format!("bench-{}", clock.now().as_micros()));
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}

/// Data directory of one measurement.
fn data(directory: &Path, scenario: &Scenario) -> PathBuf {
    directory.join(scenario.name.replace([' ', ','], "-"))
}
