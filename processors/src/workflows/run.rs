//! One run: what fired, what is to be done, and how far it has come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use telemetry::Timestamp;
use telemetry::trace::Context;
use twox_hash::xxhash3_128;

use super::limits;
use crate::file::Severity;
use crate::firing::Firing;
use crate::plan::Plan;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Steps are left to do.
    Pending,
    /// A step was given up and is a dead letter; the run waits for a redrive.
    Dead,
    /// All steps are done, or failed where the rule says to go on.
    Done,
    /// A step failed, and the rule says to stop.
    Failed,
    /// A person cancelled it.
    Cancelled,
    /// A person dropped it while it waited with a dead letter.
    Dropped,
}

impl RunState {
    /// All states, in the order of their names' declaration.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Dead, Self::Done, Self::Failed, Self::Cancelled, Self::Dropped];

    /// The name in JSON, metrics and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dropped => "dropped",
        }
    }

    /// Whether the run can still go on.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Dead)
    }
}

impl std::str::FromStr for RunState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("state is `{text}`, expected one of {names}")
        })
    }
}

/// How a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not done; perhaps tried.
    #[default]
    Pending,
    /// Done.
    Done,
    /// Given up, and a dead letter.
    Dead,
    /// Given up; its rule says to go on, or to stop.
    Failed,
}

/// What is known of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepProgress {
    pub(super) state: StepState,
    /// Attempts since the run was admitted or redriven.
    pub(super) attempts: u32,
    /// What the last attempt said.
    pub(super) last: String,
    /// When the first attempt began, microseconds.
    pub(super) begun_at: Option<i64>,
    /// When it was done or given up, microseconds.
    pub(super) ended_at: Option<i64>,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Counts admitted firings.
    pub(super) number: u64,
    /// [`key_of`] the run's id.
    pub(super) key: u128,
    pub(super) firing: Arc<Firing>,
    pub(super) plan: Arc<Plan>,
    pub(super) state: RunState,
    pub(super) admitted_at: Timestamp,
    /// When it ended, or began to wait with a dead letter.
    pub(super) ended_at: Option<Timestamp>,
    /// Its place among the steps of its target: the lower the earlier. Unique.
    pub(super) ticket: u64,
    /// How often it was redriven.
    pub(super) redrives: u32,
    /// Offset of its newest dead letter.
    pub(super) letter: Option<u64>,
    pub(super) steps: Vec<StepProgress>,
}

/// Where the store lists a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Ready { target: String, ticket: u64 },
    Dead { at: i64 },
    Ended { at: i64 },
}

impl Run {
    pub(super) fn new(number: u64, ticket: u64, firing: Firing, plan: Arc<Plan>, now: Timestamp) -> Self {
        let mut run = Self {
            number,
            key: key_of(&firing.run_id),
            steps: vec![StepProgress::default(); plan.steps.len()],
            firing: Arc::new(firing),
            plan,
            state: RunState::Pending,
            admitted_at: now,
            ended_at: None,
            ticket,
            redrives: 0,
            letter: None,
        };
        if run.current().is_none() {
            run.end(RunState::Done, now);
        }
        run
    }

    /// The step to do next, or that waits as a dead letter.
    pub(super) fn current(&self) -> Option<usize> {
        self.steps.iter().position(|step| matches!(step.state, StepState::Pending | StepState::Dead))
    }

    /// The target of the step to do next.
    pub(super) fn target(&self) -> Option<String> {
        self.plan.steps.get(self.current()?).map(|step| step.action.target())
    }

    pub(super) fn place(&self) -> Place {
        let at = self.ended_at.unwrap_or(self.admitted_at).as_micros();
        match (self.state, self.target()) {
            (RunState::Pending, Some(target)) => Place::Ready { target, ticket: self.ticket },
            (RunState::Dead, _) => Place::Dead { at },
            _ => Place::Ended { at },
        }
    }

    pub(super) fn end(&mut self, state: RunState, now: Timestamp) {
        self.state = state;
        self.ended_at = Some(now);
    }
}

/// A run's id as a number: the 32 hex digits it is; of another text, a hash.
pub(super) fn key_of(run_id: &str) -> u128 {
    let digits = run_id.len() == 32 && run_id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let key = digits.then(|| u128::from_str_radix(run_id, 16).ok()).flatten();
    key.unwrap_or_else(|| xxhash3_128::Hasher::oneshot(run_id.as_bytes()))
}

/// A plan, as text and decoded.
pub(super) type Decoded = (Arc<str>, Arc<Plan>);

/// Decoded plans, shared by the runs of a rule.
#[derive(Debug, Default)]
pub(super) struct Plans {
    by_hash: Mutex<HashMap<u128, Decoded>>,
}

impl Plans {
    pub(super) fn hash(json: &str) -> u128 {
        xxhash3_128::Hasher::oneshot(json.as_bytes())
    }

    /// The text and the plan of a hash that was decoded before.
    pub(super) fn find(&self, hash: u128) -> Option<Decoded> {
        self.by_hash.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    /// Decodes a plan, once.
    pub(super) fn decode(&self, json: &str) -> Result<Decoded, serde_json::Error> {
        let hash = Self::hash(json);
        if let Some(found) = self.find(hash) {
            return Ok(found);
        }
        let decoded = (Arc::from(json), Arc::new(serde_json::from_str::<Plan>(json)?));
        let mut by_hash = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if by_hash.len() >= limits::PLANS {
            by_hash.clear();
        }
        by_hash.insert(hash, decoded.clone());
        Ok(decoded)
    }
}

/// A run as the store writes it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    number: u64,
    run_id: String,
    rule_id: String,
    rule_version: i64,
    severity: String,
    message: String,
    device_id: String,
    site: Option<String>,
    time: i64,
    received_at: i64,
    boot: Option<i64>,
    seq: Option<i64>,
    data: String,
    /// Hash of the plan, hex: plans are stored once.
    plan: String,
    state: RunState,
    admitted_at: i64,
    ended_at: Option<i64>,
    ticket: u64,
    redrives: u32,
    letter: Option<u64>,
    steps: Vec<StepProgress>,
    /// The span `receive` of the message, if that is traced. Versions of Weir without it pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

impl Record {
    pub(super) fn of(run: &Run) -> Self {
        let firing = &run.firing;
        Self {
            number: run.number,
            run_id: firing.run_id.clone(),
            rule_id: firing.rule_id.clone(),
            rule_version: firing.rule_version,
            severity: firing.severity.as_str().to_owned(),
            message: firing.message.clone(),
            device_id: firing.device_id.clone(),
            site: firing.site.clone(),
            time: firing.time.as_micros(),
            received_at: firing.received_at.as_micros(),
            boot: firing.boot,
            seq: firing.seq,
            data: firing.data.clone(),
            plan: format!("{:032x}", Plans::hash(&firing.plan)),
            state: run.state,
            admitted_at: run.admitted_at.as_micros(),
            ended_at: run.ended_at.map(Timestamp::as_micros),
            ticket: run.ticket,
            redrives: run.redrives,
            letter: run.letter,
            steps: run.steps.clone(),
            traceparent: firing.trace.as_ref().map(Context::to_string),
        }
    }

    pub(super) fn plan(&self) -> Option<u128> {
        u128::from_str_radix(&self.plan, 16).ok()
    }

    pub(super) fn into_run(self, (json, plan): Decoded) -> Run {
        let firing = Firing {
            run_id: self.run_id,
            rule_id: self.rule_id,
            rule_version: self.rule_version,
            severity: severity(&self.severity),
            message: self.message,
            device_id: self.device_id,
            site: self.site,
            time: Timestamp::from_micros(self.time),
            received_at: Timestamp::from_micros(self.received_at),
            boot: self.boot,
            seq: self.seq,
            data: self.data,
            plan: json,
            trace: self.traceparent.as_deref().and_then(Context::parse),
        };
        Run {
            number: self.number,
            key: key_of(&firing.run_id),
            firing: Arc::new(firing),
            plan,
            state: self.state,
            admitted_at: Timestamp::from_micros(self.admitted_at),
            ended_at: self.ended_at.map(Timestamp::from_micros),
            ticket: self.ticket,
            redrives: self.redrives,
            letter: self.letter,
            steps: self.steps,
        }
    }
}

/// A name that this version does not know counts as the worst.
pub(super) fn severity(name: &str) -> Severity {
    [Severity::Info, Severity::Warning].into_iter().find(|known| known.as_str() == name).unwrap_or(Severity::Critical)
}
