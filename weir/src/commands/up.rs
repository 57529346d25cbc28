//! `weir up`: everything, for real devices.

use std::process::ExitCode;
use std::sync::Arc;

use processors::RuleSet;
use telemetry::Clock;

use super::signals;
use crate::cli::Up;
use crate::config::Config;
use crate::wiring::{Behind, Pipeline};

/// Runs until a signal or until a stage fails.
pub(crate) async fn run(arguments: Up, mut config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    if let Some(rules) = arguments.rules {
        config.rules.file = rules;
    }
    let rules = super::rules(&config, RuleSet::empty())?;
    let behind = match (arguments.bare, arguments.without_sync) {
        (true, _) => Behind::Nothing,
        (false, true) => Behind::EverythingUnsynced,
        (false, false) => Behind::Everything,
    };
    let mut pipeline = Pipeline::start(&config, rules, behind, clock).await?;
    tokio::select! {
        signal = signals::stop() => signal?,
        error = pipeline.failed() => return Err(error),
    }
    tracing::info!("stopping: no more is accepted, what was acknowledged goes to the table");
    pipeline.stop().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
