//! A device that must not lose: it keeps every message until its PUBACK, and resends on a new connection
//! what the old one left open, in order, before anything new.
//!
//! A message is made when it is due and the outbox has room; while it has none, messages are late, not lost.
//! A connection that fails, falls silent or stops acknowledging is dropped whole and opened anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use telemetry::Clock;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::commands;
use crate::connection::{self, Connection};
use crate::ledger::Entry;
use crate::lines;
use crate::mischief::Mischief;
use crate::outbox::{Acknowledged, Message, Outbox};
use crate::packet::{self, Incoming};
use crate::patience::{KEEP_ALIVE, Patience};
use crate::progress::Progress;
use crate::witness;

/// Bytes read at once: 128 acknowledgements. Small, because a fleet has thousands of connections.
const READ_BYTES: usize = 512;
/// Bytes waiting to be written above which no more messages are encoded.
const WRITE_BYTES: usize = 64 * 1024;
/// What the lines of a message of five readings take.
const SENT_BYTES: usize = 512;

/// What a device publishes, and when.
pub(crate) trait Source: Send + 'static {
    /// When the next message is due, on the monotonic clock; `None` if there is none any more.
    fn due(&self) -> Option<Duration>;

    /// Restart counter of the next message; it never goes down.
    fn boot(&self) -> i64;

    /// Makes the message that is due, numbered `seq`; returns how many readings it has. `sent` takes the line of
    /// each reading, if anybody wants them.
    fn write(&mut self, seq: i64, payload: &mut String, sent: Option<&mut String>) -> u32;
}

/// What the publishers of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) mqtt: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) progress: Arc<Progress>,
    /// When to make no more messages, on the monotonic clock.
    pub(crate) until: Option<Duration>,
    /// How long to wait for acknowledgements after that.
    pub(crate) drain: Duration,
    pub(crate) patience: Patience,
}

/// Who publishes.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: Arc<str>,
    pub(crate) topic: String,
    /// Topic of its commands, if it takes any.
    pub(crate) commands: Option<String>,
}

/// How a device goes about it.
#[derive(Debug)]
pub(crate) struct Habits {
    /// Most messages without their PUBACK.
    pub(crate) in_flight: usize,
    pub(crate) backoff: Backoff,
    pub(crate) mischief: Mischief,
}

/// Why a connection is over before its time.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    /// Another connection may go on.
    #[error(transparent)]
    Connection(#[from] connection::Error),
    /// Nothing may go on: what is published is not accounted for.
    #[error(transparent)]
    Witness(#[from] lines::Error),
    /// The device restarts, and its connection is gone without a word.
    #[error("the device restarts")]
    Restart,
}

pub(crate) struct Publisher<S> {
    run: Arc<Run>,
    stop: watch::Receiver<bool>,
    witness: witness::Senders,
    device: Device,
    source: S,
    outbox: Outbox,
    backoff: Backoff,
    payload: String,
    /// Until when to wait for acknowledgements; set once no more messages are made.
    deadline: Option<Duration>,
    connections: u64,
    /// When the connection last said anything.
    heard: Duration,
    pinged: bool,
    /// Since when the first message waits, or when the last acknowledgement came.
    waiting_since: Duration,
}

impl<S: Source> Publisher<S> {
    pub(crate) fn new(
        run: Arc<Run>,
        stop: watch::Receiver<bool>,
        witness: witness::Senders,
        device: Device,
        source: S,
        habits: Habits,
    ) -> Self {
        let Habits { in_flight, backoff, mischief } = habits;
        Self {
            run,
            stop,
            witness,
            device,
            outbox: Outbox::new(in_flight, source.boot(), mischief),
            source,
            backoff,
            payload: String::new(),
            deadline: None,
            connections: 0,
            heard: Duration::ZERO,
            pinged: false,
            waiting_since: Duration::ZERO,
        }
    }

    /// Publishes after `wait`, until the source or the time is over, then until all is acknowledged or the
    /// drain is over too. Returns the source.
    ///
    /// # Errors
    /// If a witness's file is not written any more.
    pub(crate) async fn run(mut self, wait: Duration) -> Result<S, lines::Error> {
        self.unless_over(sleep(wait)).await;
        while !self.finished(self.run.clock.monotonic()) {
            match self.session().await {
                Ok(()) => break,
                Err(Interruption::Witness(error)) => return Err(error),
                Err(Interruption::Restart) => self.log_restart(),
                Err(Interruption::Connection(error)) => self.log_loss(&error),
            }
            let pause = self.backoff.pause();
            self.unless_over(sleep(pause)).await;
        }
        for Message { boot, seq, readings, .. } in self.outbox.into_unacknowledged() {
            let device = Arc::clone(&self.device.name);
            self.witness.ledger.send(Entry { device, boot, seq, readings, acknowledged_at: None }).await?;
        }
        Ok(self.source)
    }

    /// One connection, from its opening to the end of the run or to its failure.
    async fn session(&mut self) -> Result<(), Interruption> {
        let (run, device) = (Arc::clone(&self.run), Arc::clone(&self.device.name));
        let (within, commands) = (run.patience.connect, self.device.commands.clone());
        let opening = Connection::open_for(commands.as_deref(), &run.mqtt, &device, KEEP_ALIVE, READ_BYTES, within);
        let Some(opened) = self.unless_over(opening).await else { return Ok(()) };
        let mut connection = opened?;
        self.connections += 1;
        if self.connections > 1 {
            run.progress.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        run.progress.connected.fetch_add(1, Ordering::Relaxed);
        let served = self.serve(&mut connection).await;
        run.progress.connected.fetch_sub(1, Ordering::Relaxed);
        if served.is_ok() {
            connection.close().await;
        }
        served
    }

    async fn serve(&mut self, connection: &mut Connection) -> Result<(), Interruption> {
        self.outbox.rewind();
        self.heard = self.run.clock.monotonic();
        self.pinged = false;
        // What came with CONNACK, before anything was sent, acknowledges nothing.
        self.receive(connection).await?;
        loop {
            let now = self.run.clock.monotonic();
            self.make(now).await?;
            self.send(connection, now);
            if self.finished(now) {
                return Ok(());
            }
            let wake = self.next_wake().saturating_sub(now);
            tokio::select! {
                biased;
                () = stopped(&mut self.stop), if self.deadline.is_none() => self.end(now),
                exchanged = connection.exchange() => {
                    exchanged?;
                    self.receive(connection).await?;
                }
                () = sleep(wake) => self.look_after(connection)?,
            }
        }
    }

    /// Makes what is due, as far as there is room.
    async fn make(&mut self, now: Duration) -> Result<(), Interruption> {
        if self.deadline.is_some() {
            return Ok(());
        }
        if self.run.until.is_some_and(|until| until <= now) {
            self.end(now);
            return Ok(());
        }
        while self.outbox.has_room(self.source.boot()) {
            let Some(due) = self.source.due() else {
                self.end(now);
                return Ok(());
            };
            if due > now {
                return Ok(());
            }
            let (boot, seq, readings) = self.make_one().await?;
            self.run.progress.published(readings, now - due);
            if self.outbox.push(boot, readings, Bytes::copy_from_slice(self.payload.as_bytes())) {
                tracing::debug!(device = %self.device.name, boot, seq, "first message after a restart");
                return Err(Interruption::Restart);
            }
        }
        Ok(())
    }

    /// Makes one message, as payload and as lines of what is sent; the lines are handed over before it can be sent.
    /// Returns its boot, its number and how many readings it has.
    async fn make_one(&mut self) -> Result<(i64, i64, u32), lines::Error> {
        let boot = self.source.boot();
        let seq = self.outbox.next_seq(boot);
        self.payload.clear();
        let mut sent = self.witness.sent.as_ref().map(|_| String::with_capacity(SENT_BYTES));
        let readings = self.source.write(seq, &mut self.payload, sent.as_mut());
        if let Some((witness, lines)) = self.witness.sent.as_ref().zip(sent) {
            witness.send(lines).await?;
        }
        Ok((boot, seq, readings))
    }

    /// Encodes what is to be sent, the oldest first, as far as the write buffer goes.
    fn send(&mut self, connection: &mut Connection, now: Duration) {
        let waited = self.outbox.waits();
        while connection.outgoing.len() < WRITE_BYTES {
            let Some((id, message)) = self.outbox.send_next() else { break };
            packet::publish(&mut connection.outgoing, &self.device.topic, id, &message.payload);
        }
        if !waited {
            self.waiting_since = now;
        }
    }

    async fn receive(&mut self, connection: &mut Connection) -> Result<(), Interruption> {
        let now = self.run.clock.monotonic();
        let acknowledged_at = Some(self.run.clock.now());
        while let Some(incoming) = connection.next()? {
            self.heard = now;
            self.pinged = false;
            let id = match incoming {
                Incoming::Ack(id) => id,
                Incoming::Pong => continue,
                Incoming::Command { id, payload } if self.device.commands.is_some() => {
                    self.take_command(connection, id, &payload).await?;
                    continue;
                }
                other => return Err(connection::Error::Unexpected(Box::new(other)).into()),
            };
            let acknowledged = self.outbox.acknowledge(id);
            if acknowledged == Acknowledged::Nothing {
                self.run.progress.stray_acknowledgements.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(device = %self.device.name, id, "acknowledgement of nothing that waits");
                continue;
            }
            self.waiting_since = now;
            self.backoff.reset();
            if let Acknowledged::Message { boot, seq, readings } = acknowledged {
                let device = Arc::clone(&self.device.name);
                self.witness.ledger.send(Entry { device, boot, seq, readings, acknowledged_at }).await?;
                self.run.progress.acknowledged(readings);
            }
        }
        Ok(())
    }

    /// Writes a command down, then acknowledges it.
    async fn take_command(&self, connection: &mut Connection, id: u16, payload: &[u8]) -> Result<(), lines::Error> {
        if let Some(witness) = &self.witness.commands {
            witness.send(commands::line(&self.device.name, self.run.clock.now(), payload)).await?;
        }
        packet::acknowledge(&mut connection.outgoing, id);
        self.run.progress.commands.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Pings a silent connection, gives up a dead one.
    fn look_after(&mut self, connection: &mut Connection) -> Result<(), connection::Error> {
        let now = self.run.clock.monotonic();
        let Patience { ping_after, silence, acknowledgement, .. } = self.run.patience;
        if now >= self.heard + silence {
            return Err(connection::Error::Silent(silence));
        }
        if self.outbox.waits() && now >= self.waiting_since + acknowledgement {
            return Err(connection::Error::NotAcknowledged(acknowledgement));
        }
        if now >= self.heard + ping_after && !self.pinged {
            self.pinged = true;
            connection.ping()?;
        }
        Ok(())
    }

    /// When there is something to do although nothing arrives.
    fn next_wake(&self) -> Duration {
        let Patience { ping_after, silence, acknowledgement, .. } = self.run.patience;
        let mut wake = self.heard + if self.pinged { silence } else { ping_after };
        if self.outbox.waits() {
            wake = wake.min(self.waiting_since + acknowledgement);
        }
        if self.deadline.is_none() && self.outbox.has_room(self.source.boot()) {
            wake = self.source.due().map_or(wake, |due| wake.min(due));
        }
        self.next_end().map_or(wake, |end| wake.min(end))
    }

    /// When making messages, or waiting for acknowledgements, ends by time.
    fn next_end(&self) -> Option<Duration> {
        self.deadline.or(self.run.until)
    }

    /// No more messages from `now` on.
    fn end(&mut self, now: Duration) {
        self.deadline.get_or_insert(now + self.run.drain);
        self.outbox.release();
    }

    fn finished(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| self.outbox.is_empty() || deadline <= now)
    }

    /// What `future` gives; `None` if the publisher is finished before.
    async fn unless_over<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(future);
        loop {
            let now = self.run.clock.monotonic();
            if self.deadline.is_none() && self.run.until.is_some_and(|until| until <= now) {
                self.end(now);
            }
            if self.finished(now) {
                return None;
            }
            let end = self.next_end().map(|end| end.saturating_sub(now));
            tokio::select! {
                biased;
                () = stopped(&mut self.stop), if self.deadline.is_none() => self.end(now),
                output = &mut future => return Some(output),
                () = sleep(end.unwrap_or_default()), if end.is_some() => (),
            }
        }
    }

    fn log_restart(&self) {
        self.run.progress.restarts.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(device = %self.device.name, "restarted");
    }

    /// A fleet loses its connections together: one line for all at the level people read.
    fn log_loss(&self, error: &connection::Error) {
        let device = &self.device.name;
        if self.run.progress.may_warn(self.run.clock.monotonic()) {
            let connected = self.run.progress.connected.load(Ordering::Relaxed);
            tracing::warn!(%device, connected, %error, "no connection, devices try again");
        } else {
            tracing::debug!(%device, %error, "no connection, trying again");
        }
    }
}

/// Returns once `stop` is true, or nobody is left who could say so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone.
    stop.wait_for(|stop| *stop).await.ok();
}

#[cfg(test)]
mod tests;
