//! What the bridge shows. No label carries a topic or a client.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::metrics::{counter, gauge, labelled};

/// Metrics of the bridge. Counters of messages advance a read at a time, not one by one.
#[derive(Clone, Debug)]
pub struct BridgeMetrics {
    pub(crate) connected: IntGauge,
    pub(crate) connects: IntCounter,
    pub(crate) messages: IntCounterVec,
    pub(crate) acknowledged: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) redelivered: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) unmatched: IntCounter,
    pub(crate) oversized: IntCounter,
    pub(crate) outage_seconds: Gauge,
    pub(crate) broker_dropped: IntGauge,
}

impl BridgeMetrics {
    /// Registers the metrics; every label value is there from the start, at zero.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let count = |name: &str, help: &str| counter(registry, name, help);
        let outage_seconds = Gauge::new(
            "weir_bridge_outage_seconds",
            "How long there has been no connection to the broker; 0 while there is one",
        )?;
        registry.register(Box::new(outage_seconds.clone()))?;
        let metrics = Self {
            connected: gauge(
                registry,
                "weir_bridge_connected",
                "1 while every filter is subscribed to at the broker, else 0",
            )?,
            connects: count("weir_bridge_connects_total", "Connections that the broker accepted")?,
            messages: labelled(
                registry,
                "weir_bridge_messages_total",
                "Messages taken from the broker, refused and repeated ones too",
                "qos",
            )?,
            acknowledged: count("weir_bridge_acknowledged_total", "Messages acknowledged to the broker")?,
            in_flight: gauge(
                registry,
                "weir_bridge_in_flight",
                "Messages of the broker whose acknowledgement waits for their group",
            )?,
            redelivered: count("weir_bridge_redelivered_total", "Messages that the broker marked as delivered before")?,
            refused: count(
                "weir_bridge_refused_messages_total",
                "Messages of the broker that went to the dead letters",
            )?,
            unmatched: count(
                "weir_bridge_unmatched_messages_total",
                "Refused messages whose topic matches no configured filter: the session has older ones",
            )?,
            oversized: count(
                "weir_bridge_oversized_messages_total",
                "Refused messages of which only the beginning was kept, because they are over the limit",
            )?,
            outage_seconds,
            broker_dropped: gauge(
                registry,
                "weir_bridge_broker_dropped_messages",
                "Messages that the broker says it dropped since it started",
            )?,
        };
        for qos in ["0", "1"] {
            metrics.messages.with_label_values(&[qos]).reset();
        }
        Ok(metrics)
    }
}
