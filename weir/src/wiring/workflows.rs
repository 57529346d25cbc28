//! The executor of workflows and the world it acts on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use processors::plan::Secret;
use processors::workflows::address::Prefix;
use processors::workflows::outside::{EmailConfig, Outside, OutsideConfig};
use processors::workflows::{Started, Workflows, WorkflowsConfig, WorkflowsMetrics};
use prometheus::Registry;
use streams::consume;

use super::devices::Connected;
use crate::config::{Config, Email};

/// Opens the outbox; nothing runs yet.
pub(super) async fn start(
    config: &Config,
    context: &consume::Context,
    registry: &Registry,
    devices: Connected,
) -> anyhow::Result<Started> {
    let outside = OutsideConfig { allow_addresses: allowed(config)?, email: email(&config.email)? };
    let targets = Outside::new(&outside, Arc::new(devices), context.clock.clone());
    let metrics = WorkflowsMetrics::register(registry)?;
    let (streams, clock) = (context.streams.clone(), context.clock.clone());
    let started = Workflows::start(settings(config), &config.data.dir, streams, clock, metrics, targets).await;
    started.context("workflows")
}

fn settings(config: &Config) -> WorkflowsConfig {
    let workflows = &config.workflows;
    WorkflowsConfig {
        concurrency: workflows.concurrency,
        window: workflows.window,
        breaker_failures: workflows.breaker_failures,
        breaker_open: Duration::from_secs_f64(workflows.breaker_open_seconds),
        breaker_open_cap: Duration::from_secs_f64(workflows.breaker_longest_open_seconds),
        keep: Duration::from_secs(workflows.keep_seconds),
        keep_runs: workflows.keep_runs,
        max_pending: workflows.max_pending,
        ..WorkflowsConfig::default()
    }
}

fn allowed(config: &Config) -> anyhow::Result<Vec<Prefix>> {
    let parse = |text: &String| text.parse().map_err(|why| anyhow!("workflows.allow_addresses has `{text}`: {why}"));
    config.workflows.allow_addresses.iter().map(parse).collect()
}

fn email(config: &Email) -> anyhow::Result<Option<EmailConfig>> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let Some(url) = some(&config.url) else { return Ok(None) };
    let password = some(&config.password).map(Secret::try_from).transpose();
    let password = password.map_err(|why| anyhow!("email.password: {why}"))?;
    Ok(Some(EmailConfig { url, from: config.from.clone(), user: some(&config.user), password }))
}
