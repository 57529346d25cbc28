//! One command on its way to one connection, and how its sender hears of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use telemetry::trace::Context;
use tokio::sync::mpsc;

/// A command, the same for all who get it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) key: Arc<str>,
    /// When it is worth nothing any more, on the monotonic clock.
    pub(crate) expires: Duration,
    /// The span that sends it, if that is traced.
    pub(crate) trace: Option<Context>,
}

/// What a recipient made of a command. One that says nothing is gone: its side of the channel is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its PUBACK came.
    Acknowledged,
    /// Its PUBACK came, with a reason of version 5 that is an error.
    Declined {
        /// The reason.
        reason: u8,
    },
    /// Its client takes only smaller packets.
    TooLarge {
        /// Size of the packet, in bytes.
        bytes: usize,
        /// What the client takes, in bytes.
        most: usize,
    },
}

/// A command for one connection.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) command: Arc<Command>,
    pub(super) wish: Wish,
}

/// What a connection is to do with a command.
#[derive(Debug)]
pub(super) enum Wish {
    /// QoS 0, if the client keeps up.
    Show,
    /// QoS 1; its answer goes here.
    Deliver(Reply),
}

/// The way back to the sender. Dropped without an answer, the command is lost on this connection.
#[derive(Clone, Debug)]
pub(super) struct Reply(mpsc::Sender<Answer>);

impl Reply {
    /// A way back for each of `recipients`, made by cloning this, and its other end.
    pub(super) fn new(recipients: usize) -> (Self, mpsc::Receiver<Answer>) {
        let (sender, receiver) = mpsc::channel(recipients.max(1));
        (Self(sender), receiver)
    }

    /// Answers. There is room: every recipient answers once.
    pub(super) fn answer(self, answer: Answer) {
        // An error means that nobody waits any more.
        self.0.try_send(answer).unwrap_or_default();
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_forgotten(&self) -> bool {
        self.0.is_closed()
    }
}
