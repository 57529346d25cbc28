//! One attempt at a step, and the dead letter of one that was given up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use crate::plan::{Action, Mqtt, Step};
use crate::workflows::append::{Letter, Payload};
use crate::workflows::limits;
use crate::workflows::run::Run;
use crate::workflows::target::{Attempt, Outcome, Target};

/// One attempt, bounded in time. A target that panics has failed.
pub(super) async fn attempted(target: Arc<dyn Target>, attempt: &Attempt, limit: Duration) -> Outcome {
    let guarded = AssertUnwindSafe(target.attempt(attempt)).catch_unwind();
    match tokio::time::timeout(limit, guarded).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::Failed("the attempt panicked".to_owned()),
        Err(_) => {
            let reason = format!("no end after {} ms", limit.as_millis());
            match attempt.step().map(|step| &step.action) {
                // One device that does not answer says nothing about the others.
                Some(Action::Mqtt(Mqtt { broker: None, .. })) => Outcome::Busy { reason, after: None },
                _ => Outcome::Failed(reason),
            }
        }
    }
}

/// How long an attempt may take.
pub(super) fn time_limit(step: &Step) -> Duration {
    match &step.action {
        Action::Webhook(webhook) => webhook.timeout + limits::MARGIN,
        _ => limits::ATTEMPT + limits::MARGIN,
    }
}

pub(super) fn letter_of(run: &Run, at: usize, target: &str) -> Letter {
    let progress = run.steps.get(at).cloned().unwrap_or_default();
    let attempts = progress.attempts;
    let noun = if attempts == 1 { "attempt" } else { "attempts" };
    Letter {
        reason: "workflow_step",
        detail: format!(
            "rule {} step {at} ({target}) given up after {attempts} {noun}: {}",
            run.firing.rule_id, progress.last
        ),
        topic: format!("workflows/{}/{at}", run.firing.run_id),
        firing: run.firing.clone(),
        payload: Payload::Body(Attempt {
            firing: run.firing.clone(),
            plan: run.plan.clone(),
            step: at,
            key: run.firing.step_key(at).into(),
            span: None,
        }),
    }
}
