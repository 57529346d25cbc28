//! One connection of the load generator.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use telemetry::{Clock, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::LoadConfig;
use super::pacer::Schedule;
use super::template::{FIRST_SEQ, Template};
use crate::connection::Connection;
use crate::packet::Incoming;
use crate::publisher::stopped;

/// Longer than any run: pings would only disturb it.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(u16::MAX as u64);
pub(super) const READ_BYTES: usize = 64 * 1024;
/// Bytes waiting to be written above which no more messages are encoded.
const WRITE_BYTES: usize = 256 * 1024;
/// Latencies kept of one connection: 8 MiB. What comes after them is counted, but not in the percentiles.
const SAMPLES: usize = 2 * 1024 * 1024;

/// When what is measured, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    pub(super) start: Duration,
    pub(super) start_time: Timestamp,
    /// Measured from here on.
    pub(super) warm_at: Duration,
    /// Nothing is sent from here on.
    pub(super) end_at: Option<Duration>,
    pub(super) drain: Duration,
}

impl Phases {
    pub(super) fn new(config: &LoadConfig, clock: &dyn Clock) -> Self {
        let start = clock.monotonic();
        let warm_at = start + config.warmup;
        let end_at = config.duration.map(|duration| warm_at + duration);
        Self { start, start_time: clock.now(), warm_at, end_at, drain: config.drain }
    }
}

/// The part of one connection in an open loop.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) schedule: Schedule,
    /// Number of the connection, from 0.
    pub(super) number: u32,
    /// Told when a message is due.
    pub(super) due: Arc<Notify>,
}

/// What one connection measured.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    /// Acknowledged while it was measured.
    pub(super) measured: u64,
    /// The last of those.
    pub(super) last: Option<Duration>,
    /// From the time a message was due (open loop) or written (closed loop) to its PUBACK, in microseconds.
    pub(super) latencies: Vec<u32>,
    /// From the time a message was due to its writing, in microseconds; open loop only.
    pub(super) delays: Vec<u32>,
}

pub(super) struct Lane {
    connection: Connection,
    templates: Vec<Template>,
    /// When each message of the window was due or written, by its place in it.
    window: Vec<Duration>,
    messages: Option<u64>,
    phases: Phases,
    pace: Option<Pace>,
    outcome: Outcome,
    /// When the last PUBACK came, or the wait for one began.
    progress_at: Duration,
}

impl Lane {
    pub(super) fn new(
        connection: Connection,
        templates: Vec<Template>,
        in_flight: u16,
        messages: Option<u64>,
        phases: Phases,
        pace: Option<Pace>,
    ) -> Self {
        let window = vec![Duration::ZERO; usize::from(in_flight)];
        let outcome = Outcome::default();
        Self { connection, templates, window, messages, phases, pace, outcome, progress_at: phases.start }
    }

    /// Sends and receives to the end; gives up when no PUBACK has come for the time of the drain.
    pub(super) async fn run(mut self, clock: &dyn Clock, mut stop: watch::Receiver<bool>) -> anyhow::Result<Outcome> {
        let mut sending = true;
        loop {
            let now = clock.monotonic();
            sending = sending && self.phases.end_at.is_none_or(|end| now < end) && self.left() > 0;
            if sending {
                self.send(now);
            }
            let waits = self.outcome.published > self.outcome.acknowledged;
            if (!sending || self.left() == 0) && !waits {
                break;
            }
            if waits && now >= self.progress_at + self.phases.drain {
                tracing::warn!(unacknowledged = self.outcome.published - self.outcome.acknowledged, "no more PUBACKs");
                break;
            }
            let wake = self.next_wake(sending, waits).saturating_sub(now);
            tokio::select! {
                biased;
                () = stopped(&mut stop), if sending => sending = false,
                exchanged = self.connection.exchange() => {
                    exchanged?;
                    self.receive(clock.monotonic())?;
                }
                () = due(self.pace.as_ref()), if sending => (),
                () = sleep(wake) => (),
            }
        }
        self.connection.close().await;
        Ok(self.outcome)
    }

    fn left(&self) -> u64 {
        self.messages.map_or(u64::MAX, |messages| messages - self.outcome.published)
    }

    fn full(&self) -> bool {
        self.outcome.published - self.outcome.acknowledged >= self.window.len() as u64
    }

    /// When the next message of an open loop is due.
    fn due(&self) -> Option<Duration> {
        self.pace.as_ref().map(|pace| pace.schedule.due_on(pace.number, self.outcome.published))
    }

    /// Encodes what is due and has room in the window and the write buffer.
    fn send(&mut self, now: Duration) {
        let time = self.phases.start_time + now.saturating_sub(self.phases.start);
        if self.outcome.published == self.outcome.acknowledged {
            self.progress_at = now;
        }
        while !self.full() && self.left() > 0 && self.connection.outgoing.len() < WRITE_BYTES {
            let due = self.due();
            if due.is_some_and(|due| due > now) {
                return;
            }
            let number = self.outcome.published;
            let (place, id) = place(number, self.window.len());
            let devices = self.templates.len() as u64;
            let device = usize::try_from(number % devices).unwrap_or(0);
            let Some(template) = self.templates.get_mut(device) else { return };
            template.put(&mut self.connection.outgoing, id, FIRST_SEQ + number / devices, time);
            if let Some(begun) = self.window.get_mut(place) {
                *begun = due.unwrap_or(now);
            }
            if let Some(due) = due
                && due >= self.phases.warm_at
            {
                sample(&mut self.outcome.delays, now - due);
            }
            self.outcome.published += 1;
        }
    }

    /// Takes PUBACKs, which must come in the order of the messages, each once.
    fn receive(&mut self, now: Duration) -> anyhow::Result<()> {
        let measured = now >= self.phases.warm_at && self.phases.end_at.is_none_or(|end| now < end);
        while let Some(incoming) = self.connection.next()? {
            let id = match incoming {
                Incoming::Ack(id) => id,
                other => bail!("the server sent {other:?} to a publisher"),
            };
            let number = self.outcome.acknowledged;
            ensure!(number < self.outcome.published, "PUBACK {id} after all {number} messages were acknowledged");
            let (place, expected) = place(number, self.window.len());
            ensure!(id == expected, "PUBACK {id} instead of {expected}, after {number} in order");
            let begun = *self.window.get(place).context("a place is in the window")?;
            self.outcome.acknowledged += 1;
            self.progress_at = now;
            if measured {
                self.outcome.measured += 1;
                self.outcome.last = Some(now);
            }
            if begun >= self.phases.warm_at {
                sample(&mut self.outcome.latencies, now.saturating_sub(begun));
            }
        }
        Ok(())
    }

    fn next_wake(&self, sending: bool, waits: bool) -> Duration {
        let mut wake = Duration::MAX;
        if waits {
            wake = wake.min(self.progress_at + self.phases.drain);
        }
        if sending {
            wake = wake.min(self.phases.end_at.unwrap_or(wake));
        }
        wake
    }
}

/// Returns when a message of an open loop is due; never in a closed loop.
async fn due(pace: Option<&Pace>) {
    match pace {
        Some(pace) => pace.due.notified().await,
        None => std::future::pending().await,
    }
}

/// Place in the window, and packet id, of message `number`, from 0.
fn place(number: u64, window: usize) -> (usize, u16) {
    let place = usize::try_from(number % window as u64).unwrap_or(0);
    (place, u16::try_from(place + 1).unwrap_or(u16::MAX))
}

fn sample(samples: &mut Vec<u32>, time: Duration) {
    if samples.len() < SAMPLES {
        samples.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }
}
