//! Configuration: one TOML file, then the environment, then flags; unknown keys are refused.
//!
//! `config/weir.toml` documents every option; a test keeps file and code the same. An option is overridden
//! by `WEIR_SECTION__KEY`, e.g. `WEIR_SINK__ROLL_ROWS=100000`.

mod bridge;
mod fluvio;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use streams::StreamName;

pub(crate) use self::bridge::{Bridge, Format, Protocol, Subscription};
pub(crate) use self::fluvio::{Backend, Fluvio};

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) data: Data,
    pub(crate) mqtt: Mqtt,
    pub(crate) bridge: Bridge,
    pub(crate) http: Http,
    pub(crate) streams: Streams,
    pub(crate) fluvio: Fluvio,
    pub(crate) rules: Rules,
    pub(crate) workflows: Workflows,
    pub(crate) email: Email,
    pub(crate) sink: Sink,
    pub(crate) consumers: Consumers,
}

/// Where everything is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Data {
    /// Directory of the log, the tables and the staging area: one file system.
    pub(crate) dir: PathBuf,
}

/// The door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mqtt {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) topic_template: String,
    pub(crate) max_connections: usize,
    pub(crate) max_payload_bytes: usize,
    pub(crate) max_in_flight_messages: u16,
    pub(crate) max_in_flight_bytes: usize,
    pub(crate) open_group_bytes: usize,
    pub(crate) max_future_seconds: u64,
    pub(crate) stop_deadline_seconds: u64,
}

/// Metrics and health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
}

/// The streams, and the embedded log they are in unless they are on a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Streams {
    pub(crate) backend: Backend,
    pub(crate) partitions: u32,
    pub(crate) segment_bytes: u64,
    pub(crate) quota_bytes: u64,
    pub(crate) retention_bytes: u64,
    pub(crate) retention_age_seconds: u64,
    pub(crate) queue_bytes: usize,
    /// Streams, and tables, that workflows emit to.
    pub(crate) emit: Vec<String>,
}

/// The rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rules {
    /// A file, or a directory of files. Empty: no rules.
    pub(crate) file: PathBuf,
    pub(crate) gather_seconds: f64,
}

/// What rules start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Workflows {
    pub(crate) concurrency: usize,
    pub(crate) window: usize,
    pub(crate) max_pending: u64,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_open_seconds: f64,
    pub(crate) breaker_longest_open_seconds: f64,
    pub(crate) keep_seconds: u64,
    pub(crate) keep_runs: u64,
    /// Ranges of addresses, e.g. `10.0.0.0/8`.
    pub(crate) allow_addresses: Vec<String>,
}

/// The SMTP server of the step `email`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Email {
    /// Empty: no e-mail is sent.
    pub(crate) url: String,
    pub(crate) from: String,
    pub(crate) user: String,
    /// Where the password is, never the password.
    pub(crate) password: String,
}

/// The tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sink {
    pub(crate) roll_rows: usize,
    pub(crate) roll_bytes: usize,
    pub(crate) roll_age_seconds: f64,
}

/// What rules and sinks have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Consumers {
    pub(crate) read_bytes: usize,
    pub(crate) commit_interval_seconds: f64,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: "weir-data".into() }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            workers: 1,
            topic_template: "{site}/{device_id}/telemetry".to_owned(),
            max_connections: 10_000,
            max_payload_bytes: telemetry::limits::PAYLOAD_BYTES,
            max_in_flight_messages: 1024,
            max_in_flight_bytes: 4 * 1024 * 1024,
            open_group_bytes: 8 * 1024 * 1024,
            max_future_seconds: telemetry::limits::FUTURE.as_secs(),
            stop_deadline_seconds: 30,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            backend: Backend::Embedded,
            partitions: 8,
            segment_bytes: 256 * 1024 * 1024,
            quota_bytes: 32 * 1024 * 1024 * 1024,
            retention_bytes: 4 * 1024 * 1024 * 1024,
            retention_age_seconds: 7 * 24 * 60 * 60,
            queue_bytes: 32 * 1024 * 1024,
            emit: Vec::new(),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { file: PathBuf::new(), gather_seconds: 0.01 }
    }
}

impl Default for Workflows {
    fn default() -> Self {
        Self {
            concurrency: 16,
            window: 65_536,
            max_pending: 1_000_000,
            breaker_failures: 5,
            breaker_open_seconds: 5.0,
            breaker_longest_open_seconds: 60.0,
            keep_seconds: 7 * 24 * 60 * 60,
            keep_runs: 100_000,
            allow_addresses: Vec::new(),
        }
    }
}

impl Default for Sink {
    fn default() -> Self {
        Self { roll_rows: 1_000_000, roll_bytes: 48 * 1024 * 1024, roll_age_seconds: 60.0 }
    }
}

impl Default for Consumers {
    fn default() -> Self {
        Self { read_bytes: 1024 * 1024, commit_interval_seconds: 5.0 }
    }
}

impl Config {
    /// The settings of `file` (defaults without one), overridden by `environment`.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let mut table = match file {
            Some(path) => read(path)?,
            None => toml::Table::new(),
        };
        for (name, value) in environment {
            if let Some(option) = name.strip_prefix("WEIR_").filter(|option| option.contains("__")) {
                set(&mut table, option, &value).with_context(|| format!("environment variable {name}"))?;
            }
        }
        let origin = file.map_or_else(|| "configuration".to_owned(), |path| path.display().to_string());
        let config: Self = table.try_into().with_context(|| origin.clone())?;
        config.check().with_context(|| origin)?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        let bounds = [
            ("mqtt.workers", self.mqtt.workers as u64, 1, 64),
            ("mqtt.max_connections", self.mqtt.max_connections as u64, 1, 1_000_000),
            (
                "mqtt.max_payload_bytes",
                self.mqtt.max_payload_bytes as u64,
                256,
                telemetry::limits::PAYLOAD_BYTES as u64,
            ),
            ("mqtt.max_in_flight_messages", u64::from(self.mqtt.max_in_flight_messages), 1, 65_535),
            ("mqtt.max_in_flight_bytes", self.mqtt.max_in_flight_bytes as u64, 65_536, 1 << 30),
            ("mqtt.open_group_bytes", self.mqtt.open_group_bytes as u64, 65_536, 1 << 28),
            ("streams.partitions", u64::from(self.streams.partitions), 1, 1024),
            ("streams.segment_bytes", self.streams.segment_bytes, 64 * 1024, 1 << 31),
            ("streams.queue_bytes", self.streams.queue_bytes as u64, 1 << 20, 1 << 30),
            ("sink.roll_rows", self.sink.roll_rows as u64, 1, 16 << 20),
            ("sink.roll_bytes", self.sink.roll_bytes as u64, 65_536, 1 << 34),
            ("workflows.concurrency", self.workflows.concurrency as u64, 1, 1024),
            ("workflows.window", self.workflows.window as u64, 16, 1 << 20),
            ("workflows.max_pending", self.workflows.max_pending, 1, 100_000_000),
            ("workflows.breaker_failures", u64::from(self.workflows.breaker_failures), 1, 1000),
            ("workflows.keep_seconds", self.workflows.keep_seconds, 86_400, 366 * 86_400),
            ("workflows.keep_runs", self.workflows.keep_runs, 0, 100_000_000),
            ("consumers.read_bytes", self.consumers.read_bytes as u64, 1024, 1 << 30),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                bail!("{name} = {value}: expected a number from {least} to {most}");
            }
        }
        for (name, seconds, least) in [
            ("rules.gather_seconds", self.rules.gather_seconds, 0.001),
            ("workflows.breaker_open_seconds", self.workflows.breaker_open_seconds, 0.05),
            (
                "workflows.breaker_longest_open_seconds",
                self.workflows.breaker_longest_open_seconds,
                self.workflows.breaker_open_seconds,
            ),
            ("sink.roll_age_seconds", self.sink.roll_age_seconds, 0.05),
            ("consumers.commit_interval_seconds", self.consumers.commit_interval_seconds, 0.05),
        ] {
            if !(least..=86_400.0).contains(&seconds) {
                bail!("{name} = {seconds}: expected seconds from {least} to 86400");
            }
        }
        self.emit()?;
        self.bridge.check()?;
        self.fluvio.check()?;
        if self.mqtt.open_group_bytes > self.streams.queue_bytes / 4 {
            bail!(
                "mqtt.open_group_bytes = {}: expected at most a quarter of streams.queue_bytes, {}",
                self.mqtt.open_group_bytes,
                self.streams.queue_bytes / 4
            );
        }
        if self.streams.quota_bytes < 2 * self.streams.segment_bytes {
            bail!(
                "streams.quota_bytes = {}: expected at least two segments, {} bytes",
                self.streams.quota_bytes,
                2 * self.streams.segment_bytes
            );
        }
        Ok(())
    }

    /// The streams that workflows emit to.
    pub(crate) fn emit(&self) -> anyhow::Result<Vec<StreamName>> {
        let mut names = Vec::new();
        for text in &self.streams.emit {
            // Readers of Parquet pass over folders that begin with `_`.
            let allowed = |name: &StreamName| !name.is_reserved() && !names.contains(name) && !text.starts_with('_');
            let name = StreamName::new(text).filter(allowed);
            names.push(name.with_context(|| {
                format!(
                    "streams.emit has `{text}`: expected names of 1 to 64 lower case letters, digits, `_` or `-`, \
                     not beginning with `_`, each once, none of Weir's own streams"
                )
            })?);
        }
        Ok(names)
    }

    /// The settings as TOML.
    pub(crate) fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("configuration as TOML")
    }
}

fn read(path: &Path) -> anyhow::Result<toml::Table> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.parse().with_context(|| path.display().to_string())
}

/// Puts `value` at `option`, `SECTION__KEY`.
fn set(table: &mut toml::Table, option: &str, value: &str) -> anyhow::Result<()> {
    let (section, key) = option.split_once("__").context("expected WEIR_SECTION__KEY")?;
    let section = section.to_lowercase();
    // A value that is not TOML is a text without quotes.
    let parsed = format!("value = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let entry = table.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    entry.as_table_mut().with_context(|| format!("{section} is not a section"))?.insert(key.to_lowercase(), value);
    Ok(())
}

#[cfg(test)]
mod tests;
