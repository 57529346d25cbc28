//! What `/readyz` says: what a start waits for, and then whether everything works.

use std::sync::{Arc, OnceLock};

use ingest::{BridgeState, IngestState, Intake};
use tokio::sync::watch;

use super::backend::{self, Backend};
use super::bridge;
use crate::http;

/// Whether the process does its work. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Readiness {
    starting: Arc<watch::Sender<String>>,
    running: Arc<OnceLock<Running>>,
}

#[derive(Debug)]
struct Running {
    /// Where there is a door.
    intake: Option<Intake>,
    /// Where messages come from a broker.
    bridge: Option<watch::Receiver<BridgeState>>,
    backend: Backend,
}

impl Readiness {
    /// Of a process that starts.
    pub(super) fn new() -> Self {
        Self { starting: Arc::new(watch::Sender::new("starting".to_owned())), running: Arc::default() }
    }

    /// What the start waits for.
    pub(super) fn starting(&self, waits: String) {
        self.starting.send_replace(waits);
    }

    /// Everything runs.
    pub(super) fn running(
        &self,
        intake: Option<Intake>,
        bridge: Option<watch::Receiver<BridgeState>>,
        backend: Backend,
    ) {
        // A process starts once.
        self.running.get_or_init(|| Running { intake, bridge, backend });
    }

    /// As the admin port asks.
    pub(super) fn asked(&self) -> http::Readiness {
        let this = self.clone();
        Arc::new(move || this.ready())
    }

    fn ready(&self) -> Result<(), String> {
        let Some(Running { intake, bridge, backend }) = self.running.get() else {
            return Err(self.starting.borrow().clone());
        };
        match intake.as_ref().map(Intake::state) {
            Some(IngestState::Full { used, quota }) => Err(backend::full(used, quota)),
            Some(IngestState::Stopping) => Err("stopping".to_owned()),
            Some(IngestState::Failed(reason)) => Err(reason),
            Some(IngestState::Accepting) | None => {
                backend.ready()?;
                bridge.as_ref().map_or(Ok(()), |state| bridge::ready(&state.borrow()))
            }
        }
    }
}
