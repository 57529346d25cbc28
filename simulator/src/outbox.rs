//! What one device has published and not yet seen acknowledged, in order.
//!
//! ```text
//!  seq   7      8      9      10     11     12
//!      [sent] [ack'd] [sent] [sent] [new ] [new ]      at most `capacity` from the first to the last
//!        ^ first                      ^ next to send
//! ```
//! A message leaves only when it and all before it are acknowledged, so first and last are never further
//! apart than the capacity. The packet id is a function of the sequence number: a resend has the id of the
//! first attempt, and an id never means two messages of the window. An acknowledgement counts only for what
//! was sent on the connection it arrives on.

use std::collections::VecDeque;

use bytes::Bytes;

/// Packet ids are 1 to 65,535, and a window of messages must be told apart by them.
pub(crate) const MAX_CAPACITY: usize = u16::MAX as usize;

/// A message of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) seq: i64,
    pub(crate) readings: u32,
    pub(crate) payload: Bytes,
}

#[derive(Debug)]
struct Slot {
    message: Message,
    acknowledged: bool,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    slots: VecDeque<Slot>,
    capacity: usize,
    next_seq: i64,
    /// How many slots, from the first, were sent on this connection.
    sent: usize,
}

impl Outbox {
    /// An empty outbox; the first message has the number 1. `capacity` is cut to 1..=[`MAX_CAPACITY`].
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MAX_CAPACITY);
        Self { slots: VecDeque::new(), capacity, next_seq: 1, sent: 0 }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < self.capacity
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of the message to come.
    pub(crate) fn next_seq(&self) -> i64 {
        self.next_seq
    }

    /// Adds the message numbered [`Self::next_seq`].
    pub(crate) fn push(&mut self, readings: u32, payload: Bytes) {
        let message = Message { seq: self.next_seq, readings, payload };
        self.next_seq += 1;
        self.slots.push_back(Slot { message, acknowledged: false });
    }

    /// The next message to send on this connection, with its packet id; it counts as sent from now on.
    pub(crate) fn send_next(&mut self) -> Option<(u16, &Message)> {
        // What was acknowledged before a reconnect, after a message that was not, is not sent again.
        while self.slots.get(self.sent).is_some_and(|slot| slot.acknowledged) {
            self.sent += 1;
        }
        let slot = self.slots.get(self.sent)?;
        self.sent += 1;
        Some((packet_id(slot.message.seq), &slot.message))
    }

    /// Whether a message sent on this connection waits for its acknowledgement.
    pub(crate) fn waits(&self) -> bool {
        // The first slot is never an acknowledged one.
        self.sent > 0
    }

    /// Clears the message that `id` names; `None` if nothing sent on this connection waits under that id.
    pub(crate) fn acknowledge(&mut self, id: u16) -> Option<(i64, u32)> {
        let first = self.slots.front()?.message.seq;
        let ids = i64::from(u16::MAX);
        let index = usize::try_from((i64::from(id) - i64::from(packet_id(first))).rem_euclid(ids)).ok()?;
        if index >= self.sent {
            return None;
        }
        let slot = self.slots.get_mut(index).filter(|slot| !slot.acknowledged && packet_id(slot.message.seq) == id)?;
        slot.acknowledged = true;
        slot.message.payload = Bytes::new();
        let cleared = (slot.message.seq, slot.message.readings);
        while self.slots.front().is_some_and(|slot| slot.acknowledged) {
            self.slots.pop_front();
            // A slot acknowledged on an earlier connection may leave before its turn to be skipped.
            self.sent = self.sent.saturating_sub(1);
        }
        Some(cleared)
    }

    /// A new connection: what is not acknowledged must be sent again, from the first.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// What never was acknowledged, in order.
    pub(crate) fn into_unacknowledged(self) -> impl Iterator<Item = Message> {
        self.slots.into_iter().filter(|slot| !slot.acknowledged).map(|slot| slot.message)
    }
}

/// Packet id of message `seq`: 1 to 65,535, in turn.
fn packet_id(seq: i64) -> u16 {
    let turn = (seq - 1).rem_euclid(i64::from(u16::MAX)) + 1;
    u16::try_from(turn).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
