//! The figures, for a person and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use simulator::LoadReport;

use super::Bench;
use super::drain::Drained;
use crate::bench::process::Usage;

/// How it was done, for whoever reads the figures.
const HOW: &str = "endpoint: closed loop, 64 connections, messages acknowledged a second. Mosquitto (in memory, queues \
                   without bound): it gathers messages for persistent sessions whose clients are away; then one client \
                   at a time takes its queue, 1,024 in flight: messages a second from the first received to the last \
                   acknowledged (bare: received). Medians of the rounds. Stored: readings by the time until the \
                   process has ended, start and stop included. CPU: of weir or the bare subscriber, and of the broker";

/// Everything measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    how: &'static str,
    seconds: f64,
    rounds: u32,
    readings_per_message: usize,
    /// Embedded log, bridge, bare subscribers, cluster.
    ways: Vec<Way>,
    /// Messages a second of the bridge by those of the faster bare subscriber.
    bridge_by_bare: Option<f64>,
    /// Messages a second of the bridge, and on a cluster, by those of the embedded log behind the endpoint.
    bridge_by_endpoint: Option<f64>,
    fluvio_by_endpoint: Option<f64>,
}

/// The bridge, and what it is measured by.
#[derive(Debug, Default)]
pub(super) struct Bridged {
    pub(super) bridge: Way,
    pub(super) bare: Vec<Way>,
}

/// One way of messages.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Way {
    name: &'static str,
    /// Why there are no figures.
    not_run: Option<String>,
    messages_per_second: Option<f64>,
    stored_readings_per_second: Option<f64>,
    cpu_seconds_per_million_readings: Option<f64>,
    /// Of Mosquitto, or of the processes of the cluster that were given.
    broker_cpu_seconds_per_million_readings: Option<f64>,
    peak_mebibytes: Option<f64>,
}

impl Way {
    /// Without figures, because of `why`.
    pub(super) fn not_run(name: &'static str, why: String) -> Self {
        Self { name, not_run: Some(why), ..Self::default() }
    }

    /// By the generator.
    pub(super) fn loaded(
        name: &'static str,
        load: &LoadReport,
        stored: (u64, Duration),
        usage: Usage,
        others_cpu_seconds: Option<f64>,
    ) -> Self {
        let million = per_million(load.acknowledged_readings);
        Self {
            name,
            not_run: None,
            messages_per_second: Some(load.messages_per_second),
            stored_readings_per_second: Some(rate(stored)),
            cpu_seconds_per_million_readings: Some(usage.cpu_seconds * million),
            broker_cpu_seconds_per_million_readings: others_cpu_seconds.map(|seconds| seconds * million),
            peak_mebibytes: Some(mebibytes(usage.peak_bytes)),
        }
    }

    /// By a queue of the broker.
    pub(super) fn drained(name: &'static str, drained: &Drained) -> Self {
        let million = per_million(drained.readings);
        Self {
            name,
            not_run: None,
            messages_per_second: Some(drained.messages_per_second()),
            stored_readings_per_second: drained.stored.map(rate),
            cpu_seconds_per_million_readings: Some(drained.cpu_seconds * million),
            broker_cpu_seconds_per_million_readings: Some(drained.broker_cpu_seconds * million),
            peak_mebibytes: drained.peak_bytes.map(mebibytes),
        }
    }
}

impl Figures {
    pub(super) fn new(bench: &Bench, embedded: Way, bridge: Way, bare: Vec<Way>, fluvio: Way) -> Self {
        let fastest = bare.iter().filter_map(|way| way.messages_per_second).max_by(f64::total_cmp);
        let by = |way: &Way, other: Option<f64>| Some(way.messages_per_second? / other?);
        Self {
            how: HOW,
            seconds: bench.duration.as_secs_f64(),
            rounds: bench.rounds,
            readings_per_message: bench.readings_per_message,
            bridge_by_bare: by(&bridge, fastest),
            bridge_by_endpoint: by(&bridge, embedded.messages_per_second),
            fluvio_by_endpoint: by(&fluvio, embedded.messages_per_second),
            ways: [embedded, bridge].into_iter().chain(bare).chain([fluvio]).collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of readings")]
fn rate((readings, time): (u64, Duration)) -> f64 {
    readings as f64 / time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a count of readings")]
fn per_million(readings: u64) -> f64 {
    1e6 / readings as f64
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28}{:>12}{:>19}{:>18}{:>18}{:>10}",
            "", "messages/s", "stored readings/s", "CPU s/M readings", "broker's CPU s/M", "peak MiB"
        )?;
        for way in &self.ways {
            if let Some(why) = &way.not_run {
                writeln!(f, "{:<28}not run: {why}", way.name)?;
                continue;
            }
            let cell =
                |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
            writeln!(
                f,
                "{:<28}{:>12}{:>19}{:>18}{:>18}{:>10}",
                way.name,
                cell(way.messages_per_second, 0),
                cell(way.stored_readings_per_second, 0),
                cell(way.cpu_seconds_per_million_readings, 2),
                cell(way.broker_cpu_seconds_per_million_readings, 2),
                cell(way.peak_mebibytes, 0),
            )?;
        }
        for (name, ratio) in [
            ("bridge / faster bare subscriber", self.bridge_by_bare),
            ("bridge / endpoint", self.bridge_by_endpoint),
            ("Fluvio / endpoint", self.fluvio_by_endpoint),
        ] {
            if let Some(ratio) = ratio {
                writeln!(f, "{name}, messages/s: {ratio:.2}")?;
            }
        }
        writeln!(f, "{}", self.how)
    }
}
