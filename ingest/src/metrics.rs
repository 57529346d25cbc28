//! What the door shows. No label carries a device, a topic or a client.

mod passage;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use telemetry::Reason;

use self::passage::Counting;
use crate::commands::OUTCOMES;
use crate::intake::{Encoded, Tally};

pub use self::passage::Passage;

/// Metrics of the door. Counters of messages and readings advance a group at a time, not one by one.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    pub(crate) received_messages: IntCounter,
    pub(crate) received_readings: IntCounter,
    pub(crate) acknowledged_messages: IntCounter,
    pub(crate) acknowledged_readings: IntCounter,
    pub(crate) rejected: IntCounterVec,
    pub(crate) ignored_fields: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) connections_total: IntCounterVec,
    pub(crate) open_group_bytes: IntGauge,
    pub(crate) unacknowledged_messages: IntGauge,
    pub(crate) live_dropped: IntCounter,
    pub(crate) live_subscribers: IntGauge,
    pub(crate) commands: IntCounterVec,
    pub(crate) command_subscriptions: IntGauge,
    pub(crate) acknowledge_seconds: Histogram,
    passage: Counting,
}

impl IngestMetrics {
    /// Registers the metrics; every label value is there from the start, at zero.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            received_messages: counter(
                registry,
                "weir_ingest_received_messages_total",
                "Messages taken for a group commit, refused ones too; not those over the size limit",
            )?,
            received_readings: counter(
                registry,
                "weir_ingest_received_readings_total",
                "Readings taken for a group commit",
            )?,
            acknowledged_messages: counter(
                registry,
                "weir_ingest_acknowledged_messages_total",
                "Messages acknowledged to their sender, refused ones too",
            )?,
            acknowledged_readings: counter(
                registry,
                "weir_ingest_acknowledged_readings_total",
                "Readings of acknowledged messages",
            )?,
            rejected: labelled(
                registry,
                "weir_ingest_rejected_messages_total",
                "Messages refused; all but those over the size limit go to the dead letters",
                "reason",
            )?,
            ignored_fields: counter(
                registry,
                "weir_ingest_ignored_fields_total",
                "Fields of payloads that were understood but not kept",
            )?,
            connections: gauge(registry, "weir_ingest_connections", "MQTT connections being served")?,
            connections_total: labelled(
                registry,
                "weir_ingest_connections_total",
                "MQTT connections accepted, by version of the protocol",
                "protocol",
            )?,
            open_group_bytes: gauge(
                registry,
                "weir_ingest_open_group_bytes",
                "Bytes, estimated, of what waits for the next group commit; at mqtt.open_group_bytes reading pauses",
            )?,
            unacknowledged_messages: gauge(
                registry,
                "weir_ingest_unacknowledged_messages",
                "Messages received whose acknowledgement waits for their group",
            )?,
            live_dropped: counter(
                registry,
                "weir_ingest_live_dropped_total",
                "Live readings not sent because a subscriber or the feed was too slow",
            )?,
            live_subscribers: gauge(
                registry,
                "weir_ingest_live_subscribers",
                "Connections subscribed to live readings",
            )?,
            commands: labelled(
                registry,
                "weir_ingest_commands_total",
                "Attempts to send a command to a device, by their outcome",
                "outcome",
            )?,
            command_subscriptions: gauge(
                registry,
                "weir_ingest_command_subscriptions",
                "Subscriptions to commands, with wildcards or without",
            )?,
            acknowledge_seconds: histogram(
                registry,
                "weir_ingest_acknowledge_seconds",
                "Seconds from the receipt of a message until its acknowledgement was handed to its connection, of \
                 endpoint and bridge",
                // From a lone fdatasync of a fast disk to a stall that a person must look at.
                vec![
                    0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0,
                    2.0, 5.0, 10.0,
                ],
            )?,
            passage: Counting::default(),
        };
        for reason in Reason::ALL {
            metrics.rejected.with_label_values(&[reason.as_str()]).reset();
        }
        for outcome in OUTCOMES {
            metrics.commands.with_label_values(&[outcome]).reset();
        }
        for protocol in ["3.1.1", "5"] {
            metrics.connections_total.with_label_values(&[protocol]).reset();
        }
        Ok(metrics)
    }

    /// What went through the door since the start.
    #[must_use]
    pub fn passage(&self) -> Passage {
        self.passage.now()
    }

    /// A group is taken for its commit.
    pub(crate) fn taken(&self, tally: &Tally) {
        self.passage.taken(tally);
    }

    /// The group that came in as `tally` is durable as `encoded`.
    pub(crate) fn durable(&self, tally: &Tally, encoded: &Encoded) {
        self.passage.durable(tally, encoded);
    }

    /// A message is refused and not kept.
    pub(crate) fn rejected_at_the_door(&self) {
        self.passage.rejected();
    }
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, prometheus::Error> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

pub(crate) fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

pub(crate) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(crate) fn labelled(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_value_is_there_from_the_start() {
        let registry = Registry::new();
        IngestMetrics::register(&registry).unwrap();
        let families = registry.gather();
        let series = |name: &str| {
            families.iter().find(|family| family.name() == name).map_or(0, |family| family.get_metric().len())
        };
        assert_eq!(series("weir_ingest_rejected_messages_total"), Reason::ALL.len());
        assert_eq!(series("weir_ingest_connections_total"), 2);
        assert_eq!(series("weir_ingest_commands_total"), OUTCOMES.len());
        assert!(families.iter().all(|family| family.name().starts_with("weir_ingest_")));
    }
}
