//! What a client wants to be told, and the commands it gets.

use std::rc::Rc;
use std::sync::Arc;

use telemetry::topic::Filter;

use super::connection::Connection;
use super::errand::{Answer, Command, Errand, Wish};
use super::limits::{COMMAND_FILTER_BYTES, FILTERS_PER_CONNECTION};
use super::outgoing::Outgoing;
use super::packet::{self, Granted};
use super::requests::is_topic_name;
use super::switchboard::{Full, Line};
use crate::live;

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub(super) live: Vec<Filter>,
    commands: Vec<(Filter, Role)>,
}

/// What a command subscription is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Commands of this topic are done when the client acknowledges them.
    Recipient,
    /// Copies, at QoS 0.
    Watcher,
}

impl Role {
    const fn granted(self) -> Granted {
        match self {
            Self::Recipient => Granted::Commands,
            Self::Watcher => Granted::Copies,
        }
    }
}

/// Whether commands can be published to `topic`: a topic name of moderate length, not the live readings' and not
/// the server's own.
pub(crate) fn is_command_topic(topic: &str) -> bool {
    is_topic_name(topic) && may_be_subscribed(topic)
}

fn may_be_subscribed(filter: &str) -> bool {
    filter.len() <= COMMAND_FILTER_BYTES && !filter.starts_with('$') && !live::is_within(filter)
}

impl Connection {
    /// Subscribes to `text`; `arrived` takes its topic if the client became a recipient of commands by it.
    pub(super) fn subscribe(self: &Rc<Self>, text: &str, qos: u8, arrived: &mut Vec<Arc<str>>) -> Granted {
        if text.starts_with("$share/") {
            return Granted::Shared;
        }
        let Some(filter) = Filter::parse(text) else { return Granted::Invalid };
        if live::is_within(text) {
            self.subscribe_to_live(filter)
        } else if may_be_subscribed(text) {
            self.subscribe_to_commands(filter, qos, arrived)
        } else {
            Granted::NotAllowed
        }
    }

    fn subscribe_to_live(self: &Rc<Self>, filter: Filter) -> Granted {
        let mut subscriptions = self.subscriptions.borrow_mut();
        if subscriptions.live.contains(&filter) {
            return Granted::Live;
        }
        if subscriptions.are_full() {
            return Granted::TooMany;
        }
        if subscriptions.live.is_empty() {
            self.worker.watch(self.clone());
        }
        subscriptions.live.push(filter);
        Granted::Live
    }

    fn subscribe_to_commands(&self, filter: Filter, qos: u8, arrived: &mut Vec<Arc<str>>) -> Granted {
        let role = if qos > 0 && is_topic_name(filter.as_str()) { Role::Recipient } else { Role::Watcher };
        let mut subscriptions = self.subscriptions.borrow_mut();
        if subscriptions.commands.contains(&(filter.clone(), role)) {
            return role.granted();
        }
        // Subscribed to with another QoS, the old subscription is replaced.
        if let Some((filter, role)) = subscriptions.take(filter.as_str()) {
            self.hang_up_one(&filter, role);
        }
        if subscriptions.are_full() {
            return Granted::TooMany;
        }
        let line = Line { connection: self.id, mailbox: self.worker.mailbox.clone() };
        let switchboard = &self.worker.shared.switchboard;
        let connected = match role {
            Role::Recipient => switchboard.receive(filter.as_str(), line).map(|topic| arrived.push(topic)),
            Role::Watcher => switchboard.watch(filter.clone(), line),
        };
        match connected {
            Ok(()) => {
                subscriptions.commands.push((filter, role));
                role.granted()
            }
            Err(Full) => Granted::TooMany,
        }
    }

    /// Ends the subscription to `text`; false if there is none.
    pub(super) fn unsubscribe(&self, text: &str) -> bool {
        let mut subscriptions = self.subscriptions.borrow_mut();
        if let Some(index) = subscriptions.live.iter().position(|filter| filter.as_str() == text) {
            subscriptions.live.remove(index);
            if subscriptions.live.is_empty() {
                self.worker.stop_watching(self);
            }
            return true;
        }
        let Some((filter, role)) = subscriptions.take(text) else { return false };
        self.hang_up_one(&filter, role);
        true
    }

    /// The connection is over: nothing comes to it any more, and what it was sent without a PUBACK is lost.
    pub(super) fn hang_up(&self) {
        for (filter, role) in self.subscriptions.borrow_mut().commands.drain(..) {
            self.hang_up_one(&filter, role);
        }
        drop(self.outgoing.take());
    }

    fn hang_up_one(&self, filter: &Filter, role: Role) {
        let switchboard = &self.worker.shared.switchboard;
        match role {
            Role::Recipient => switchboard.stop_receiving(filter.as_str(), self.id),
            Role::Watcher => switchboard.stop_watching(filter, self.id),
        }
    }

    /// Takes a command to deliver, or shows it.
    pub(super) fn run(&self, errand: Errand) {
        let Errand { command, wish } = errand;
        let bytes = packet::command_bytes(self.version, &command);
        let reply = match wish {
            Wish::Deliver(reply) => reply,
            Wish::Show => return self.show_command(&command, bytes),
        };
        if bytes > self.most_packet_bytes {
            return reply.answer(Answer::TooLarge { bytes, most: self.most_packet_bytes });
        }
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.get_or_insert_with(|| Box::new(Outgoing::new(self.receive_maximum))).push(command, reply);
        drop(outgoing);
        self.write_commands();
    }

    /// Writes the commands whose turn it is, as long as the client reads them. Called again when it has read, and
    /// when it has acknowledged.
    pub(super) fn write_commands(&self) {
        let mut outgoing = self.outgoing.borrow_mut();
        let Some(outgoing) = &mut *outgoing else { return };
        let now = self.worker.shared.intake.clock().monotonic();
        while !self.io.is_wr_backpressure() {
            let Some((id, command)) = outgoing.next(now) else { return };
            let left = command.expires.saturating_sub(now);
            let put = |buffer: &mut _| packet::put_command(buffer, self.version, Some(id), &command, left);
            if self.io.with_write_buf(put).is_err() {
                // The connection is closing: at its end all is lost.
                return;
            }
        }
    }

    /// The client acknowledges what was sent as packet `id`.
    pub(super) fn acknowledged(&self, id: u16, reason: u8) {
        /// From here on, reason codes are errors.
        const FIRST_ERROR: u8 = 0x80;
        if let Some(outgoing) = &mut *self.outgoing.borrow_mut() {
            let answer = if reason < FIRST_ERROR { Answer::Acknowledged } else { Answer::Declined { reason } };
            outgoing.acknowledge(id, answer);
        }
        self.write_commands();
    }

    /// A copy for who watches: dropped if the client is slow.
    fn show_command(&self, command: &Command, bytes: usize) {
        if self.io.is_wr_backpressure() || bytes > self.most_packet_bytes {
            return;
        }
        let left = command.expires.saturating_sub(self.worker.shared.intake.clock().monotonic());
        let put = |buffer: &mut _| packet::put_command(buffer, self.version, None, command, left);
        if self.io.with_write_buf(put).is_err() {
            tracing::debug!(id = self.id, "connection closing, command not shown");
        }
    }
}

impl Subscriptions {
    fn are_full(&self) -> bool {
        self.live.len() + self.commands.len() >= FILTERS_PER_CONNECTION
    }

    fn take(&mut self, text: &str) -> Option<(Filter, Role)> {
        let index = self.commands.iter().position(|(filter, _)| filter.as_str() == text)?;
        Some(self.commands.remove(index))
    }
}
