//! Where messages come in: the endpoint, and the bridge from a broker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ingest::bridge::Bridge;
use ingest::{BridgeState, Ingest, IngestConfig, IngestMetrics, StartError};
use prometheus::Registry;
use streams::Streams;
use telemetry::Clock;
use telemetry::trace::Tracing;
use tokio::sync::watch;

use super::bridge;
use crate::config::Config;

/// The open door.
pub(super) struct Door {
    pub(super) ingest: Ingest,
    bridge: Option<Bridge>,
}

impl Door {
    /// Opens it: from now on messages are acknowledged.
    pub(super) async fn open(
        config: &Config,
        streams: Arc<dyn Streams>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let metrics = IngestMetrics::register(registry)?;
        let ingest = Ingest::start(ingest_config(config), streams, clock.clone(), Tracing::default(), metrics).await;
        let ingest = ingest.map_err(|error| door_error(error, config))?;
        let bridge = bridge::start(config, ingest.intake(), registry, clock)?;
        Ok(Self { ingest, bridge })
    }

    /// How the bridge is doing, if there is one.
    pub(super) fn bridge(&self) -> Option<watch::Receiver<BridgeState>> {
        self.bridge.as_ref().map(Bridge::state_changes)
    }

    /// Resolves when nothing will be acknowledged until a restart, to why.
    pub(super) async fn failed(&self) -> anyhow::Error {
        let mut endpoint = self.ingest.failed();
        let bridge = async {
            match &self.bridge {
                Some(bridge) => super::set(&mut bridge.failed()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = super::set(&mut endpoint) => anyhow::anyhow!("stage ingest failed: {reason}"),
            reason = bridge => anyhow::anyhow!("the bridge failed: {reason}"),
        }
    }

    /// Closes it. The bridge goes first: what it has taken is acknowledged once the intake has made it durable.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let bridge = match self.bridge {
            Some(bridge) => bridge.stop().await.context("bridge"),
            None => Ok(()),
        };
        // Whatever became of the bridge, the endpoint acknowledges what it took.
        self.ingest.stop().await.context("stage ingest")?;
        bridge
    }
}

fn ingest_config(config: &Config) -> IngestConfig {
    let mqtt = &config.mqtt;
    IngestConfig {
        listen: mqtt.listen,
        workers: mqtt.workers,
        topic_template: mqtt.topic_template.clone(),
        connections: mqtt.max_connections,
        payload_bytes: mqtt.max_payload_bytes,
        in_flight: mqtt.max_in_flight_messages,
        in_flight_bytes: mqtt.max_in_flight_bytes,
        open_group_bytes: mqtt.open_group_bytes,
        future: Duration::from_secs(mqtt.max_future_seconds),
        drain: Duration::from_secs(mqtt.stop_deadline_seconds) / 2,
        ..IngestConfig::default()
    }
}

fn door_error(error: StartError, config: &Config) -> anyhow::Error {
    let address = config.mqtt.listen;
    match error {
        StartError::AddressInUse { .. } | StartError::Listen { .. } => anyhow::Error::new(error).context(format!(
            "cannot listen on {address} for MQTT (port {}); choose another with --mqtt",
            address.port()
        )),
        other => anyhow::Error::new(other).context("stage ingest"),
    }
}
