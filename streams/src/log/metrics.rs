//! What the log tells Prometheus.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and gauges of the embedded log.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    pub(super) appended_bytes: IntCounter,
    pub(super) appended_records: IntCounterVec,
    pub(super) commit_seconds: Histogram,
    pub(super) commit_bytes: Histogram,
    pub(super) sync_seconds: Histogram,
    pub(super) used_bytes: IntGauge,
    pub(super) quota_bytes: IntGauge,
    pub(super) queue_bytes: IntGauge,
    pub(super) quarantined: IntCounter,
    pub(super) segments: IntGauge,
    pub(super) damaged_positions: IntGauge,
}

impl LogMetrics {
    /// Registers the log's metrics.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::new()?;
        registry.register(Box::new(metrics.appended_bytes.clone()))?;
        registry.register(Box::new(metrics.appended_records.clone()))?;
        registry.register(Box::new(metrics.commit_seconds.clone()))?;
        registry.register(Box::new(metrics.commit_bytes.clone()))?;
        registry.register(Box::new(metrics.sync_seconds.clone()))?;
        registry.register(Box::new(metrics.used_bytes.clone()))?;
        registry.register(Box::new(metrics.quota_bytes.clone()))?;
        registry.register(Box::new(metrics.queue_bytes.clone()))?;
        registry.register(Box::new(metrics.quarantined.clone()))?;
        registry.register(Box::new(metrics.segments.clone()))?;
        registry.register(Box::new(metrics.damaged_positions.clone()))?;
        Ok(metrics)
    }

    fn new() -> Result<Self, prometheus::Error> {
        let records = Opts::new("weir_streams_appended_records_total", "Records made durable, by stream");
        Ok(Self {
            appended_bytes: IntCounter::new(
                "weir_streams_appended_bytes_total",
                "Bytes of group commits made durable, framing included",
            )?,
            appended_records: IntCounterVec::new(records, &["stream"])?,
            commit_seconds: histogram(
                "weir_streams_group_commit_seconds",
                "Seconds from taking groups off the queue until they were durable",
                prometheus::exponential_buckets(50e-6, 2.0, 16)?,
            )?,
            commit_bytes: histogram(
                "weir_streams_group_commit_bytes",
                "Bytes of a group commit, framing included",
                prometheus::exponential_buckets(256.0, 4.0, 10)?,
            )?,
            sync_seconds: histogram(
                "weir_streams_fdatasync_seconds",
                "Seconds of one fdatasync of the active segment",
                vec![
                    50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 3e-3, 5e-3, 7.5e-3, 10e-3, 15e-3, 20e-3, 30e-3, 50e-3,
                    100e-3, 200e-3, 500e-3, 1.0,
                ],
            )?,
            used_bytes: IntGauge::new("weir_streams_log_bytes", "Bytes of all segments on disk")?,
            quota_bytes: IntGauge::new("weir_streams_log_quota_bytes", "Bytes at which appends are refused")?,
            queue_bytes: IntGauge::new("weir_streams_queue_bytes", "Bytes submitted and not yet being written")?,
            quarantined: IntCounter::new(
                "weir_streams_quarantined_records_total",
                "Records found damaged on disk and not returned, since the start",
            )?,
            segments: IntGauge::new("weir_streams_segments", "Segments on disk, the active one included")?,
            damaged_positions: IntGauge::new(
                "weir_streams_damaged_positions_stores",
                "Damaged stores of positions that lie aside; while there is one, no segment is deleted",
            )?,
        })
    }
}

fn histogram(name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, prometheus::Error> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
}
