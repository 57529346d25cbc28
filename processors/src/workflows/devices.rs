//! Commands to devices that are connected to our own endpoint.
//!
//! The endpoint keeps no session. A command that nobody is there for stays with the executor, which sends it when a
//! device subscribes to its topic, until the time to live of the step is over.

use std::sync::Arc;

use async_trait::async_trait;
use telemetry::Clock;

use crate::workflows::outside::command;
use crate::workflows::outside::reason::brief;
use crate::workflows::target::{Attempt, Command, CommandError, Devices, Outcome, Target};

/// All devices of the endpoint.
#[derive(Debug)]
pub struct ConnectedDevices {
    endpoint: Arc<dyn Devices>,
    clock: Arc<dyn Clock>,
}

impl ConnectedDevices {
    /// Sends through `endpoint`.
    #[must_use]
    pub fn new(endpoint: Arc<dyn Devices>, clock: Arc<dyn Clock>) -> Self {
        Self { endpoint, clock }
    }
}

#[async_trait]
impl Target for ConnectedDevices {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        let rendered = match command::render(attempt, self.clock.as_ref()) {
            Ok(rendered) => rendered,
            Err(outcome) => return outcome,
        };
        let topic: Arc<str> = rendered.topic.into();
        let command = Command {
            topic: topic.clone(),
            payload: rendered.payload,
            key: attempt.key.clone(),
            expiry: rendered.expiry,
            trace: attempt.span.as_ref().map(|span| span.context()),
        };
        match self.endpoint.send(command).await {
            Ok(()) => Outcome::Done("acknowledged by the device".to_owned()),
            Err(CommandError::Absent) => Outcome::Absent { topic },
            // One device that hangs up says nothing about the others, so it is nothing for the breaker they share.
            Err(error @ CommandError::Lost) => Outcome::Busy { reason: error.to_string(), after: None },
            Err(CommandError::Refused(reason)) => Outcome::Refused(brief(&reason)),
        }
    }
}

#[cfg(test)]
mod tests;
