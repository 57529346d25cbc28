//! A rule that fired and has steps: one row of the stream `workflows`.

use std::sync::Arc;

use telemetry::Timestamp;

use crate::file::Severity;

/// What fired, and what is to be done about it. Everything that a step needs is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// Deterministic id of the run: 32 hex digits, a hash of rule, version, device, and of boot, number, metric and
    /// time of the reading, or of the time bucket where the rule has a cool-down.
    pub run_id: String,
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: i64,
    /// Its severity.
    pub severity: Severity,
    /// Its message, the places filled in.
    pub message: String,
    /// Who measured.
    pub device_id: String,
    /// Where.
    pub site: Option<String>,
    /// When, by the device's clock.
    pub time: Timestamp,
    /// When Weir received it.
    pub received_at: Timestamp,
    /// Restart counter of the device.
    pub boot: Option<i64>,
    /// Message number since that restart.
    pub seq: Option<i64>,
    /// JSON object: `{"metric":"temperature","value":81.5,"unit":"Cel"}` of a reading (the value as number, boolean
    /// or text), `{"metrics":{"temperature":81.5,"humidity":12}}` of a message.
    pub data: String,
    /// [`crate::plan::Plan`] as JSON.
    pub plan: Arc<str>,
}

impl Firing {
    /// The idempotency key of step `step`, from 0.
    #[must_use]
    pub fn step_key(&self, step: usize) -> String {
        format!("{}-{step}", self.run_id)
    }
}
