//! `weir ingest`, `weir process`, `weir workflows`, `weir sink`: one stage each, over the streams of a cluster.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use processors::RuleSet;
use telemetry::Clock;

use super::signals;
use crate::cli::{ProcessStage, Share, SinkStage};
use crate::config::{Backend, Config};
use crate::wiring::{Pipeline, Role, Tables};

/// Takes messages.
pub(crate) async fn ingest(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    apart(config, RuleSet::empty(), Role::ingest(), clock).await
}

/// Evaluates rules.
pub(crate) async fn process(
    arguments: ProcessStage,
    mut config: Config,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<ExitCode> {
    if let Some(rules) = arguments.rules {
        config.rules.file = rules;
    }
    let rules = super::rules(&config, RuleSet::empty())?;
    let share = arguments.share;
    apart(&config, rules, Role::process(share.assignment(), share.from), clock).await
}

/// Does the steps of rules that fired. A firing carries its plan, so rules are not needed.
pub(crate) async fn workflows(share: &Share, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    apart(config, RuleSet::empty(), Role::workflows(share.assignment(), share.from), clock).await
}

/// Writes tables.
pub(crate) async fn sink(arguments: SinkStage, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let SinkStage { share, tables, .. } = arguments;
    let tables = if tables.is_empty() { Tables::All } else { Tables::Named(tables) };
    apart(config, RuleSet::empty(), Role::sink(tables, share.assignment(), share.from), clock).await
}

async fn apart(config: &Config, rules: RuleSet, role: Role, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    if config.streams.backend != Backend::Fluvio {
        bail!(
            "streams.backend = \"embedded\": `weir {}` runs apart from the other stages, and they meet on a cluster, expected \
             \"fluvio\" (in the file of --config, or WEIR_STREAMS__BACKEND=fluvio); on one machine run `weir up`",
            role.name
        );
    }
    until_stopped(config, rules, &role, clock).await
}

/// Runs `role` until a signal, or until something of it fails.
pub(super) async fn until_stopped(
    config: &Config,
    rules: RuleSet,
    role: &Role,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<ExitCode> {
    let mut stop = pin!(signals::stop());
    let Some(mut pipeline) = Pipeline::start(config, rules, role, clock, stop.as_mut()).await? else {
        tracing::info!("stopped before it was ready");
        return Ok(ExitCode::SUCCESS);
    };
    tokio::select! {
        signal = stop => signal?,
        error = pipeline.failed() => return Err(error),
    }
    tracing::info!("stopping: no more is accepted, what was acknowledged goes to the table");
    pipeline.stop().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
