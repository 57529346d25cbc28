//! The door as a whole: port, endpoint, committer; start and stop.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use streams::{StreamName, Streams};
use telemetry::Clock;
use telemetry::topic::{TemplateError, TopicTemplate};
use telemetry::trace::Tracing;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::commands::Commands;
use crate::config::{IngestConfig, OutOfBounds};
use crate::intake::{CommitThread, Committer, IngestState, Intake, Unfit};
use crate::metrics::IngestMetrics;
use crate::mqtt::{Endpoint, Settings, Switchboard};

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the port: choose another one, or stop that process.
    #[error("address {address} is in use")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be used here.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] OutOfBounds),
    /// The topic template is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The streams lack one that the door writes. A caller's bug.
    #[error("there is no stream `{0}`")]
    MissingStream(StreamName),
    /// The threads of the endpoint cannot be started, or records cannot be encoded.
    #[error("cannot start ingest: {0}")]
    Threads(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a stop left something undone. Nothing acknowledged is lost either way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// The deadline passed: senders of what is left get no acknowledgement and will send again.
    #[error("stopped after {waited:?} with messages not acknowledged")]
    Deadline {
        /// How long the stop waited.
        waited: Duration,
    },
    /// Ingest had failed before, or did while it stopped.
    #[error("ingest failed: {0}")]
    Failed(String),
}

/// The running door.
#[derive(Debug)]
pub struct Ingest {
    address: SocketAddr,
    drain: Duration,
    intake: Intake,
    commands: Commands,
    /// Taken by [`Ingest::stop`].
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    endpoint: Endpoint,
    committer: CommitThread,
}

impl Ingest {
    /// Opens the door: when this returns, clients can connect. To be called on a tokio runtime; the MQTT
    /// endpoint runs on threads of its own. Spans of messages and groups that are traced go to `tracing`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        config: IngestConfig,
        streams: Arc<dyn Streams>,
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        metrics: IngestMetrics,
    ) -> Result<Self, StartError> {
        config.check()?;
        let admission = Admission::new(TopicTemplate::parse(&config.topic_template)?, config.future);
        let partitions = partitions_of(&*streams, StreamName::readings())?;
        // One partition of it is used: refused payloads have no device to be in order by.
        partitions_of(&*streams, StreamName::dead_letters())?;
        let listener = listen(config.listen)?;
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;

        let intake = Intake::new(admission, partitions, config.open_group_bytes, clock, tracing, metrics);
        let committer = Committer::new(&intake, streams).map_err(threads::<Unfit>)?;
        let switchboard = Arc::new(Switchboard::new(intake.metrics().command_subscriptions.clone()));
        let commands = Commands::new(switchboard.clone(), intake.clone());
        let endpoint =
            Endpoint::start(listener, intake.clone(), switchboard, settings(&config)).await.map_err(threads)?;
        let committer = CommitThread::start(committer).map_err(threads)?;
        tracing::info!(%address, "mqtt endpoint listens");
        Ok(Self { address, drain: config.drain, intake, commands, parts: Some(Parts { endpoint, committer }) })
    }

    /// Where it listens, with the port that port 0 became.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The way in, for other doors.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// The way to the connected devices.
    #[must_use]
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }

    /// Set, once, when nothing will be acknowledged until a restart; says why.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.intake.failed()
    }

    /// Whether messages are acknowledged, and if not why.
    #[must_use]
    pub fn state(&self) -> IngestState {
        self.intake.state()
    }

    /// Closes the door: takes nothing more, commits what was taken, acknowledges it, and ends all
    /// connections and threads; within the configured deadline.
    ///
    /// # Errors
    /// If something taken could not be acknowledged; see [`StopError`].
    pub async fn stop(mut self) -> Result<(), StopError> {
        let Some(Parts { endpoint, mut committer }) = self.parts.take() else { return Ok(()) };
        let drained = tokio::time::timeout(self.drain, async {
            endpoint.pause().await;
            self.intake.close();
            // Its result is told by `failed`.
            committer.ended().await;
            self.intake.ring();
            endpoint.gone().await;
        })
        .await;
        let failed = self.intake.failed().borrow().clone();
        if drained.is_err() {
            self.intake.fail("the deadline of the stop passed");
        }
        drop(committer);
        endpoint.stop().await;
        match (failed, drained) {
            (Some(why), _) => Err(StopError::Failed(why)),
            (None, Err(_)) => Err(StopError::Deadline { waited: self.drain }),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.endpoint.abandon();
            self.intake.close();
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Listen { address, source },
    })
}

fn partitions_of(streams: &dyn Streams, name: StreamName) -> Result<u32, StartError> {
    let spec = streams.specs().iter().find(|spec| spec.name == name);
    spec.map(|spec| spec.partitions).ok_or(StartError::MissingStream(name))
}

fn settings(config: &IngestConfig) -> Settings {
    Settings {
        workers: config.workers,
        payload_bytes: config.payload_bytes,
        in_flight: NonZeroU16::new(config.in_flight).unwrap_or(NonZeroU16::MIN),
        in_flight_bytes: config.in_flight_bytes,
        connections: config.connections,
        connect_timeout: config.connect_timeout,
        keep_alive: config.keep_alive,
    }
}

fn threads<E: std::error::Error + Send + Sync + 'static>(error: E) -> StartError {
    StartError::Threads(Box::new(error))
}
