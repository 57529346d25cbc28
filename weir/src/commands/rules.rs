//! `weir rules`: look at rules before they are in force, and at those that are.

mod arguments;
mod backtest;
mod check;
mod list;
mod moment;
mod trial;

use std::process::ExitCode;
use std::sync::Arc;

use telemetry::Clock;

pub(crate) use self::arguments::RulesCommand;
use crate::config::Config;

/// Runs `command`.
pub(crate) async fn run(command: RulesCommand, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::Check(arguments) => check::run(&arguments, config),
        RulesCommand::Test(arguments) => trial::run(&arguments, config, clock.as_ref()),
        RulesCommand::Backtest(arguments) => {
            tokio::task::spawn_blocking(move || backtest::run(&arguments, clock.as_ref())).await?
        }
        RulesCommand::List(arguments) => list::run(&arguments, config).await,
    }
}

#[cfg(test)]
mod tests;
