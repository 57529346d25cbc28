//! `weir`: telemetry from devices to Parquet, in one binary.

mod admin;
mod api;
mod bench;
mod cli;
mod commands;
mod config;
mod dlq;
mod explain;
mod http;
mod logging;
mod metrics;
mod page;
mod ports;
mod reload;
mod snapshot;
mod supervisor;
mod top;
mod verify;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::config::Config;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.command.is_service());
    if cfg!(feature = "faults") {
        tracing::warn!("built with faults and planted bugs for chaos/: not for data that anybody needs");
    }
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = Config::load(cli.config.as_deref(), std::env::vars())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(commands::run(cli.command, config));
    // A blocking read of a stage that failed must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// The error and its causes on one line, for a person. A cause that its parent already tells is not repeated.
fn describe(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::describe;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow!("full").context("write /x: full").context("streams");
        assert_eq!(describe(&error), "streams: write /x: full");
    }
}
