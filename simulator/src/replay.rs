//! One device that tells a recording: every row of a CSV file arrives, also rows with the same time.
//!
//! A message is numbered by its place in the file, from 1, so a row is told from another by its number, not by
//! its time, and a second replay with the same boot stores nothing twice.

mod recording;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use telemetry::{Clock, limits};
use tokio::sync::watch;

use crate::backoff::{self, Backoff};
use crate::identity::{self, check_name};
use crate::lines;
use crate::mischief::Mischief;
use crate::outbox;
use crate::patience::{self, Patience};
use crate::payload;
use crate::progress::{Progress, Summary};
use crate::publisher::{Device, Habits, Publisher, Run, Source};
use crate::sent::{Origin, Reading};
use crate::witness;

pub use recording::{Error, Row, read};

/// Which recording is told, as whose, and how fast.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// MQTT server, `host:port`.
    pub mqtt: String,
    /// CSV file with the columns `timestamp` and `value`, in any place; others are left alone. It is held in
    /// memory, 16 bytes a row.
    pub file: PathBuf,
    /// What the values are, e.g. `temperature`.
    pub metric: String,
    /// Who measured.
    pub device: String,
    /// SenML unit of the values, e.g. `Cel`; empty for none.
    pub unit: String,
    /// Where the device stands.
    pub site: String,
    /// Topic to publish to, with places `{site}`, `{device_id}` and `{metric}`.
    pub topic: String,
    /// How fast.
    pub speed: Speed,
    /// File of what was acknowledged; one that exists is continued.
    pub ledger: PathBuf,
    /// Restart counter of the device; `None` for the seconds of the clock at the start.
    pub boot: Option<i64>,
    /// Most messages without their PUBACK, 1 to 65,535.
    pub in_flight: usize,
    /// Rows in a message, from 1; the last message may have fewer.
    pub readings_per_message: usize,
    /// How long to wait for PUBACKs at the end.
    pub drain: Duration,
    /// File of everything sent, one line a reading; one that exists is continued.
    pub sent: Option<PathBuf>,
    /// How long to wait for an acknowledgement, or for anything at all, before a new connection; from 100 ms.
    pub patience: Duration,
    /// Longest pause between two attempts to connect.
    pub reconnect_within: Duration,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            mqtt: "127.0.0.1:1883".into(),
            file: PathBuf::new(),
            metric: "value".into(),
            device: "recording".into(),
            unit: String::new(),
            site: "replay".into(),
            topic: "{site}/{device_id}/telemetry".into(),
            speed: Speed::Max,
            ledger: "ledger.csv".into(),
            boot: None,
            in_flight: 256,
            readings_per_message: 1,
            drain: Duration::from_secs(30),
            sent: None,
            patience: patience::USUAL,
            reconnect_within: backoff::USUAL_LONGEST,
        }
    }
}

/// How fast a recording is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it is acknowledged.
    Max,
    /// This many seconds of the recording in one second, above 0.
    Factor(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "max" => Ok(Self::Max),
            Ok(factor) if f64::is_finite(factor) && factor > 0.0 => Ok(Self::Factor(factor)),
            _ => Err(format!("speed `{text}`: expected `max` or a factor above 0, e.g. `60`")),
        }
    }
}

/// Publishes the recording until it is over or `stop` is true (or its sender gone), then waits for what is not
/// acknowledged yet. A connection that fails is opened again, for ever.
///
/// # Errors
/// If the configuration makes no sense, a row of the file cannot be read (nothing is published then), or the
/// ledger cannot be written.
pub async fn run(
    config: ReplayConfig,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
    progress: Arc<Progress>,
) -> anyhow::Result<Summary> {
    check(&config)?;
    let places = [("site", &*config.site), ("device_id", &*config.device), ("metric", &*config.metric)];
    let topic = identity::topic(&config.topic, &places)?;
    let file = config.file.clone();
    let rows = tokio::task::spawn_blocking(move || read(&file)).await??;
    let boot = config.boot.unwrap_or_else(|| identity::boot_now(&*clock));
    let device = Device { name: config.device.as_str().into(), topic, commands: None };
    let source = Recording {
        rows,
        next: 0,
        start: clock.monotonic(),
        per_message: config.readings_per_message,
        speed: config.speed,
        device: Arc::clone(&device.name),
        boot,
        metric: payload::quoted(&config.metric),
        unit: (!config.unit.is_empty()).then(|| payload::quoted(&config.unit)),
        origin: Origin::new(&config.device, identity::site_told(&config.topic, &config.site)),
        csv: (lines::field(&config.metric), lines::field(&config.unit)),
    };
    let witness = witness::Writers::open(&config.ledger, config.sent.as_deref(), None)?;
    let (mqtt, drain, patience) = (config.mqtt, config.drain, Patience::of(config.patience));
    let run = Arc::new(Run { mqtt, clock, progress: Arc::clone(&progress), until: None, drain, patience });
    let random = ChaCha8Rng::seed_from_u64(boot.cast_unsigned());
    let habits = Habits {
        in_flight: config.in_flight,
        backoff: Backoff::new(config.reconnect_within, random.clone()),
        mischief: Mischief::new(0.0, random),
    };
    let publisher = Publisher::new(run, stop, witness.senders(), device, source, habits);
    let ended = publisher.run(Duration::ZERO).await;
    // The writer's own error says why the publisher could not go on.
    witness.finish().await?;
    let recording = ended?;
    let mut summary = Summary { unpublished_readings: recording.left(), ..progress.summary(1) };
    if recording.speed == Speed::Max {
        // Without a schedule nothing is late.
        (summary.late_messages, summary.max_lateness_micros) = (0, 0);
    }
    Ok(summary)
}

fn check(config: &ReplayConfig) -> anyhow::Result<()> {
    identity::check_device(&config.device)?;
    identity::check_site(&config.site)?;
    check_name("metric", &config.metric, limits::METRIC_BYTES)?;
    ensure!(!matches!(&*config.metric, "boot" | "seq"), "metric `{}` is the identity of a message", config.metric);
    let longest = limits::UNIT_BYTES;
    ensure!(config.unit.len() <= longest, "unit `{}`: at most {longest} bytes allowed", config.unit);
    ensure!(
        !config.unit.chars().any(char::is_control),
        "unit `{}`: has control characters",
        config.unit.escape_debug()
    );
    if let Speed::Factor(factor) = config.speed {
        ensure!(factor.is_finite() && factor > 0.0, "speed: {factor} is not above 0");
    }
    identity::check_boot(config.boot)?;
    let most = outbox::MAX_CAPACITY;
    ensure!((1..=most).contains(&config.in_flight), "in_flight: {} is not in 1..={most}", config.in_flight);
    let (patience, least) = (config.patience, patience::SHORTEST);
    ensure!(patience >= least, "patience: {patience:?} is below {least:?}");
    let (readings, most) = (config.readings_per_message, limits::READINGS_PER_MESSAGE);
    ensure!((1..=most).contains(&readings), "readings_per_message: {readings} is not in 1..={most}");
    let names = payload::quoted(&config.metric).len() + payload::quoted(&config.unit).len();
    let bytes = readings.saturating_mul(READING_BYTES + names);
    ensure!(
        bytes <= limits::PAYLOAD_BYTES,
        "readings_per_message: {readings} make up to {bytes} bytes, at most {} allowed",
        limits::PAYLOAD_BYTES
    );
    Ok(())
}

/// The most a reading takes in a pack, apart from its metric and unit.
const READING_BYTES: usize = 80;

/// The rows still to be told.
struct Recording {
    rows: Vec<Row>,
    next: usize,
    start: Duration,
    per_message: usize,
    speed: Speed,
    device: Arc<str>,
    boot: i64,
    metric: String,
    unit: Option<String>,
    origin: Origin,
    /// Metric and unit as fields of CSV.
    csv: (String, String),
}

impl Recording {
    fn left(&self) -> u64 {
        (self.rows.len() - self.next) as u64
    }
}

impl Source for Recording {
    fn due(&self) -> Option<Duration> {
        let row = self.rows.get(self.next)?;
        match (self.speed, self.rows.first()) {
            // A row before the first one, after a clock change, is due at once.
            (Speed::Factor(factor), Some(first)) => {
                let after = row.time.since(first.time).as_secs_f64() / factor;
                Some(self.start.saturating_add(Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX)))
            }
            _ => Some(self.start),
        }
    }

    fn boot(&self) -> i64 {
        self.boot
    }

    fn write(&mut self, seq: i64, payload: &mut String, mut sent: Option<&mut String>) -> u32 {
        let rows = self.rows.iter().skip(self.next).take(self.per_message);
        let mut readings = 0;
        payload::senml_start(payload, &self.device, None, self.boot, seq);
        for row in rows {
            payload::senml_reading(payload, &self.metric, self.unit.as_deref(), Some(row.time), row.value);
            if let Some(sent) = &mut sent {
                let reading = Reading { metric: &self.csv.0, time: row.time, value: row.value, unit: &self.csv.1 };
                self.origin.line(sent, self.boot, seq, reading);
            }
            readings += 1;
        }
        payload::senml_end(payload);
        self.next += readings as usize;
        readings
    }
}
