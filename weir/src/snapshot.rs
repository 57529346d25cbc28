//! What a process does at this moment, for people: `GET /api/v1/snapshot`, the live page, `weir top`.
//!
//! Made of the process's own metrics and of the end of the stream `alerts` when somebody asks, so it costs nothing
//! when nobody does. Counts are since the process started; a rate is the difference of two snapshots. What a process
//! does not have, a stage apart, is left out or empty.

mod alerts;
mod parts;
mod series;
mod source;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::source::Source;

/// One process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// When it was made, milliseconds since 1970.
    pub(crate) time_ms: i64,
    /// Version of weir.
    pub(crate) version: String,
    /// What the process does: `up`, `ingest`, `process`, `workflows` or `sink`.
    pub(crate) stage: String,
    /// When the process started, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_ms: Option<i64>,
    /// Whether it does its work.
    pub(crate) ready: Ready,
    /// Counts without labels.
    pub(crate) totals: Totals,
    /// Records made durable, by stream.
    #[serde(default)]
    pub(crate) streams: Vec<Stream>,
    /// Consumers of streams.
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
    /// Tables that this process writes.
    #[serde(default)]
    pub(crate) tables: Vec<Table>,
    /// Rules that were in force since the start.
    #[serde(default)]
    pub(crate) rules: Vec<Rule>,
    /// Where workflows run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workflows: Option<Workflows>,
    /// What the devices measure, by metric and site.
    #[serde(default)]
    pub(crate) fleet: Vec<Fleet>,
    /// Where there is a door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) devices: Option<Devices>,
    /// Whether everything received is accounted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) balance: Option<Balance>,
    /// How long things took.
    #[serde(default)]
    pub(crate) latencies: Vec<Latency>,
    /// The newest alerts, newest first, at most [`alerts::NEWEST`]. Those of one cool-down share an id, and are one.
    #[serde(default)]
    pub(crate) alerts: Vec<Alert>,
}

/// As `/readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Counts without labels; `None` where the process does not do such things.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Totals {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received_messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received_readings: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged_messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged_readings: Option<u64>,
    /// Received and not yet acknowledged, now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unacknowledged_messages: Option<u64>,
    /// MQTT connections, now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<u64>,
    /// Records made durable in all streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) appended_records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) appended_bytes: Option<u64>,
    /// Bytes of the log on disk, now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_bytes: Option<u64>,
    /// Bytes at which appends are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_quota_bytes: Option<u64>,
    /// Messages refused, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resident_bytes: Option<u64>,
}

/// One stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) stream: String,
    /// Records that this process made durable.
    pub(crate) appended_records: u64,
}

/// One consumer group, all partitions of this process together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) stream: String,
    /// Durable records it has not applied, summed.
    pub(crate) lag_records: u64,
    /// Age of the oldest of them, of all partitions.
    pub(crate) lag_seconds: f64,
    pub(crate) read_rows: u64,
    pub(crate) deduplicated_rows: u64,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) table: String,
    /// Rows, files and bytes committed.
    pub(crate) rows: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Rows that wait for the next commit, now.
    pub(crate) buffered_rows: u64,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) rule: String,
    pub(crate) matches: u64,
    pub(crate) errors: u64,
}

/// The executor of workflows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Workflows {
    /// Firings read, whatever became of them.
    pub(crate) firings: u64,
    /// Runs that are under way, now.
    pub(crate) open_runs: u64,
    /// Runs that were given up and wait for a person, now.
    #[serde(default)]
    pub(crate) dead_runs: u64,
    /// Runs that came into a state, by state: `pending`, `done`, `failed`, `dead`, `cancelled`, `dropped`.
    pub(crate) runs: BTreeMap<String, u64>,
    pub(crate) breakers: Vec<Breaker>,
}

/// The circuit breaker of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breaker {
    pub(crate) target: String,
    /// `closed`, `half_open` or `open`.
    pub(crate) state: String,
    /// Steps that wait or run, now.
    #[serde(default)]
    pub(crate) pending: u64,
}

/// One metric at one site. The values are of the last full minute, and missing where it had none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fleet {
    pub(crate) metric: String,
    pub(crate) site: String,
    pub(crate) readings: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mean: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    /// When the last reading was received, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_seconds: Option<f64>,
}

/// Devices, by whether they sent something of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Devices {
    pub(crate) active: u64,
    pub(crate) silent: u64,
}

/// What became of everything received; the differences are 0 at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balance {
    /// `received`, `stored`, `deduplicated`, `in_flight`.
    #[serde(default)]
    pub(crate) readings: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) difference_readings: Option<i64>,
    /// `received`, `accepted`, `dead_lettered`, `rejected`, `in_flight`.
    #[serde(default)]
    pub(crate) messages: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) difference_messages: Option<i64>,
}

/// How long one hop took, as a histogram: quantiles of a while are those of the difference of two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// `acknowledge` (received until its acknowledgement), `sync` (one fdatasync), `workflow` (received until the first
    /// attempt), `table/NAME` (received until committed).
    pub(crate) hop: String,
    pub(crate) count: u64,
    /// Upper bound in seconds, and how many took at most that; the last, infinite bound is left out.
    pub(crate) buckets: Vec<(f64, u64)>,
}

/// One alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// 32 hex digits.
    #[serde(default)]
    pub(crate) id: String,
    /// When it was appended, milliseconds since 1970.
    pub(crate) time_ms: i64,
    pub(crate) rule: String,
    /// `info`, `warning` or `critical`.
    pub(crate) severity: String,
    pub(crate) device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<String>,
    pub(crate) metric: String,
    /// Where it is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// At most [`alerts::MESSAGE_CHARS`] of it.
    pub(crate) message: String,
}

#[cfg(test)]
mod tests;
