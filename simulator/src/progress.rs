//! Counters of a run, to be looked at while it goes on.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counters of one run of a fleet or a replay; all of them only grow, but `connected`.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages made and sent, or waiting to be sent; each counted once, however often it is sent.
    pub messages: AtomicU64,
    /// Readings in them.
    pub readings: AtomicU64,
    /// Messages whose PUBACK arrived.
    pub acknowledged_messages: AtomicU64,
    /// Readings in them.
    pub acknowledged_readings: AtomicU64,
    /// Devices with an open connection.
    pub connected: AtomicU64,
    /// Connections opened after the first one of each device.
    pub reconnects: AtomicU64,
    /// Messages made more than 100 ms after they were due, because what was published before was not
    /// acknowledged.
    pub late_messages: AtomicU64,
    /// Longest delay of a message, in microseconds.
    pub max_lateness_micros: AtomicU64,
    /// Acknowledgements of nothing that waited on their connection: the server's mistake; they are ignored.
    pub stray_acknowledgements: AtomicU64,
    /// Restarts of devices, each with a new boot.
    pub restarts: AtomicU64,
    /// Commands that devices got and acknowledged, each as often as it came.
    pub commands: AtomicU64,
    /// When the last warning about a lost connection was logged, in microseconds of the monotonic clock;
    /// zero if never.
    warned_at: AtomicI64,
}

/// A message later than this counts as late.
const LATE: Duration = Duration::from_millis(100);
/// A fleet loses its connections all at once; one warning in this time says so.
const WARN_EVERY: Duration = Duration::from_secs(5);

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Devices that published.
    pub devices: u32,
    /// Messages published.
    pub messages: u64,
    /// Readings in them.
    pub readings: u64,
    /// Messages whose PUBACK arrived.
    pub acknowledged_messages: u64,
    /// Readings in them.
    pub acknowledged_readings: u64,
    /// Messages whose PUBACK had not arrived at the end: each may or may not be stored.
    pub unacknowledged: u64,
    /// Readings of a recording that were not published, because the replay was stopped.
    pub unpublished_readings: u64,
    /// Connections opened after the first one of each device.
    pub reconnects: u64,
    /// Messages made more than 100 ms after they were due.
    pub late_messages: u64,
    /// Longest delay of a message, in microseconds.
    pub max_lateness_micros: u64,
    /// Acknowledgements of nothing that waited on their connection.
    pub stray_acknowledgements: u64,
    /// Restarts of devices, each with a new boot.
    pub restarts: u64,
    /// Commands that devices got and acknowledged, each as often as it came.
    #[serde(default)]
    pub commands: u64,
}

impl Progress {
    /// The counters as they stand, of a run of `devices` devices.
    #[must_use]
    pub fn summary(&self, devices: u32) -> Summary {
        // Acknowledged first: it must not be seen ahead of what was published.
        let acknowledged_messages = self.acknowledged_messages.load(Ordering::SeqCst);
        let acknowledged_readings = self.acknowledged_readings.load(Ordering::SeqCst);
        let messages = self.messages.load(Ordering::SeqCst);
        Summary {
            devices,
            messages,
            readings: self.readings.load(Ordering::SeqCst),
            acknowledged_messages,
            acknowledged_readings,
            unacknowledged: messages.saturating_sub(acknowledged_messages),
            unpublished_readings: 0,
            reconnects: self.reconnects.load(Ordering::SeqCst),
            late_messages: self.late_messages.load(Ordering::SeqCst),
            max_lateness_micros: self.max_lateness_micros.load(Ordering::SeqCst),
            stray_acknowledgements: self.stray_acknowledgements.load(Ordering::SeqCst),
            restarts: self.restarts.load(Ordering::SeqCst),
            commands: self.commands.load(Ordering::SeqCst),
        }
    }

    pub(crate) fn published(&self, readings: u32, lateness: Duration) {
        self.messages.fetch_add(1, Ordering::SeqCst);
        self.readings.fetch_add(u64::from(readings), Ordering::SeqCst);
        if lateness > LATE {
            self.late_messages.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(lateness.as_micros()).unwrap_or(u64::MAX);
        self.max_lateness_micros.fetch_max(micros, Ordering::Relaxed);
    }

    pub(crate) fn acknowledged(&self, readings: u32) {
        self.acknowledged_messages.fetch_add(1, Ordering::SeqCst);
        self.acknowledged_readings.fetch_add(u64::from(readings), Ordering::SeqCst);
    }

    /// Whether the caller, at `now`, should warn of a lost connection on behalf of the fleet.
    pub(crate) fn may_warn(&self, now: Duration) -> bool {
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX).max(1);
        let every = i64::try_from(WARN_EVERY.as_micros()).unwrap_or(i64::MAX);
        let last = self.warned_at.load(Ordering::Relaxed);
        (last == 0 || now.saturating_sub(last) >= every)
            && self.warned_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
