//! `weir up`: everything, for real devices.

use std::process::ExitCode;
use std::sync::Arc;

use processors::RuleSet;
use telemetry::Clock;

use super::stage;
use crate::cli::Up;
use crate::config::Config;
use crate::wiring::{Behind, Role};

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
    stage::until_stopped(&config, rules, &Role::up(behind), clock).await
}
