//! Commands to devices: what is sent to a client that subscribes to exactly the topic of it.
//!
//! A subscription without wildcards makes a recipient, if it asks for QoS 1 or 2; all others watch, at QoS 0, and
//! prove nothing. Nothing is kept for a client that is not connected, and nothing is written twice on a connection:
//! who must deliver a command keeps it until [`Commands::send`] says that it was acknowledged, and sends it again
//! when [`Commands::arrivals`] names its topic.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus::IntCounterVec;
use telemetry::limits;
use telemetry::topic::Filter;
use telemetry::trace::Context;
use tokio::sync::{broadcast, mpsc};

use crate::intake::{IngestState, Intake};
use crate::mqtt::{self, Answer, Command, Switchboard};

/// Why a command was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody subscribes to exactly this topic: wait for [`Commands::arrivals`].
    #[error("no device subscribes to this topic")]
    Absent,
    /// Every recipient's connection ended, or had too much to do, before it acknowledged; the device may have got
    /// the command or not. Send it again, with the same key.
    #[error("the connection ended before the device acknowledged")]
    Lost,
    /// It will not be taken however often it is sent: the topic is none, the packet is larger than every recipient
    /// takes, or the device answered with an error of MQTT 5.
    #[error("{0}")]
    Refused(String),
}

/// A handle to the connected devices; cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands {
    switchboard: Arc<Switchboard>,
    intake: Intake,
}

impl Commands {
    pub(crate) fn new(switchboard: Arc<Switchboard>, intake: Intake) -> Self {
        Self { switchboard, intake }
    }

    /// Sends a command at QoS 1 to every client that subscribes to exactly `topic`; returns when the first one has
    /// acknowledged. Clients of MQTT 5 get `key` as the user property `idempotency-key`, and what is left of
    /// `expiry` as message expiry interval, and `trace` as the user property `traceparent`. Commands of one topic arrive in the order of the calls; a call
    /// is made when its future is first polled. Dropped, the future forgets the command: a PUBACK that comes
    /// later says nothing.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        &self,
        topic: Arc<str>,
        payload: Bytes,
        key: Arc<str>,
        expiry: Duration,
        trace: Option<Context>,
    ) -> Result<(), SendError> {
        let mut counted = Counted { outcomes: &self.intake.metrics().commands, outcome: FORGOTTEN };
        check(&topic, &payload, &key).map_err(SendError::Refused).inspect_err(|_| counted.outcome = REFUSED)?;
        let expires = self.intake.clock().monotonic().saturating_add(expiry);
        let sent = self.dispatch(Command { topic, payload, key, expires, trace }).await;
        counted.outcome = outcome(&sent);
        sent
    }

    /// The topics that get a recipient from now on: each time a client begins to subscribe to one exactly. Bounded:
    /// who falls behind is told so by [`broadcast::error::RecvError::Lagged`], and tries everything it has.
    #[must_use]
    pub fn arrivals(&self) -> broadcast::Receiver<Arc<str>> {
        self.switchboard.arrivals()
    }

    async fn dispatch(&self, command: Command) -> Result<(), SendError> {
        let answers = self.switchboard.dispatch(&Arc::new(command)).ok_or(SendError::Absent)?;
        let mut state = self.intake.state_changes();
        tokio::select! {
            biased;
            answered = answered(answers) => answered,
            // Connections end now, and their threads may end before them.
            _ = state.wait_for(|state| matches!(state, IngestState::Stopping | IngestState::Failed(_))) => {
                Err(SendError::Lost)
            }
        }
    }
}

/// The first acknowledgement; without one, why there is none.
async fn answered(mut answers: mpsc::Receiver<Answer>) -> Result<(), SendError> {
    // Reported only if no recipient is lost: that one might still have taken it.
    let (mut refusals, mut refusal) = (0, SendError::Lost);
    let recipients = answers.max_capacity();
    while let Some(answer) = answers.recv().await {
        refusals += 1;
        refusal = match answer {
            Answer::Acknowledged => return Ok(()),
            Answer::Declined { reason } => {
                SendError::Refused(format!("the device answered with MQTT reason code 0x{reason:02x}"))
            }
            Answer::TooLarge { bytes, most } => {
                SendError::Refused(format!("the packet has {bytes} bytes, the device takes at most {most}"))
            }
        };
    }
    Err(if refusals == recipients { refusal } else { SendError::Lost })
}

fn check(topic: &str, payload: &[u8], key: &str) -> Result<(), String> {
    if !mqtt::is_command_topic(topic) || Filter::parse(topic).is_none() {
        return Err(format!(
            "topic `{}`: expected 1 to {} bytes without `+`, `#` and NUL, not below `$` or `weir/live/`",
            topic.chars().take(100).collect::<String>(),
            mqtt::COMMAND_FILTER_BYTES
        ));
    }
    if payload.len() > limits::PAYLOAD_BYTES {
        return Err(format!("payload has {} bytes, at most {} are sent", payload.len(), limits::PAYLOAD_BYTES));
    }
    if key.is_empty() || key.len() > mqtt::KEY_BYTES || key.contains('\0') {
        return Err(format!("key has {} bytes, expected 1 to {} without NUL", key.len(), mqtt::KEY_BYTES));
    }
    Ok(())
}

const FORGOTTEN: &str = "forgotten";
const REFUSED: &str = "refused";

/// Every outcome of a command, as the metric has it; `forgotten` is one whose sender did not wait.
pub(crate) const OUTCOMES: [&str; 5] = ["acknowledged", "absent", "lost", REFUSED, FORGOTTEN];

fn outcome(sent: &Result<(), SendError>) -> &'static str {
    match sent {
        Ok(()) => "acknowledged",
        Err(SendError::Absent) => "absent",
        Err(SendError::Lost) => "lost",
        Err(SendError::Refused(_)) => REFUSED,
    }
}

/// Counts the outcome of a command when it is over, in whatever way.
struct Counted<'a> {
    outcomes: &'a IntCounterVec,
    outcome: &'static str,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.outcomes.with_label_values(&[self.outcome]).inc();
    }
}
