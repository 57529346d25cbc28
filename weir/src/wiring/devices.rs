//! The endpoint as workflows see it. Stages do not know each other; here they meet.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use ingest::commands::{Commands, SendError};
use processors::workflows::Workflows;
use processors::workflows::target::{Command, CommandError, Devices};
use tokio::sync::broadcast::error::RecvError;

/// The devices connected to the endpoint, once it is open. The executor starts before the door; until then nobody
/// is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Connected(Arc<OnceLock<Commands>>);

impl Connected {
    /// The door is open.
    pub(super) fn open(&self, commands: Commands) {
        // Opened once: a second door would not be this pipeline's.
        self.0.get_or_init(|| commands);
    }
}

#[async_trait]
impl Devices for Connected {
    async fn send(&self, command: Command) -> Result<(), CommandError> {
        let commands = self.0.get().ok_or(CommandError::Absent)?;
        let Command { topic, payload, key, expiry, trace } = command;
        commands.send(topic, payload, key, expiry, trace).await.map_err(|error| match error {
            SendError::Absent => CommandError::Absent,
            SendError::Lost => CommandError::Lost,
            SendError::Refused(reason) => CommandError::Refused(reason),
        })
    }
}

/// The devices of an endpoint that other processes are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elsewhere;

#[async_trait]
impl Devices for Elsewhere {
    async fn send(&self, _command: Command) -> Result<(), CommandError> {
        Err(CommandError::Refused(
            "the endpoint with the devices is in another process (`weir ingest`), and commands do not get there: let \
             the step name a `broker` that the devices are connected to, and take their messages by the bridge; or run \
             everything in one process (`weir up`)"
                .to_owned(),
        ))
    }
}

/// Tells `workflows` of every topic that gets a recipient, until the endpoint is gone, or they are.
pub(super) async fn tell_arrivals(commands: Commands, workflows: Workflows) {
    let mut arrivals = commands.arrivals();
    // Some may have come before we listened.
    let mut told = workflows.arrived_all().await;
    while told.is_ok() {
        told = match arrivals.recv().await {
            Ok(topic) => workflows.arrived(topic).await,
            Err(RecvError::Lagged(_)) => workflows.arrived_all().await,
            Err(RecvError::Closed) => return,
        };
    }
}
