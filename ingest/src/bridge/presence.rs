//! Whether there is a connection, as state, metrics and log tell it: once for an outage, not for each attempt.

use std::time::Duration;

use tokio::sync::watch;

use super::problem::Problem;
use super::{BridgeMetrics, BridgeState};

/// Since when there is a connection, or none.
#[derive(Debug)]
pub(super) struct Presence {
    state: watch::Sender<BridgeState>,
    metrics: BridgeMetrics,
    url: String,
    connected: Option<Duration>,
    /// Since when there is none.
    away: Duration,
    /// What of this outage was told.
    told: bool,
    told_refusal: bool,
}

impl Presence {
    pub(super) fn new(state: watch::Sender<BridgeState>, metrics: BridgeMetrics, url: String, now: Duration) -> Self {
        Self { state, metrics, url, connected: None, away: now, told: false, told_refusal: false }
    }

    /// Every filter is subscribed to.
    pub(super) fn connected(&mut self, now: Duration) {
        let outage = now.saturating_sub(self.away);
        tracing::info!(broker = %self.url, after = ?outage, "bridge is connected");
        (self.told, self.told_refusal) = (false, false);
        self.connected = Some(now);
        self.metrics.connected.set(1);
        self.metrics.outage_seconds.set(0.0);
        self.state.send_replace(BridgeState::Connected);
    }

    /// A connection ended, or could not be made.
    pub(super) fn away(&mut self, now: Duration, problem: &Problem) {
        if self.connected.take().is_some() {
            self.away = now;
        }
        self.metrics.connected.set(0);
        self.show(now);
        let refused = problem.is_refusal();
        if refused && !self.told_refusal {
            tracing::error!(broker = %self.url, why = %problem, "the broker takes nothing from the bridge, trying on");
        } else if !self.told {
            tracing::warn!(broker = %self.url, why = %problem, "bridge has no connection, trying on");
        } else {
            tracing::debug!(why = %problem, "bridge has no connection still");
        }
        self.told = true;
        self.told_refusal |= refused;
        self.state.send_replace(BridgeState::Away { why: problem.to_string(), refused });
    }

    /// Whether every filter is subscribed to.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// For how long the connection has stood.
    pub(super) fn stood(&self, now: Duration) -> Duration {
        self.connected.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Keeps the gauge of the outage up to date.
    pub(super) fn show(&self, now: Duration) {
        if self.connected.is_none() {
            self.metrics.outage_seconds.set(now.saturating_sub(self.away).as_secs_f64());
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.metrics.connected.set(0);
        self.state.send_replace(BridgeState::Ended);
    }
}
