//! `weir load`: the load generator of `weir bench`, as a process of its own so that its CPU is told apart.

use std::process::ExitCode;
use std::sync::Arc;

use simulator::LoadConfig;
use telemetry::Clock;

use crate::cli::Load;

/// Generates load, prints the report as JSON.
pub(crate) async fn run(arguments: Load, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let config = LoadConfig {
        mqtt: arguments.mqtt,
        connections: arguments.connections,
        in_flight: arguments.in_flight,
        readings_per_message: arguments.readings_per_message,
        duration: Some(arguments.duration),
        rate: arguments.rate,
        ..LoadConfig::default()
    };
    // It ends by its duration; a signal ends the process, which is as well.
    let (_keep, stop) = tokio::sync::watch::channel(false);
    let report = simulator::load::run(config, clock, stop).await?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(ExitCode::SUCCESS)
}
