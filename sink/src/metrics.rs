//! Metrics of the tables.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// What every table shows, by table.
#[derive(Clone, Debug)]
pub struct SinkMetrics {
    committed_rows: IntCounterVec,
    committed_files: IntCounterVec,
    committed_bytes: IntCounterVec,
    commit_seconds: HistogramVec,
    freshness_seconds: HistogramVec,
    buffered_rows: IntGaugeVec,
    buffered_bytes: IntGaugeVec,
    recovered_files: IntCounterVec,
    commit_conflicts: IntCounterVec,
}

/// The metrics of one table.
#[derive(Clone, Debug)]
pub(crate) struct TableMetrics {
    pub(crate) committed_rows: IntCounter,
    pub(crate) committed_files: IntCounter,
    pub(crate) committed_bytes: IntCounter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) freshness_seconds: Histogram,
    pub(crate) buffered_rows: IntGauge,
    pub(crate) buffered_bytes: IntGauge,
    pub(crate) recovered_files: IntCounter,
    pub(crate) commit_conflicts: IntCounter,
}

impl SinkMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter =
            |name: &str, help: &str| registered(registry, IntCounterVec::new(Opts::new(name, help), &["table"])?);
        let gauge = |name: &str, help: &str| registered(registry, IntGaugeVec::new(Opts::new(name, help), &["table"])?);
        let seconds = HistogramOpts::new("weir_sink_commit_seconds", "Seconds of a commit: sort, write, fsync, log")
            .buckets(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]);
        let freshness = HistogramOpts::new(
            "weir_sink_freshness_seconds",
            "Seconds from the receipt of the oldest reading of a commit until the commit was in the table; what waited \
             in a backlog or as a dead letter counts from when it first came",
        );
        // Around sink.roll_age_seconds, which most of it is.
        let freshness = freshness.buckets(vec![
            0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 90.0, 120.0, 300.0, 600.0,
        ]);
        Ok(Self {
            committed_rows: counter("weir_sink_committed_rows_total", "Rows committed to the table")?,
            committed_files: counter("weir_sink_committed_files_total", "Data files committed to the table")?,
            committed_bytes: counter("weir_sink_committed_bytes_total", "Bytes of the data files committed")?,
            commit_seconds: registered(registry, HistogramVec::new(seconds, &["table"])?)?,
            freshness_seconds: registered(registry, HistogramVec::new(freshness, &["table"])?)?,
            buffered_rows: gauge("weir_sink_buffered_rows", "Rows held in memory until the next flush")?,
            buffered_bytes: gauge(
                "weir_sink_buffered_bytes",
                "Bytes, estimated, of the rows held in memory until the next flush",
            )?,
            recovered_files: counter(
                "weir_sink_recovered_files_total",
                "Data files of unfinished commits deleted when the table was opened",
            )?,
            commit_conflicts: counter(
                "weir_sink_commit_conflicts_total",
                "Versions of the table that another writer committed first",
            )?,
        })
    }

    /// Rows of `table` that were committed since the start, and those held until the next commit.
    #[must_use]
    pub fn rows(&self, table: &str) -> (u64, u64) {
        let held = self.buffered_rows.with_label_values(&[table]).get();
        (self.committed_rows.with_label_values(&[table]).get(), u64::try_from(held).unwrap_or(0))
    }

    pub(crate) fn of(&self, table: &str) -> TableMetrics {
        let label = &[table];
        TableMetrics {
            committed_rows: self.committed_rows.with_label_values(label),
            committed_files: self.committed_files.with_label_values(label),
            committed_bytes: self.committed_bytes.with_label_values(label),
            commit_seconds: self.commit_seconds.with_label_values(label),
            freshness_seconds: self.freshness_seconds.with_label_values(label),
            buffered_rows: self.buffered_rows.with_label_values(label),
            buffered_bytes: self.buffered_bytes.with_label_values(label),
            recovered_files: self.recovered_files.with_label_values(label),
            commit_conflicts: self.commit_conflicts.with_label_values(label),
        }
    }
}

fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
