//! The step `log`: a line in the log of the process.

use async_trait::async_trait;

use crate::workflows::body;
use crate::workflows::outside::reason::brief;
use crate::workflows::target::{Attempt, Outcome, Target};

/// The log. It is never in trouble.
#[derive(Clone, Copy, Debug)]
pub struct Log;

#[async_trait]
impl Target for Log {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        let firing = &attempt.firing;
        let text = match attempt.step().and_then(|step| step.body.as_ref()) {
            Some(_) => body::render(attempt).map(|body| body.text),
            None => Ok(firing.message.clone()),
        };
        match text {
            Ok(text) => {
                // As Debug: a device's text cannot write lines of its own.
                tracing::info!(rule = firing.rule_id, device = ?firing.device_id, key = &*attempt.key, text = ?text, "rule fired");
                Outcome::Done("logged".to_owned())
            }
            Err(problem) => Outcome::Refused(brief(&problem)),
        }
    }
}
