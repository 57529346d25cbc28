//! Looks at a running Weir again and again: what it acknowledged, what its groups have not taken, how much memory it has.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::clock;
use crate::latencies::Latencies;
use crate::metrics::Metrics;
use crate::series::Series;
use crate::weir::Weir;

/// Between two looks.
const SAMPLE: Duration = Duration::from_millis(500);
/// Readings of a message of the fleet.
const READINGS: f64 = 5.0;
/// Readings that the table has taken, as a metric.
const TAKEN: &str = "weir_consumer_group_read_rows_total{group=\"sink/readings\"";

/// A look.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Since the watch began.
    pub(crate) at: Duration,
    /// The same moment as devices tell it, in microseconds since the Unix epoch.
    pub(crate) wall: i64,
    /// Messages acknowledged since Weir started.
    pub(crate) acknowledged: f64,
    /// Messages received and not acknowledged.
    pub(crate) in_flight: f64,
    /// Messages that the table of readings took since Weir started.
    pub(crate) taken: f64,
    /// Records that each group has not passed.
    pub(crate) lag: BTreeMap<String, f64>,
    /// Age of the oldest record that a group has not passed.
    pub(crate) lag_seconds: f64,
    /// Memory of the process that acknowledges.
    pub(crate) resident_mib: f64,
    /// How long acknowledgements took until now.
    pub(crate) latencies: Latencies,
}

impl Sample {
    /// Of all groups.
    pub(crate) fn lag_records(&self) -> f64 {
        self.lag.values().fold(0.0, |sum, lag| sum + lag)
    }

    /// Of the tables.
    pub(crate) fn sink_lag(&self) -> f64 {
        self.lag.iter().filter(|(group, _)| group.starts_with("sink/")).fold(0.0, |sum, (_, lag)| sum + lag)
    }
}

/// Everything that was seen.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    pub(crate) samples: Vec<Sample>,
}

impl Watch {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self { began: clock::now(), samples: Vec::new() }
    }

    /// Since it began.
    pub(crate) fn passed(&self) -> Duration {
        clock::since(self.began)
    }

    /// Looks at the process that acknowledges, and at the one that has the tables, which may be the same, and which may
    /// not run, until `until`, since the watch began, or until a look is `enough`; whether it was.
    ///
    /// # Errors
    /// If Weir does not tell.
    pub(crate) fn look(
        &mut self,
        (door, tables): (&Weir, Option<&Weir>),
        latencies: impl Fn() -> anyhow::Result<Latencies>,
        until: Duration,
        enough: impl Fn(&Sample) -> bool,
    ) -> anyhow::Result<bool> {
        loop {
            // The first look of all is at once.
            let next = self.samples.last().map_or(Duration::ZERO, |last| last.at + SAMPLE).min(until);
            clock::pause(next.saturating_sub(self.passed()));
            let sample = self.sample(door, tables, latencies()?)?;
            let is_enough = enough(&sample);
            let at = sample.at;
            self.samples.push(sample);
            if is_enough || at >= until {
                return Ok(is_enough);
            }
        }
    }

    fn sample(&self, door: &Weir, tables: Option<&Weir>, latencies: Latencies) -> anyhow::Result<Sample> {
        let metrics = door.metrics().context("weir tells no metrics")?;
        let of_tables = match tables {
            Some(tables) => tables.metrics().context("weir tells no metrics of its tables")?,
            None => Metrics(String::new()),
        };
        let (at, wall) = (self.passed(), clock::wall_micros());
        let told = |series: &str| metrics.sum(series).with_context(|| format!("weir tells no {series}"));
        let lag = of_tables.by("weir_consumer_group_lag_records{", "group");
        Ok(Sample {
            at,
            wall,
            acknowledged: told("weir_ingest_acknowledged_messages_total")?,
            in_flight: told("weir_ingest_unacknowledged_messages")?,
            taken: of_tables.sum(TAKEN).unwrap_or(0.0) / READINGS,
            lag: lag.into_iter().map(|(group, lag)| (group.to_owned(), lag)).collect(),
            // Nobody has told before the first record.
            lag_seconds: of_tables.most("weir_consumer_group_lag_seconds{").unwrap_or(0.0),
            resident_mib: resident_mib(door)?,
            latencies,
        })
    }

    /// As a series; `offered` gives the messages that were due between two moments of the machine's clock, a second.
    #[expect(clippy::cast_precision_loss, reason = "counts and times for a report")]
    pub(crate) fn series(&self, name: &str, offered: impl Fn(i64, i64) -> u64) -> Series {
        let columns = [
            "time, s",
            "offered, messages/s",
            "acknowledged, messages/s",
            "taken by the table, messages/s",
            "not acknowledged, messages",
            "lag, records",
            "lag, s",
            "PUBACK p99, ms",
            "RSS, MiB",
        ];
        let row = |pair: &[Sample]| {
            let [before, now] = pair else { return Vec::new() };
            let seconds = (now.at - before.at).as_secs_f64();
            vec![
                now.at.as_secs_f64(),
                offered(before.wall, now.wall) as f64 / seconds,
                (now.acknowledged - before.acknowledged) / seconds,
                // Tables in a process that was started again count from none.
                ((now.taken - before.taken) / seconds).max(0.0),
                now.in_flight,
                now.lag_records(),
                now.lag_seconds,
                now.latencies.since(&before.latencies).milliseconds(0.99).unwrap_or(0.0),
                now.resident_mib,
            ]
        };
        Series {
            name: name.to_owned(),
            columns: columns.map(str::to_owned).to_vec(),
            rows: self.samples.windows(2).map(row).collect(),
        }
    }
}

/// Memory of the process that it has in RAM.
fn resident_mib(weir: &Weir) -> anyhow::Result<f64> {
    let path = format!("/proc/{}/status", weir.pid().as_raw_nonzero());
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).with_context(|| format!("no VmRSS in {path}"))
}
