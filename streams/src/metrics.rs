//! Metrics of consumer groups. Those of the embedded log are in [`crate::log`].

mod since;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use crate::contract::GroupName;

pub(crate) use self::since::Applied;
pub use self::since::{Passage, SinceStart};

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
    apply_seconds: HistogramVec,
    watched: Arc<OnceLock<(GroupName, Arc<SinceStart>)>>,
}

/// The counters of one group, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct GroupMetrics {
    pub(crate) read_rows: IntCounter,
    pub(crate) deduplicated_messages: IntCounter,
    pub(crate) deduplicated_rows: IntCounter,
    pub(crate) undecided_messages: IntCounter,
    pub(crate) lost_records: IntCounter,
    pub(crate) apply_seconds: Histogram,
    /// What it passed of what this process received, if somebody asked.
    pub(crate) since: Option<Arc<SinceStart>>,
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
                "Seconds since the oldest record the group has not applied yet was appended; 0 if there is none",
            ),
            &place,
        )?;
        let apply = HistogramOpts::new(
            "weir_consumer_group_apply_seconds",
            "Seconds that one record, decoded and deduplicated, took through the effect of its group; what the effect \
             keeps for later, as a table does, is not in it",
        );
        // From a record of one row to an effect that waits for room in the streams.
        let apply = apply.buckets(prometheus::exponential_buckets(0.000_025, 4.0, 11)?);
        let apply_seconds = HistogramVec::new(apply, &["group", "stream"])?;
        registry.register(Box::new(lag_records.clone()))?;
        registry.register(Box::new(lag_seconds.clone()))?;
        registry.register(Box::new(apply_seconds.clone()))?;
        Ok(Self {
            lag_records,
            lag_seconds,
            read_rows: counter(
                "weir_consumer_group_read_rows_total",
                "Rows read, before deduplication; after a crash some are read again",
            )?,
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
            apply_seconds,
            watched: Arc::default(),
        })
    }

    /// Watches what `group` passes of records at offsets from `begins` on, by partition: of all records where it names
    /// none. To be called before the group runs; of several calls the first counts.
    #[must_use]
    pub fn watch(&self, group: GroupName, begins: BTreeMap<u32, u64>) -> Arc<SinceStart> {
        let watched = self.watched.get_or_init(|| (group, Arc::new(SinceStart::new(begins))));
        watched.1.clone()
    }

    /// The counters of `group`, from zero on.
    pub(crate) fn of(&self, group: &str, stream: &str) -> GroupMetrics {
        let labels = [group, stream];
        GroupMetrics {
            read_rows: self.read_rows.with_label_values(&labels),
            deduplicated_messages: self.deduplicated_messages.with_label_values(&labels),
            deduplicated_rows: self.deduplicated_rows.with_label_values(&labels),
            undecided_messages: self.undecided_messages.with_label_values(&labels),
            lost_records: self.lost_records.with_label_values(&labels),
            apply_seconds: self.apply_seconds.with_label_values(&labels),
            since: self.watched.get().filter(|(watched, _)| **watched == *group).map(|(_, since)| since.clone()),
        }
    }
}
