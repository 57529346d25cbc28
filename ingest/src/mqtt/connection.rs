//! One connection: the loop that reads its packets, and the acknowledgements it owes.
//!
//! A message goes into the open group in the same call that takes it off the read buffer, so messages of a
//! connection cannot change places. When a group becomes durable, everything owed up to it is written at once.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ntex::io::{Io, IoRef, IoStatusUpdate, RecvError};
use ntex::time::Seconds;
use ntex::util::BytePages;
use ntex_mqtt::v5::codec::DisconnectReasonCode as Code;
use streams::faults::{Point, Tooth, point, tooth};
use telemetry::Reason;

use super::Version;
use super::frame::{FrameError, Frames};
use super::handshake::{Client, Will};
use super::outgoing::Outgoing;
use super::owed::{Debts, Owed, Sent};
use super::packet;
use super::subscriptions::Subscriptions;
use super::worker::Worker;
use crate::intake::{Incoming, Receiving};
use crate::live::LiveReading;

/// A connection past its handshake.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) worker: Rc<Worker>,
    pub(super) io: IoRef,
    pub(super) version: Version,
    pub(super) name: Box<str>,
    pub(super) most_packet_bytes: usize,
    pub(super) receive_maximum: u16,
    frames: Frames,
    pub(super) debts: RefCell<Debts>,
    /// Messages that became owed since the gauge was last moved.
    newly_owed: Cell<i64>,
    /// Packet ids of QoS 2 messages taken and not yet released.
    pub(super) unreleased: RefCell<HashSet<u16>>,
    pub(super) aliases: RefCell<HashMap<u16, Box<str>>>,
    pub(super) subscriptions: RefCell<Subscriptions>,
    /// There from the first command on.
    pub(super) outgoing: RefCell<Option<Box<Outgoing>>>,
    /// Not read until something it waits for happened.
    paused: Cell<bool>,
    waits_for_room: Cell<bool>,
    ending: Cell<Option<Ending>>,
    patience: Seconds,
    last_heard: Cell<Duration>,
    /// When the packets of this turn of the loop were taken off the socket, once one asked.
    received: Cell<Option<Duration>>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The peer is gone.
    Gone,
    /// The client said goodbye.
    Goodbye { with_will: bool },
    /// We close it; version 5 clients are told why.
    Closed(Code),
}

/// What the loop does next.
enum Step {
    Again,
    Wait,
    End(Ending),
}

/// Serves a client until its connection ends.
pub(super) async fn serve(worker: Rc<Worker>, io: Io, id: u64, client: Client) {
    let metrics = worker.shared.intake.metrics();
    metrics.connections.inc();
    metrics.connections_total.with_label_values(&[client.version.as_str()]).inc();
    let will = client.will.clone();
    let connection = Rc::new(Connection::new(worker.clone(), io.get_ref(), id, client));
    worker.enter(connection.clone());
    worker.shared.clients.enter(&connection.name, id, worker.mailbox.clone());

    io.start_timer(connection.patience);
    let ending = poll_fn(|context| connection.poll(&io, context)).await;
    io.stop_timer();

    worker.shared.clients.leave(&connection.name, id);
    worker.leave(&connection);
    connection.hang_up();
    connection.forgive();
    connection.publish_will(ending, will);
    connection.say_goodbye(ending);
    worker.shared.intake.metrics().connections.dec();
    tracing::debug!(id, ?ending, "connection ended");
    if let Err(error) = io.shutdown().await {
        tracing::debug!(id, %error, "connection closed by its peer");
    }
}

impl Connection {
    fn new(worker: Rc<Worker>, io: IoRef, id: u64, client: Client) -> Self {
        let Client { version, name, patience, most_packet_bytes, receive_maximum, will: _ } = client;
        let frames = Frames { most_bytes: worker.shared.settings.most_packet_bytes() };
        let last_heard = Cell::new(worker.shared.intake.clock().monotonic());
        Self {
            id,
            worker,
            io,
            version,
            name,
            most_packet_bytes,
            receive_maximum,
            frames,
            debts: RefCell::default(),
            newly_owed: Cell::default(),
            unreleased: RefCell::default(),
            aliases: RefCell::default(),
            subscriptions: RefCell::default(),
            outgoing: RefCell::default(),
            paused: Cell::default(),
            waits_for_room: Cell::default(),
            ending: Cell::default(),
            patience,
            last_heard,
            received: Cell::default(),
        }
    }

    fn poll(self: &Rc<Self>, io: &Io, context: &mut Context<'_>) -> Poll<Ending> {
        io.poll_dispatch(context);
        self.received.set(None);
        let mut heard = false;
        let ended = loop {
            match self.step(io, context, &mut heard) {
                Step::Again => {}
                Step::Wait => break Poll::Pending,
                Step::End(ending) => break Poll::Ready(ending),
            }
        };
        if heard {
            self.last_heard.set(self.worker.shared.intake.clock().monotonic());
        }
        self.worker.shared.intake.metrics().unacknowledged_messages.add(self.newly_owed.take());
        ended
    }

    fn step(self: &Rc<Self>, io: &Io, context: &mut Context<'_>, heard: &mut bool) -> Step {
        if let Some(ending) = self.ending.take() {
            return Step::End(ending);
        }
        if self.worker.shared.intake.is_closed() {
            return self.drain(io, context);
        }
        if io.is_wr_backpressure() {
            return self.wait_for_reader(io, context);
        }
        if self.must_pause() {
            return self.pause(io, context);
        }
        match io.poll_recv_decode(&self.frames, context) {
            Ok(decoded) => match decoded.item {
                Some(frame) => {
                    *heard = true;
                    self.handle(&frame).map_or_else(Step::End, |()| Step::Again)
                }
                None => Step::Wait,
            },
            Err(RecvError::KeepAlive) => self.check_silence(io),
            // The next step waits for the reader.
            Err(RecvError::WriteBackpressure) => Step::Again,
            Err(RecvError::Decoder(FrameError::Malformed)) => Step::End(Ending::Closed(Code::MalformedPacket)),
            Err(RecvError::Decoder(FrameError::TooLarge { bytes })) => Step::End(self.too_large(bytes)),
            Err(RecvError::PeerGone(_)) => Step::End(Ending::Gone),
        }
    }

    /// The intake is closed: what is owed is still paid, then the connection ends.
    fn drain(&self, io: &Io, context: &mut Context<'_>) -> Step {
        if self.worker.shared.intake.failed().borrow().is_some() {
            return Step::End(Ending::Closed(Code::ImplementationSpecificError));
        }
        if !self.waits_for_group() {
            return Step::End(Ending::Closed(Code::ServerShuttingDown));
        }
        match io.poll_read_pause(context) {
            Poll::Ready(IoStatusUpdate::PeerGone(_)) => Step::End(Ending::Gone),
            Poll::Ready(IoStatusUpdate::KeepAlive | IoStatusUpdate::WriteBackpressure) | Poll::Pending => Step::Wait,
        }
    }

    /// The client does not read what it is sent: nothing more is read from it, or our buffer would grow.
    fn wait_for_reader(&self, io: &Io, context: &mut Context<'_>) -> Step {
        io.pause();
        match io.poll_status_update(context) {
            Poll::Ready(IoStatusUpdate::PeerGone(_)) => return Step::End(Ending::Gone),
            // A client that keeps silent, or keeps us silent, is not there.
            Poll::Ready(IoStatusUpdate::KeepAlive) => return self.check_silence(io),
            Poll::Ready(IoStatusUpdate::WriteBackpressure) | Poll::Pending => {}
        }
        match io.poll_flush(context, false) {
            Poll::Ready(Ok(())) => {
                self.write_commands();
                Step::Again
            }
            Poll::Ready(Err(_)) => Step::End(Ending::Gone),
            Poll::Pending => Step::Wait,
        }
    }

    fn must_pause(&self) -> bool {
        let settings = &self.worker.shared.settings;
        let debts = self.debts.borrow();
        debts.len() >= usize::from(settings.in_flight.get())
            || debts.bytes() > settings.in_flight_bytes
            || !self.worker.shared.intake.has_room()
    }

    fn pause(self: &Rc<Self>, io: &Io, context: &mut Context<'_>) -> Step {
        self.paused.set(true);
        if !self.worker.shared.intake.has_room() && !self.waits_for_room.replace(true) {
            self.worker.wait_for_room(self.clone());
        }
        match io.poll_read_pause(context) {
            Poll::Pending => Step::Wait,
            Poll::Ready(IoStatusUpdate::PeerGone(_)) => Step::End(Ending::Gone),
            Poll::Ready(IoStatusUpdate::WriteBackpressure) => {
                // The call may have found that the client has read.
                self.write_commands();
                Step::Again
            }
            Poll::Ready(IoStatusUpdate::KeepAlive) => {
                // It may have sent pings that we do not read: its silence counts from now.
                self.last_heard.set(self.worker.shared.intake.clock().monotonic());
                io.start_timer(self.patience);
                Step::Again
            }
        }
    }

    fn check_silence(&self, io: &Io) -> Step {
        let silent = self.worker.shared.intake.clock().monotonic().saturating_sub(self.last_heard.get());
        match Duration::from(self.patience).checked_sub(silent) {
            None | Some(Duration::ZERO) => Step::End(Ending::Closed(Code::KeepAliveTimeout)),
            Some(left) => {
                io.start_timer(Seconds(u16::try_from(left.as_secs()).unwrap_or(u16::MAX).saturating_add(1)));
                Step::Again
            }
        }
    }

    /// When the message at hand was received. All that one read brought came at once, so the clock is asked once.
    pub(super) fn received_at(&self) -> Duration {
        let received = self.received.get().unwrap_or_else(|| self.worker.shared.intake.clock().monotonic());
        self.received.set(Some(received));
        received
    }

    pub(super) fn too_large(&self, bytes: usize) -> Ending {
        let metrics = self.worker.shared.intake.metrics();
        metrics.rejected_at_the_door();
        metrics.rejected.with_label_values(&[Reason::TooLarge.as_str()]).inc();
        tracing::warn!(client_id = %self.name, bytes, "packet over the size limit, closing the connection");
        Ending::Closed(Code::PacketTooLarge)
    }

    /// Owes an acknowledgement, behind those owed already; with the span of its message, if that is traced.
    pub(super) fn owe(self: &Rc<Self>, owed: Owed, receiving: Option<Receiving>) {
        let mut debts = self.debts.borrow_mut();
        if debts.is_empty() {
            self.worker.wait_for_group(self.clone());
        }
        debts.push(owed, receiving);
        self.newly_owed.set(self.newly_owed.get() + 1);
        if owed.group <= self.worker.shared.intake.last_durable() {
            // Nothing else will ring for it.
            self.worker.mailbox.ring();
        }
    }

    /// Whether something is owed.
    pub(super) fn waits_for_group(&self) -> bool {
        !self.debts.borrow().is_empty()
    }

    /// Writes every acknowledgement owed up to group `durable`.
    pub(super) fn acknowledge(&self, durable: u64) -> Sent {
        let mut debts = self.debts.borrow_mut();
        let durable = durable + u64::from(tooth(Tooth::StaleAck));
        let due = debts.due(durable);
        if due == 0 {
            return Sent::default();
        }
        point(Point::AckWrite);
        // An error means that the connection is closing: what is owed is forgiven at its end.
        let (now, waited) = (self.worker.shared.intake.clock().monotonic(), &self.worker.waited);
        let sent = self.io.with_write_buf(|buffer| debts.pay(due, buffer, now, waited)).unwrap_or_default();
        if sent.messages > 0 {
            self.worker.shared.intake.acknowledged(debts.take_received(durable));
        }
        drop(debts);
        point(Point::AckWritten);
        let messages = i64::try_from(sent.messages).unwrap_or(i64::MAX);
        self.worker.shared.intake.metrics().unacknowledged_messages.sub(messages);
        if self.paused.get() {
            self.resume();
        }
        sent
    }

    /// The connection is over: nothing of what is owed can be paid.
    fn forgive(&self) {
        let mut debts = self.debts.borrow_mut();
        self.worker.shared.intake.forgiven(debts.take_received(u64::MAX));
        let owed = i64::try_from(debts.forgive()).unwrap_or(i64::MAX);
        self.worker.shared.intake.metrics().unacknowledged_messages.sub(owed);
    }

    /// The open group has room.
    pub(super) fn room_again(&self) {
        self.waits_for_room.set(false);
        self.resume();
    }

    fn resume(&self) {
        self.paused.set(false);
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.io.notify_dispatcher();
    }

    /// Ends because the client connected anew.
    pub(super) fn take_over(&self) {
        self.ending.set(Some(Ending::Closed(Code::SessionTakenOver)));
        self.wake();
    }

    /// Sends a live reading if a filter wants it; false if it was dropped because the client is slow.
    pub(super) fn show(&self, reading: &LiveReading) -> bool {
        if !self.subscriptions.borrow().live.iter().any(|filter| filter.matches(&reading.topic)) {
            return true;
        }
        if self.io.is_wr_backpressure() || packet::live_bytes(self.version, reading) > self.most_packet_bytes {
            return false;
        }
        self.io.with_write_buf(|buffer| packet::put_live(buffer, self.version, reading)).is_ok()
    }

    pub(super) fn write(&self, put: impl FnOnce(&mut BytePages)) -> Result<(), Ending> {
        self.io.with_write_buf(put).map_err(|_| Ending::Gone)
    }

    fn publish_will(&self, ending: Ending, will: Option<Will>) {
        let Some(will) = will else { return };
        if ending == (Ending::Goodbye { with_will: false })
            || will.payload.len() > self.worker.shared.settings.payload_bytes
        {
            return;
        }
        let Will { topic, payload } = &will;
        let incoming = Incoming { topic, payload, identity: None, client_id: &self.name, traceparent: None };
        if self.worker.shared.intake.accept(&incoming).is_err() {
            tracing::debug!(id = self.id, "stopping, will not published");
        }
    }

    fn say_goodbye(&self, ending: Ending) {
        if let (Version::V5, Ending::Closed(code)) = (self.version, ending)
            && self.write(|buffer| packet::put_disconnect(buffer, code)).is_err()
        {
            tracing::debug!(id = self.id, "connection closed before it was told why");
        }
    }
}
