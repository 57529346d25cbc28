//! Connections, one after the other, for as long as the bridge runs.

use std::sync::Arc;
use std::time::Duration;

use telemetry::Clock;
use tokio::sync::watch;

use super::config::{BridgeConfig, InvalidSetting};
use super::connection::Connection;
use super::drops::Drops;
use super::limits::PROVEN;
use super::overlap::overlap;
use super::presence::Presence;
use super::problem::Problem;
use super::{BridgeMetrics, BridgeState, Order, backoff, handshake};
use crate::admission::Routes;
use crate::door::StopError;
use crate::intake::Intake;

/// How often the length of an outage is shown.
const SHOW: Duration = Duration::from_secs(1);

/// What does not change from connection to connection.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: BridgeConfig,
    pub(super) routes: Arc<Routes>,
    pub(super) intake: Intake,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: BridgeMetrics,
}

/// The session at the broker, and what outlives a connection to it.
#[derive(Debug)]
pub(super) struct Session {
    shared: Shared,
    orders: watch::Receiver<Order>,
    presence: Presence,
    drops: Drops,
}

impl Session {
    pub(super) fn new(
        config: BridgeConfig,
        intake: Intake,
        clock: Arc<dyn Clock>,
        metrics: BridgeMetrics,
        orders: watch::Receiver<Order>,
        state: watch::Sender<BridgeState>,
    ) -> Result<Self, InvalidSetting> {
        config.check()?;
        let routes = Arc::new(config.routes()?);
        warn_of_overlaps(&routes);
        intake.add_routes(routes.clone());
        let presence = Presence::new(state, metrics.clone(), config.url.clone(), clock.monotonic());
        let shared = Shared { config, routes, intake, clock, metrics };
        Ok(Self { shared, orders, presence, drops: Drops::default() })
    }

    /// Runs until it is told to stop, or the intake takes nothing more.
    pub(super) async fn run(mut self) -> Result<(), StopError> {
        let mut attempt = 0;
        loop {
            let Err(problem) = self.connect_and_serve().await else { return Ok(()) };
            if let Some(ended) = self.ended(&problem) {
                return ended;
            }
            let config = &self.shared.config;
            let now = self.shared.clock.monotonic();
            attempt = if self.presence.stood(now) >= PROVEN { 0 } else { attempt };
            self.presence.away(now, &problem);
            let pause = backoff::pause(&config.client_id, attempt, config.backoff, config.longest_backoff);
            attempt = attempt.saturating_add(1);
            if self.unless_stopped(tokio::time::sleep(pause)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// One connection from its beginning to its end; `Ok` if it ended because it was told to.
    async fn connect_and_serve(&mut self) -> Result<(), Problem> {
        let config = self.shared.config.clone();
        let Some(shaken) = self.unless_stopped(handshake::shake(&config)).await else { return Ok(()) };
        let (wire, accepted) = shaken?;
        self.shared.metrics.connects.inc();
        let connection = Connection::new(&self.shared, wire, accepted, &mut self.presence, &mut self.drops)?;
        connection.serve(&mut self.orders).await
    }

    /// What `doing` gives, unless the bridge is told to stop before. There is no connection meanwhile.
    async fn unless_stopped<T>(&mut self, doing: impl Future<Output = T>) -> Option<T> {
        let mut doing = std::pin::pin!(doing);
        loop {
            tokio::select! {
                biased;
                // An error: the handle is gone.
                _ = self.orders.wait_for(|order| *order == Order::Stop) => return None,
                done = &mut doing => return Some(done),
                () = tokio::time::sleep(SHOW) => self.presence.show(self.shared.clock.monotonic()),
            }
        }
    }

    /// How the bridge ended, if it has.
    fn ended(&self, problem: &Problem) -> Option<Result<(), StopError>> {
        if let Some(why) = self.shared.intake.failed().borrow().clone() {
            return Some(Err(StopError::Failed(why)));
        }
        matches!(problem, Problem::IntakeClosed).then_some(Ok(()))
    }
}

fn warn_of_overlaps(routes: &Routes) {
    for (index, (one, _)) in routes.rules.iter().enumerate() {
        for (other, _) in routes.rules.iter().skip(index + 1).filter(|(other, _)| overlap(one, other)) {
            tracing::warn!(
                first = one.as_str(),
                second = other.as_str(),
                "filters of the bridge overlap: messages may come twice, and are read as the first one says"
            );
        }
    }
}
