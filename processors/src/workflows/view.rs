//! What people see of runs: the answers of the HTTP API, which the commands print. Times are microseconds since 1970,
//! UTC.

use serde::{Deserialize, Serialize};

use super::run::{Run, RunState, StepState};

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunFilter {
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only those of this rule.
    pub rule: Option<String>,
    /// Only those of this device.
    pub device: Option<String>,
}

impl RunFilter {
    pub(super) fn takes(&self, run: &Run) -> bool {
        self.state.is_none_or(|state| state == run.state)
            && self.rule.as_ref().is_none_or(|rule| *rule == run.firing.rule_id)
            && self.device.as_ref().is_none_or(|device| *device == run.firing.device_id)
    }
}

/// A part of the list of runs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Where the list goes on: `after` of the next request. `None` at its end.
    pub next: Option<u64>,
}

/// A run in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Id of the run, and of the alert.
    pub id: String,
    /// Counts admitted firings: the order of the list.
    pub number: u64,
    /// Id of the rule.
    pub rule: String,
    /// Version of the rule.
    pub rule_version: i64,
    /// Severity of the rule.
    pub severity: String,
    /// The device.
    pub device: String,
    /// How it stands.
    pub state: RunState,
    /// Number of steps.
    pub steps: usize,
    /// Index of the step to do next, or that is a dead letter.
    pub step: Option<usize>,
    /// The target of that step.
    pub target: Option<String>,
    /// Attempts at that step.
    pub attempts: u32,
    /// What the last attempt at that step said, or at the last step of a run that ended.
    pub last: String,
    /// When Weir received the reading.
    pub received_at: i64,
    /// When the executor took the firing.
    pub admitted_at: i64,
    /// When the run ended, or began to wait with a dead letter.
    pub ended_at: Option<i64>,
}

/// A run, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunDetail {
    /// The line of the list.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Message of the alert.
    pub message: String,
    /// Where the device is.
    pub site: Option<String>,
    /// When it was measured, by the device's clock.
    pub time: i64,
    /// Restart counter of the device.
    pub boot: Option<i64>,
    /// Message number since that restart.
    pub seq: Option<i64>,
    /// What was measured.
    pub data: serde_json::Value,
    /// Labels of the rule.
    pub labels: std::collections::BTreeMap<String, String>,
    /// How often it was redriven.
    pub redrives: u32,
    /// Offset of its newest dead letter in `workflow_dead_letters`.
    pub letter: Option<u64>,
    /// The steps.
    pub progress: Vec<StepView>,
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Index, from 0.
    pub index: usize,
    /// `webhook`, `mqtt`, `emit`, `email` or `log`.
    pub kind: String,
    /// Its target.
    pub target: String,
    /// Its idempotency key.
    pub key: String,
    /// How it stands.
    pub state: StepState,
    /// Attempts since it was admitted or redriven.
    pub attempts: u32,
    /// What the last attempt said.
    pub last: String,
    /// When the first attempt began.
    pub begun_at: Option<i64>,
    /// When it was done or given up.
    pub ended_at: Option<i64>,
}

/// What became of a request to change a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// It is done, and durable.
    Yes,
    /// No run of this id is known.
    Unknown,
    /// The run is in a state in which this cannot be done.
    Not(RunState),
}

impl From<&Run> for RunSummary {
    fn from(run: &Run) -> Self {
        let at = run.current();
        let shown = at.or_else(|| run.steps.iter().rposition(|step| step.attempts > 0));
        let progress = shown.and_then(|at| run.steps.get(at));
        Self {
            id: run.firing.run_id.clone(),
            number: run.number,
            rule: run.firing.rule_id.clone(),
            rule_version: run.firing.rule_version,
            severity: run.firing.severity.as_str().to_owned(),
            device: run.firing.device_id.clone(),
            state: run.state,
            steps: run.steps.len(),
            step: at,
            target: run.target(),
            attempts: progress.map_or(0, |step| step.attempts),
            last: progress.map(|step| step.last.clone()).unwrap_or_default(),
            received_at: run.firing.received_at.as_micros(),
            admitted_at: run.admitted_at.as_micros(),
            ended_at: run.ended_at.map(telemetry::Timestamp::as_micros),
        }
    }
}

impl From<&Run> for RunDetail {
    fn from(run: &Run) -> Self {
        let firing = &run.firing;
        let steps = run.plan.steps.iter().zip(&run.steps).enumerate();
        Self {
            summary: run.into(),
            message: firing.message.clone(),
            site: firing.site.clone(),
            time: firing.time.as_micros(),
            boot: firing.boot,
            seq: firing.seq,
            data: serde_json::from_str(&firing.data).unwrap_or_else(|_| firing.data.clone().into()),
            labels: run.plan.labels.clone(),
            redrives: run.redrives,
            letter: run.letter,
            progress: steps
                .map(|(index, (step, progress))| StepView {
                    index,
                    kind: step.action.kind().to_owned(),
                    target: step.action.target(),
                    key: firing.step_key(index),
                    state: progress.state,
                    attempts: progress.attempts,
                    last: progress.last.clone(),
                    begun_at: progress.begun_at,
                    ended_at: progress.ended_at,
                })
                .collect(),
        }
    }
}
