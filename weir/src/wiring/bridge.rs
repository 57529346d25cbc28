//! The bridge from a broker, as the configuration wants it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ingest::bridge::{Bridge, BridgeConfig, BridgeMetrics, Login, PasswordPlace, Protocol, Subscription, TlsFiles};
use ingest::{BridgeState, Intake};
use processors::plan::Secret;
use prometheus::Registry;
use telemetry::Clock;
use telemetry::formats::Format;

use crate::config::{self, Config};

/// Starts the bridge to `intake`, if there is one. The broker need not be there.
pub(super) fn start(
    config: &Config,
    intake: Intake,
    registry: &Registry,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Option<Bridge>> {
    if !config.bridge.is_on() {
        return Ok(None);
    }
    let settings = settings(config)?;
    let metrics = BridgeMetrics::register(registry).context("bridge metrics")?;
    Ok(Some(Bridge::start(settings, intake, clock, metrics).context("bridge")?))
}

/// Whether the bridge gets messages; if not, why.
pub(super) fn ready(state: &BridgeState) -> Result<(), String> {
    match state {
        BridgeState::Connected => Ok(()),
        BridgeState::Connecting => Err("bridge: not yet connected to the broker".to_owned()),
        BridgeState::Away { why, .. } => Err(format!("bridge: no connection to the broker: {why}")),
        BridgeState::Ended => Err("bridge: stopping".to_owned()),
    }
}

fn settings(config: &Config) -> anyhow::Result<BridgeConfig> {
    let (bridge, mqtt) = (&config.bridge, &config.mqtt);
    Ok(BridgeConfig {
        url: bridge.url.clone(),
        protocol: match bridge.protocol {
            config::Protocol::V4 => Protocol::V4,
            config::Protocol::V5 => Protocol::V5,
        },
        client_id: bridge.client_id.clone(),
        login: login(bridge)?,
        subscriptions: bridge.subscriptions.iter().map(|one| subscription(one, &mqtt.topic_template)).collect(),
        tls: TlsFiles {
            ca: some_path(&bridge.ca).map(Path::to_owned),
            identity: some_path(&bridge.certificate).map(|path| (path.to_owned(), bridge.key.clone())),
        },
        in_flight: bridge.max_in_flight_messages,
        session_expiry: Duration::from_secs(u64::from(bridge.session_expiry_seconds)),
        keep_alive: Duration::from_secs(u64::from(bridge.keep_alive_seconds)),
        patience: Duration::from_secs_f64(bridge.patience_seconds),
        drain: Duration::from_secs(mqtt.stop_deadline_seconds) / 2,
        payload_bytes: mqtt.max_payload_bytes,
        future: Duration::from_secs(mqtt.max_future_seconds),
        watch_drops: bridge.watch_drops,
        ..BridgeConfig::default()
    })
}

fn login(bridge: &config::Bridge) -> anyhow::Result<Option<Login>> {
    if bridge.user.is_empty() {
        if !bridge.password.is_empty() {
            bail!("bridge.password is given without bridge.user: expected both, or none");
        }
        return Ok(None);
    }
    let some = (!bridge.password.is_empty()).then(|| bridge.password.clone());
    let place = some.map(Secret::try_from).transpose().map_err(|why| anyhow!("bridge.password: {why}"))?;
    let password = place.map(|place| match place {
        Secret::Env(name) => PasswordPlace::Env(name),
        Secret::File(path) => PasswordPlace::File(path.into()),
    });
    Ok(Some(Login { user: bridge.user.clone(), password }))
}

fn subscription(one: &config::Subscription, usual_template: &str) -> Subscription {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Subscription {
        filter: one.filter.clone(),
        share: some(&one.share),
        topic_template: some(&one.topic_template).unwrap_or_else(|| usual_template.to_owned()),
        format: match one.format {
            config::Format::Auto => Format::Auto,
            config::Format::Senml => Format::Senml,
            config::Format::Json => Format::Json,
        },
    }
}

fn some_path(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}
