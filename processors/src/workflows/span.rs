//! The span of an attempt at a step.

use std::sync::{Mutex, PoisonError};

use telemetry::Timestamp;
use telemetry::trace::{AttributeValue, Context, Span, SpanKind};

use super::run::Run;
use super::target::Outcome;

/// One attempt at a step.
const STEP: &str = "step";

/// The span of one attempt, from when it begins until its outcome is known. Whoever makes the attempt may say more of
/// it.
#[derive(Debug)]
pub struct StepSpan {
    context: Context,
    span: Mutex<Span>,
}

impl StepSpan {
    /// The span `context` of an attempt at step `step` of `run`, for `target`, which begins at `now`; a part of the
    /// span `receive` of the message.
    pub(super) fn begin(
        context: Context,
        receive: Context,
        run: &Run,
        step: usize,
        target: &str,
        now: Timestamp,
    ) -> Self {
        let firing = &run.firing;
        let tried = run.steps.get(step).map_or(0, |progress| progress.attempts);
        let kind = run.plan.steps.get(step).map_or("", |step| step.action.kind());
        let mut span = Span::new(STEP, SpanKind::Client, context, now, now)
            .within(Some(receive.span))
            .with("weir.rule", firing.rule_id.as_str())
            .with("weir.workflow.run", firing.run_id.as_str())
            .with("weir.step", i64::try_from(step).unwrap_or(i64::MAX))
            .with("weir.step.kind", kind)
            .with("weir.target", target)
            .with("weir.attempt", i64::from(tried) + 1)
            .with("weir.device", firing.device_id.as_str());
        if let (Some(boot), Some(seq)) = (firing.boot, firing.seq) {
            span = span.with("weir.boot", boot).with("weir.seq", seq);
        }
        Self { context, span: Mutex::new(span) }
    }

    /// What is sent on, for whoever does the step to be a part of it.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context
    }

    /// Says one more thing of the attempt.
    pub fn say(&self, name: &'static str, value: impl Into<AttributeValue>) {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        span.attributes.push((name, value.into()));
    }

    /// The span of an attempt that ended at `now` with `outcome`.
    pub(super) fn ended(&self, now: Timestamp, outcome: &Outcome) -> Span {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner).clone();
        span.end = now;
        span.error = error(outcome);
        span
    }
}

/// Why a step was not done.
fn error(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Done(_) => None,
        Outcome::Failed(why) | Outcome::Refused(why) | Outcome::Busy { reason: why, .. } => Some(why.clone()),
        Outcome::Absent { topic } => Some(format!("no device subscribes to {topic}")),
    }
}
