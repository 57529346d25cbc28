//! Metrics of consumer groups. Those of the embedded log are in [`crate::log`].

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// What every consumer group shows.
#[derive(Clone, Debug)]
pub struct ConsumerMetrics {
    pub(crate) lag_records: IntGaugeVec,
    pub(crate) lag_seconds: GaugeVec,
    pub(crate) read_rows: IntCounterVec,
    pub(crate) deduplicated_messages: IntCounterVec,
    pub(crate) deduplicated_rows: IntCounterVec,
    pub(crate) undecided_messages: IntCounterVec,
    pub(crate) lost_records: IntCounterVec,
}

impl ConsumerMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let place = ["group", "stream", "partition"];
        let counter = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["group", "stream"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let lag_records = IntGaugeVec::new(
            Opts::new("weir_consumer_group_lag_records", "Durable records the group has not applied yet"),
            &place,
        )?;
        let lag_seconds = GaugeVec::new(
            Opts::new(
                "weir_consumer_group_lag_seconds",
                "Age of the oldest record the group has not applied yet; 0 if there is none",
            ),
            &place,
        )?;
        registry.register(Box::new(lag_records.clone()))?;
        registry.register(Box::new(lag_seconds.clone()))?;
        Ok(Self {
            lag_records,
            lag_seconds,
            read_rows: counter("weir_consumer_group_read_rows_total", "Rows read, before deduplication")?,
            deduplicated_messages: counter(
                "weir_consumer_group_deduplicated_messages_total",
                "Messages left out because they were seen before",
            )?,
            deduplicated_rows: counter(
                "weir_consumer_group_deduplicated_rows_total",
                "Rows of messages left out because they were seen before",
            )?,
            undecided_messages: counter(
                "weir_consumer_group_undecided_messages_total",
                "Messages kept although too old to tell whether they were seen before",
            )?,
            lost_records: counter(
                "weir_consumer_group_lost_records_total",
                "Records skipped because their bytes were damaged on disk",
            )?,
        })
    }
}
