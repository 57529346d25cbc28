//! What streams on a cluster tell Prometheus.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and gauges of streams on Fluvio.
#[derive(Clone, Debug)]
pub struct FluvioMetrics {
    pub(super) records: IntCounterVec,
    pub(super) bytes: IntCounterVec,
    pub(super) resends: IntCounterVec,
    pub(super) seconds: HistogramVec,
    pub(super) rebuilds: IntCounter,
    pub(super) copies: IntCounterVec,
    pub(super) damaged: IntCounterVec,
    pub(super) cut: IntCounterVec,
    pub(super) missing: IntCounterVec,
    pub(super) went_back: IntCounterVec,
    pub(super) outage: IntGauge,
    pub(super) queue_bytes: IntGauge,
}

impl FluvioMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["topic"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let seconds = HistogramOpts::new(
            "weir_fluvio_append_seconds",
            "Seconds from the first sending of a flight of records until the cluster had it, resends included",
        );
        let seconds =
            HistogramVec::new(seconds.buckets(prometheus::exponential_buckets(0.000_5, 2.0, 17)?), &["topic"])?;
        registry.register(Box::new(seconds.clone()))?;
        let rebuilds = IntCounter::new(
            "weir_fluvio_rebuilds_total",
            "Times the controller was asked anew who leads what, after something failed",
        )?;
        registry.register(Box::new(rebuilds.clone()))?;
        Ok(Self {
            records: counter("weir_fluvio_appended_records_total", "Records that the cluster has")?,
            bytes: counter("weir_fluvio_appended_bytes_total", "Bytes of flights that the cluster has")?,
            resends: counter("weir_fluvio_resends_total", "Flights sent again, because no acknowledgement came")?,
            seconds,
            rebuilds,
            copies: counter(
                "weir_fluvio_copies_dropped_total",
                "Records read and left out because they are copies made by sending again",
            )?,
            damaged: counter("weir_fluvio_damaged_records_total", "Records read and skipped because they are damaged")?,
            cut: counter(
                "weir_fluvio_cut_batches_total",
                "Batches that the cluster cut off at the size of a reply; they were fetched again",
            )?,
            missing: counter(
                "weir_fluvio_missing_records_total",
                "Records that a writer appended and that are not in the partition: the cluster lost them",
            )?,
            went_back: counter(
                "weir_fluvio_went_back_total",
                "Times a partition ended before an end that the cluster had told: it lost records",
            )?,
            outage: gauge("weir_fluvio_outage", "1 while a server of the cluster does not answer, else 0")?,
            queue_bytes: gauge("weir_fluvio_queue_bytes", "Bytes submitted and not yet acknowledged by the cluster")?,
        })
    }

    /// Shows the counters of `topics` from now on, at zero.
    pub fn begin<'a>(&self, topics: impl Iterator<Item = &'a str>) {
        for topic in topics {
            let counters = [&self.records, &self.bytes, &self.resends, &self.copies, &self.damaged];
            for counter in counters.into_iter().chain([&self.cut, &self.missing, &self.went_back]) {
                counter.with_label_values(&[topic]);
            }
            self.seconds.with_label_values(&[topic]);
        }
    }
}
