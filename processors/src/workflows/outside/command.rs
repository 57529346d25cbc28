//! What the steps `mqtt` have in common, whoever they go to.

use std::time::Duration;

use bytes::Bytes;
use telemetry::Clock;

use crate::plan::{Action, Mqtt, Step};
use crate::workflows::outside::reason::brief;
use crate::workflows::target::{Attempt, Outcome};
use crate::workflows::{body, places};

/// A rendered command that is still worth sending.
pub(crate) struct Rendered {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// What is left of its time to live.
    pub(crate) expiry: Duration,
}

/// The command of `attempt`, or why there is none.
pub(crate) fn render(attempt: &Attempt, clock: &dyn Clock) -> Result<Rendered, Outcome> {
    let Some(Step { action: Action::Mqtt(Mqtt { topic, ttl, .. }), .. }) = attempt.step() else {
        return Err(Outcome::Refused("the step is not a command".to_owned()));
    };
    let expiry = ttl.saturating_sub(clock.now().since(attempt.firing.received_at));
    if expiry.is_zero() {
        return Err(Outcome::Refused(format!("time to live of {ttl:?} is over")));
    }
    let refused = |problem: String| Outcome::Refused(brief(&problem));
    let topic = places::topic(topic, &attempt.firing).map_err(refused)?;
    let payload = body::render(attempt).map_err(refused)?.into_bytes();
    Ok(Rendered { topic, payload, expiry })
}
