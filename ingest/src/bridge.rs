//! From a broker: takes messages that devices published elsewhere, and acknowledges them when they are durable.
//!
//! ```text
//!  broker ──PUBLISH──> connection ──> intake: the open group ──> committer ──> streams
//!    ^                     │ owed                                   │
//!    └──PUBACK, in order───┴────────── "group n is durable" ────────┘
//! ```
//!
//! The broker keeps a session for our client id. What is unacknowledged when a connection ends it delivers again, so
//! every message comes at least once; one with an identity is in the table once, because deduplication knows it. The
//! acknowledgements owed belong to the connection and end with it: none can reach another connection, where its packet
//! id may mean another message ([ADR 17](../../../docs/adr/0017-bridge.md)).
//!
//! What it does with what it may meet:
//!
//! * **QoS 0**, published so by the device: taken, and nothing to acknowledge.
//! * **QoS 2**: we subscribe at QoS 1, so it is an error of the broker, and the connection is made anew.
//! * **Retained messages** are readings like others. MQTT 5 brokers are asked for them only when the subscription is
//!   new; those of 3.1.1 send them on each connect, and without an identity they are in the table each time.
//! * **Overlapping filters** may bring a message twice; the first filter of the configuration that matches says how it
//!   is read, both times.
//! * **Refused messages** go to the dead letters, whole, and are acknowledged. So does what matches no filter any more,
//!   because the session is older than the configuration.
//! * **A packet over the limit**: an MQTT 5 broker is told the limit and keeps such packets. From others the beginning
//!   goes to the dead letters: refusing it would make the broker send it again for ever.
//!
//! In reading order: [`config`], `session` (connections, one after the other), `handshake`, `connection` (the loop),
//! `messages` (what is published), `debts` (acknowledgements owed), `watchdog`, `drops` (what the broker says that it
//! dropped), `wire` (bytes), `tls`, `packets`, `frame`, `backoff`, `login`, `problem` (why a connection ended),
//! `presence` (whether there is one), `overlap`, `limits`, `metrics`.

pub mod config;
pub mod metrics;

mod backoff;
mod connection;
mod debts;
mod drops;
mod frame;
mod handshake;
mod limits;
mod login;
mod messages;
mod overlap;
mod packets;
mod presence;
mod problem;
mod session;
mod tls;
mod watchdog;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use telemetry::Clock;
use tokio::sync::{oneshot, watch};

use crate::door::StopError;
use crate::intake::Intake;

pub use config::{BridgeConfig, InvalidSetting, Login, PasswordPlace, Protocol, Subscription, TlsFiles};
pub use metrics::BridgeMetrics;
use session::Session;

/// Why the bridge cannot be started. That the broker is away is no reason.
#[derive(Debug, thiserror::Error)]
pub enum BridgeStartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] InvalidSetting),
    /// The thread cannot be started.
    #[error("cannot start the thread of the bridge: {0}")]
    Thread(#[from] io::Error),
}

/// How the bridge is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeState {
    /// There was no connection yet.
    Connecting,
    /// Every filter is subscribed to.
    Connected,
    /// There is no connection: it is tried again, for ever.
    Away {
        /// Why the last one ended or could not be made.
        why: String,
        /// Whether a person must act: the broker refuses us.
        refused: bool,
    },
    /// It has ended: it was stopped, or the intake is closed.
    Ended,
}

/// What the thread is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    /// Read no more; what is owed is still paid.
    Pause,
    /// As [`Order::Pause`], and end when nothing is owed.
    Stop,
}

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    drain: Duration,
    orders: watch::Sender<Order>,
    state: watch::Receiver<BridgeState>,
    failed: watch::Receiver<Option<String>>,
    ended: oneshot::Receiver<Result<(), StopError>>,
    /// Dropped, it ends the thread where it waits.
    running: oneshot::Sender<()>,
}

impl Bridge {
    /// Starts the bridge on a thread and a runtime of its own, as the committer. The broker need not be there.
    ///
    /// # Errors
    /// See [`BridgeStartError`].
    pub fn start(
        config: BridgeConfig,
        intake: Intake,
        clock: Arc<dyn Clock>,
        metrics: BridgeMetrics,
    ) -> Result<Self, BridgeStartError> {
        let drain = config.drain;
        let (orders, ordered) = watch::channel(Order::Run);
        let (state, states) = watch::channel(BridgeState::Connecting);
        let session = Session::new(config, intake, clock, metrics, ordered, state)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, dropped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let (fail, failed) = watch::channel(None);
        let work = move || {
            let last_words = LastWords { fail, silent: false };
            let outcome = runtime.block_on(async {
                tokio::select! {
                    biased;
                    outcome = session.run() => outcome,
                    // An error: the sender is never used, only dropped.
                    _ = dropped => Ok(()),
                }
            });
            last_words.ended_well();
            // Nobody waits if the bridge was dropped.
            drop(end.send(outcome));
        };
        std::thread::Builder::new().name("weir-bridge".to_owned()).spawn(work)?;
        Ok(Self { drain, orders, state: states, failed, ended, running })
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> BridgeState {
        self.state.borrow().clone()
    }

    /// How it is doing, as it changes.
    #[must_use]
    pub fn state_changes(&self) -> watch::Receiver<BridgeState> {
        self.state.clone()
    }

    /// Set, once, when its thread ended though nobody stopped it. A broker that is away or refuses us is no failure.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// Reads no more from now on. What was read is still acknowledged, and the session kept alive.
    pub fn pause(&self) {
        self.orders.send_if_modified(|order| {
            let running = *order == Order::Run;
            *order = (*order).max(Order::Pause);
            running
        });
    }

    /// Reads no more, acknowledges what was read when it is durable, says goodbye, and leaves the session to the
    /// broker; within the configured time. To be called before the intake is closed.
    ///
    /// # Errors
    /// If something that was read could not be acknowledged: the broker delivers it again. Nothing is lost.
    pub async fn stop(self) -> Result<(), StopError> {
        self.orders.send_replace(Order::Stop);
        match tokio::time::timeout(self.drain, self.ended).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StopError::Failed("the thread of the bridge ended".to_owned())),
            Err(_) => {
                drop(self.running);
                Err(StopError::Deadline { waited: self.drain })
            }
        }
    }
}

/// Tells of a thread that ends by a panic.
struct LastWords {
    fail: watch::Sender<Option<String>>,
    silent: bool,
}

impl LastWords {
    fn ended_well(mut self) {
        self.silent = true;
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if !self.silent {
            self.fail.send_replace(Some("the thread of the bridge panicked".to_owned()));
        }
    }
}
