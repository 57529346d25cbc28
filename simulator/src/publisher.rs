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
use crate::connection::{self, Connection};
use crate::ledger::{self, Entry};
use crate::outbox::Outbox;
use crate::packet::{self, Incoming};
use crate::progress::Progress;

/// Told to the server, which gives up on us after one and a half of it.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Bytes read at once: 128 acknowledgements. Small, because a fleet has thousands of connections.
const READ_BYTES: usize = 512;
/// Bytes waiting to be written above which no more messages are encoded.
const WRITE_BYTES: usize = 64 * 1024;

/// What a device publishes, and when.
pub(crate) trait Source: Send + 'static {
    /// When the next message is due, on the monotonic clock; `None` if there is none any more.
    fn due(&self) -> Option<Duration>;

    /// Makes the message that is due, numbered `seq`; returns how many readings it has.
    fn write(&mut self, seq: i64, payload: &mut String) -> u32;
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

/// How long a connection may say nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Silence before a ping.
    pub(crate) ping_after: Duration,
    /// Silence before a new connection.
    pub(crate) silence: Duration,
    /// Wait for any acknowledgement before a new connection: a server may have lost track of us.
    pub(crate) acknowledgement: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ping_after: Duration::from_secs(20),
            silence: Duration::from_secs(30),
            acknowledgement: Duration::from_secs(30),
        }
    }
}

/// Who publishes.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: Arc<str>,
    pub(crate) topic: String,
    pub(crate) boot: i64,
}

/// Why a connection is over before its time.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    /// Another connection may go on.
    #[error(transparent)]
    Connection(#[from] connection::Error),
    /// Nothing may go on: what is published is not accounted for.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

pub(crate) struct Publisher<S> {
    run: Arc<Run>,
    stop: watch::Receiver<bool>,
    ledger: ledger::Sender,
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
        ledger: ledger::Sender,
        device: Device,
        source: S,
        in_flight: usize,
        backoff: Backoff,
    ) -> Self {
        Self {
            run,
            stop,
            ledger,
            device,
            source,
            outbox: Outbox::new(in_flight),
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
    /// If the ledger is not written any more.
    pub(crate) async fn run(mut self, wait: Duration) -> Result<S, ledger::Error> {
        self.unless_over(sleep(wait)).await;
        while !self.finished(self.run.clock.monotonic()) {
            match self.session().await {
                Ok(()) => break,
                Err(Interruption::Ledger(error)) => return Err(error),
                Err(Interruption::Connection(error)) => self.log_loss(&error),
            }
            let pause = self.backoff.pause();
            self.unless_over(sleep(pause)).await;
        }
        let Device { name, boot, .. } = &self.device;
        for message in self.outbox.into_unacknowledged() {
            let (device, boot) = (Arc::clone(name), *boot);
            let entry = Entry { device, boot, seq: message.seq, readings: message.readings, acknowledged_at: None };
            self.ledger.send(entry).await?;
        }
        Ok(self.source)
    }

    /// One connection, from its opening to the end of the run or to its failure.
    async fn session(&mut self) -> Result<(), Interruption> {
        let (run, device) = (Arc::clone(&self.run), Arc::clone(&self.device.name));
        let opening = Connection::open(&run.mqtt, &device, KEEP_ALIVE, READ_BYTES);
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
            self.make(now);
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
    fn make(&mut self, now: Duration) {
        if self.deadline.is_some() {
            return;
        }
        if self.run.until.is_some_and(|until| until <= now) {
            return self.end(now);
        }
        while self.outbox.has_room() {
            let Some(due) = self.source.due() else { return self.end(now) };
            if due > now {
                return;
            }
            self.payload.clear();
            let readings = self.source.write(self.outbox.next_seq(), &mut self.payload);
            self.outbox.push(readings, Bytes::copy_from_slice(self.payload.as_bytes()));
            self.run.progress.published(readings, now - due);
        }
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
                other => return Err(connection::Error::Unexpected(Box::new(other)).into()),
            };
            let Some((seq, readings)) = self.outbox.acknowledge(id) else {
                self.run.progress.stray_acknowledgements.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(device = %self.device.name, id, "acknowledgement of nothing that waits");
                continue;
            };
            self.waiting_since = now;
            self.backoff.reset();
            let Device { name, boot, .. } = &self.device;
            let (device, boot) = (Arc::clone(name), *boot);
            self.ledger.send(Entry { device, boot, seq, readings, acknowledged_at }).await?;
            self.run.progress.acknowledged(readings);
        }
        Ok(())
    }

    /// Pings a silent connection, gives up a dead one.
    fn look_after(&mut self, connection: &mut Connection) -> Result<(), connection::Error> {
        let now = self.run.clock.monotonic();
        let Patience { ping_after, silence, acknowledgement } = self.run.patience;
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
        let Patience { ping_after, silence, acknowledgement } = self.run.patience;
        let mut wake = self.heard + if self.pinged { silence } else { ping_after };
        if self.outbox.waits() {
            wake = wake.min(self.waiting_since + acknowledgement);
        }
        if self.deadline.is_none() && self.outbox.has_room() {
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
