//! What a step is done at, and how an attempt can end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use telemetry::trace::Context;

use super::span::StepSpan;
use crate::firing::Firing;
use crate::plan::{Plan, Step};

/// One attempt at one step of one run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What fired.
    pub firing: Arc<Firing>,
    /// Labels and steps of the rule when it fired.
    pub plan: Arc<Plan>,
    /// Index of the step.
    pub step: usize,
    /// Idempotency key of the step, the same in every attempt.
    pub key: Arc<str>,
    /// The span of this attempt, if the firing is traced.
    pub span: Option<Arc<StepSpan>>,
}

impl Attempt {
    /// The step to do.
    #[must_use]
    pub fn step(&self) -> Option<&Step> {
        self.plan.steps.get(self.step)
    }
}

/// How an attempt ended. Texts are for a person, hold no secret, and at most 500 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; e.g. `200 OK`.
    Done(String),
    /// The target did not do it, and may be in trouble: counts as an attempt, and against the target's breaker.
    Failed(String),
    /// The target is well and asks for patience (429, 503 with `Retry-After`): counts as an attempt, not against the
    /// breaker. The whole target is left alone for `after`.
    Busy {
        /// What it said.
        reason: String,
        /// For how long, if it said so.
        after: Option<Duration>,
    },
    /// It will never be done, however often it is tried: a bad address, 4xx, a template that fails, too late.
    Refused(String),
    /// Nobody is there who could take it now. Costs no attempt; tried again when `Waker` names `topic`, or when the
    /// step's time to live has passed, after which the executor gives it up.
    Absent {
        /// What a subscriber must come for.
        topic: Arc<str>,
    },
}

/// Something outside that steps are done at. Shared by many attempts at once.
#[async_trait]
pub trait Target: Send + Sync + fmt::Debug + 'static {
    /// Tries once. May be dropped at any time; what it had begun may then be done or not.
    async fn attempt(&self, attempt: &Attempt) -> Outcome;
}

/// Makes targets of the kinds that speak to the world outside the process.
pub trait Targets: Send + Sync + fmt::Debug + 'static {
    /// The target of `step`, to be used for all steps with the same [`crate::plan::Action::target`]. `Err` says why
    /// there can be none: every step for it is then refused.
    ///
    /// # Errors
    /// A text for a person: no SMTP server configured, a broker's address that is none.
    fn open(&self, step: &Step) -> Result<Arc<dyn Target>, String>;
}

/// A command for the devices that are connected to our MQTT endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Topic.
    pub topic: Arc<str>,
    /// Payload.
    pub payload: bytes::Bytes,
    /// Idempotency key, a user property for clients of MQTT 5.
    pub key: Arc<str>,
    /// For how long it is still worth something.
    pub expiry: Duration,
    /// The span of the attempt, if that is traced: `traceparent`, a user property for clients of MQTT 5.
    pub trace: Option<Context>,
}

/// How a command to a device ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No connected client subscribes to exactly this topic.
    #[error("no device subscribes to this topic")]
    Absent,
    /// The connection ended before the PUBACK came.
    #[error("the connection ended before the device acknowledged")]
    Lost,
    /// It can never be sent: the packet is larger than the client takes, or the topic is none.
    #[error("{0}")]
    Refused(String),
}

/// The endpoint, as workflows see it.
#[async_trait]
pub trait Devices: Send + Sync + fmt::Debug + 'static {
    /// Sends at QoS 1 to every client that subscribes to the topic without wildcards; returns when one of them has
    /// acknowledged.
    ///
    /// # Errors
    /// See [`CommandError`].
    async fn send(&self, command: Command) -> Result<(), CommandError>;
}
