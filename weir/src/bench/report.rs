//! The figures, for a person and as JSON.

use std::fmt;

use serde::Serialize;

use super::fdatasync::Fdatasync;
use super::scenario::Measured;

/// Everything measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// Endpoint and pipeline with single readings, then both with packs of ten.
    throughput: Vec<Measured>,
    /// The pipeline with single readings, acknowledging before the disk has them.
    unsynced: Measured,
    latency: Measured,
    /// With nothing else going on.
    fdatasync_alone: Fdatasync,
    /// In another file, while latency was measured.
    fdatasync_beside: Fdatasync,
    /// Acknowledged readings/s of the pipeline by those of the endpoint: single readings, packs of ten.
    acknowledged_ratio: Vec<f64>,
    /// The same until everything is in the table.
    stored_ratio: Vec<f64>,
    /// Acknowledged readings/s of the pipeline, single readings, by the same without sync.
    synced_ratio: f64,
    /// p99 from PUBLISH to PUBACK by p99 of one fdatasync alone.
    puback_by_fdatasync_alone: f64,
    /// The same by p99 of one fdatasync beside it.
    puback_by_fdatasync_beside: f64,
    /// Highest of all measurements.
    peak_mebibytes: f64,
}

impl Figures {
    pub(super) fn new(
        throughput: Vec<Measured>,
        unsynced: Measured,
        latency: Measured,
        alone: Fdatasync,
        beside: Fdatasync,
    ) -> Self {
        let ratio = |rate: fn(&Measured) -> f64| -> Vec<f64> {
            let pairs = throughput.chunks_exact(2);
            pairs.filter_map(|pair| Some(rate(pair.last()?) / rate(pair.first()?))).collect()
        };
        let (acknowledged_ratio, stored_ratio) = (ratio(Measured::acknowledged_rate), ratio(Measured::stored_rate));
        let puback_by = |probe: Fdatasync| f64::from(latency.load.latency.p99_micros) / probe.p99_microseconds as f64;
        let synced_ratio = throughput.get(1).map_or(0.0, Measured::acknowledged_rate) / unsynced.acknowledged_rate();
        let peak = throughput
            .iter()
            .chain([&unsynced, &latency])
            .map(|measured| measured.peak_bytes)
            .max()
            .unwrap_or_default();
        Self {
            puback_by_fdatasync_alone: puback_by(alone),
            puback_by_fdatasync_beside: puback_by(beside),
            peak_mebibytes: mebibytes(peak),
            throughput,
            unsynced,
            synced_ratio,
            latency,
            fdatasync_alone: alone,
            fdatasync_beside: beside,
            acknowledged_ratio,
            stored_ratio,
        }
    }
}

impl Measured {
    fn acknowledged_rate(&self) -> f64 {
        self.load.readings_per_second
    }

    /// Readings per second until the process has stopped: with a table behind it, until they are in it.
    fn stored_rate(&self) -> f64 {
        self.load.acknowledged_readings as f64 / self.stored_seconds
    }

    fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.load.acknowledged_readings as f64
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28}{:>12}{:>13}{:>14}{:>22}{:>10}",
            "", "messages/s", "readings/s", "stored/s", "CPU s/M readings", "peak MiB"
        )?;
        for measured in self.throughput.iter().chain([&self.unsynced]) {
            writeln!(
                f,
                "{:<28}{:>12.0}{:>13.0}{:>14.0}{:>22.2}{:>10.0}",
                measured.scenario,
                measured.load.messages_per_second,
                measured.load.readings_per_second,
                measured.stored_rate(),
                measured.cpu_per_million(),
                mebibytes(measured.peak_bytes),
            )?;
        }
        let percent = |ratios: &[f64]| -> Vec<String> { ratios.iter().map(|ratio| format!("{ratio:.2}")).collect() };
        writeln!(f, "pipeline / endpoint, acknowledged: {}", percent(&self.acknowledged_ratio).join(", "))?;
        writeln!(f, "pipeline / endpoint, until stored: {}", percent(&self.stored_ratio).join(", "))?;
        writeln!(f, "pipeline / pipeline without sync, acknowledged: {:.2}", self.synced_ratio)?;
        let load = &self.latency.load;
        writeln!(
            f,
            "PUBLISH to PUBACK at {:.0} messages/s: p50 {} us, p99 {} us, max {} us",
            load.messages_per_second, load.latency.p50_micros, load.latency.p99_micros, load.latency.max_micros
        )?;
        for (when, probe, ratio) in [
            ("alone", self.fdatasync_alone, self.puback_by_fdatasync_alone),
            ("beside it", self.fdatasync_beside, self.puback_by_fdatasync_beside),
        ] {
            let Fdatasync { p50_microseconds, p99_microseconds } = probe;
            writeln!(
                f,
                "one fdatasync {when}: p50 {p50_microseconds} us, p99 {p99_microseconds} us; p99 PUBACK / p99 fdatasync: {ratio:.2}"
            )?;
        }
        writeln!(f, "peak memory: {:.0} MiB", self.peak_mebibytes)
    }
}
