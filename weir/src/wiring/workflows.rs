//! The executor of workflows and the world it acts on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use processors::plan::Secret;
use processors::workflows::address::Prefix;
use processors::workflows::outside::{EmailConfig, Outside, OutsideConfig};
use processors::workflows::target::Devices;
use processors::workflows::{Started, Workflows, WorkflowsConfig, WorkflowsMetrics};
use prometheus::Registry;
use streams::consume;

use super::devices::{Connected, Elsewhere};
use crate::config::{Config, Email};

/// How workflows get to the devices of the endpoint.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// The endpoint is in this process.
    Here(Connected),
    /// It is in others.
    Elsewhere,
}

/// Opens the outbox of the partitions `own`; nothing runs yet.
pub(super) async fn start(
    config: &Config,
    own: Vec<u32>,
    context: &consume::Context,
    registry: &Registry,
    reach: Reach,
) -> anyhow::Result<Started> {
    let outside = OutsideConfig { allow_addresses: allowed(config)?, email: email(&config.email)? };
    let devices: Arc<dyn Devices> = match reach {
        Reach::Here(devices) => Arc::new(devices),
        Reach::Elsewhere => Arc::new(Elsewhere),
    };
    let targets = Outside::new(&outside, devices, context.clock.clone());
    let metrics = WorkflowsMetrics::register(registry)?;
    let (streams, clock) = (context.streams.clone(), context.clock.clone());
    let tracing = telemetry::trace::Tracing::default();
    let settings = settings(config, own);
    let started = Workflows::start(settings, &config.data.dir, streams, clock, tracing, metrics, targets).await;
    started.context("workflows")
}

fn settings(config: &Config, own: Vec<u32>) -> WorkflowsConfig {
    let workflows = &config.workflows;
    WorkflowsConfig {
        partitions: Some(own),
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
