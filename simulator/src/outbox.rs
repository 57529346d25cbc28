//! What one device has published and not yet seen acknowledged, in the order of sending.
//!
//! ```text
//!  place 7      8      9      10     11     12
//!      [sent] [ack'd] [sent] [sent] [new ] [new ]      at most `capacity` from the first to the last
//!        ^ first                      ^ next to send
//! ```
//! A message leaves only when it and all before it are acknowledged, so first and last are never further
//! apart than the capacity. The packet id is a function of the place: a resend has the id of the first attempt,
//! and an id never means two messages of the window. An acknowledgement counts only for what was sent on the
//! connection it arrives on.
//!
//! Places go up with the sequence numbers, unless [`Mischief`] copies messages or holds them back. A message and
//! its copy have a place each, and count as one: it is acknowledged with the first of the two.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::mischief::Mischief;

/// Packet ids are 1 to 65,535, and a window of messages, with one copy more than it has room for, must be told
/// apart by them.
pub(crate) const MAX_CAPACITY: usize = u16::MAX as usize - 1;

/// A message of a device, or a copy of one.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) boot: i64,
    pub(crate) seq: i64,
    pub(crate) readings: u32,
    pub(crate) payload: Bytes,
    copy: bool,
    /// Whether the message, which has a copy, is accounted for; shared with the copy.
    accounted: Option<Arc<AtomicBool>>,
}

impl Message {
    pub(crate) fn new(boot: i64, seq: i64, readings: u32, payload: Bytes) -> Self {
        Self { boot, seq, readings, payload, copy: false, accounted: None }
    }

    /// A copy, to be sent too.
    pub(crate) fn copy(&mut self) -> Self {
        self.accounted.get_or_insert_default();
        Self { copy: true, ..self.clone() }
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.copy
    }

    /// Whether the message is accounted for only now: neither it nor its copy asked before.
    fn account(&self) -> bool {
        self.accounted.as_ref().is_none_or(|accounted| !accounted.swap(true, Ordering::Relaxed))
    }
}

/// What a packet id that was acknowledged stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// A message, for the first time.
    Message { boot: i64, seq: i64, readings: u32 },
    /// A message whose copy was acknowledged before, or the copy of such a message.
    Again,
    /// Nothing sent on this connection waits under that id.
    Nothing,
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
    mischief: Mischief,
    /// Boot of the latest message.
    boot: i64,
    /// Number of the next message of that boot.
    next_seq: i64,
    /// Place of the first slot, or of the next if there is none.
    first: u64,
    /// How many slots, from the first, were sent on this connection.
    sent: usize,
}

impl Outbox {
    /// An empty outbox; the first message has the number 1 of `boot`. `capacity` is cut to 1..=[`MAX_CAPACITY`].
    pub(crate) fn new(capacity: usize, boot: i64, mischief: Mischief) -> Self {
        let capacity = capacity.clamp(1, MAX_CAPACITY);
        Self { slots: VecDeque::new(), capacity, mischief, boot, next_seq: 1, first: 0, sent: 0 }
    }

    /// Whether a message of `boot` may be added. A new boot must wait until nothing waits of the one before the
    /// latest: a server that deduplicates remembers few boots, and a device seldom restarts so often.
    pub(crate) fn has_room(&self, boot: i64) -> bool {
        let oldest_boot = self.slots.front().map_or(self.boot, |slot| slot.message.boot);
        self.slots.len() + self.mischief.held() < self.capacity && (boot == self.boot || oldest_boot >= self.boot)
    }

    /// Whether everything made is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.mischief.held() == 0
    }

    /// Number of the next message if it is of `boot`.
    pub(crate) fn next_seq(&self, boot: i64) -> i64 {
        if boot == self.boot { self.next_seq } else { 1 }
    }

    /// Adds the message of `boot` numbered [`Self::next_seq`]. Whether `boot` is a new one.
    pub(crate) fn push(&mut self, boot: i64, readings: u32, payload: Bytes) -> bool {
        let new_boot = boot != self.boot;
        let seq = self.next_seq(boot);
        if new_boot {
            self.release();
        }
        (self.boot, self.next_seq) = (boot, seq + 1);
        let Self { mischief, slots, capacity, .. } = self;
        // Of the window only half, so that later messages always find room.
        mischief.pass(Message::new(boot, seq, readings, payload), *capacity / 2, |message| {
            slots.push_back(Slot { message, acknowledged: false });
        });
        new_boot
    }

    /// Holds nothing back any more: no later messages come.
    pub(crate) fn release(&mut self) {
        let released = self.mischief.release().map(|message| Slot { message, acknowledged: false });
        self.slots.extend(released);
    }

    /// The next message to send on this connection, with its packet id; it counts as sent from now on.
    pub(crate) fn send_next(&mut self) -> Option<(u16, &Message)> {
        // What was acknowledged before a reconnect, after a message that was not, is not sent again.
        while self.slots.get(self.sent).is_some_and(|slot| slot.acknowledged) {
            self.sent += 1;
        }
        let slot = self.slots.get(self.sent)?;
        let place = self.first + self.sent as u64;
        self.sent += 1;
        Some((packet_id(place), &slot.message))
    }

    /// Whether a message sent on this connection waits for its acknowledgement.
    pub(crate) fn waits(&self) -> bool {
        // The first slot is never an acknowledged one.
        self.sent > 0
    }

    /// Clears the message that `id` names.
    pub(crate) fn acknowledge(&mut self, id: u16) -> Acknowledged {
        let Some(slot) = self.sent_as(id) else { return Acknowledged::Nothing };
        slot.acknowledged = true;
        slot.message.payload = Bytes::new();
        let Message { boot, seq, readings, .. } = slot.message;
        let first_time = slot.message.account();
        while self.slots.pop_front_if(|slot| slot.acknowledged).is_some() {
            self.first += 1;
            // A slot acknowledged on an earlier connection may leave before its turn to be skipped.
            self.sent = self.sent.saturating_sub(1);
        }
        if first_time { Acknowledged::Message { boot, seq, readings } } else { Acknowledged::Again }
    }

    /// The slot sent on this connection as `id`, that waits.
    fn sent_as(&mut self, id: u16) -> Option<&mut Slot> {
        let ids = i64::from(u16::MAX);
        let index = (i64::from(id) - i64::from(packet_id(self.first))).rem_euclid(ids);
        let index = usize::try_from(index).ok().filter(|index| *index < self.sent && id != 0)?;
        self.slots.get_mut(index).filter(|slot| !slot.acknowledged)
    }

    /// A new connection: what is not acknowledged must be sent again, from the first.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The messages that never were acknowledged, each once.
    pub(crate) fn into_unacknowledged(mut self) -> impl Iterator<Item = Message> {
        self.release();
        let waiting = self.slots.into_iter().filter(|slot| !slot.acknowledged);
        waiting.map(|slot| slot.message).filter(Message::account)
    }
}

/// Packet id of `place`: 1 to 65,535, in turn.
fn packet_id(place: u64) -> u16 {
    u16::try_from(place % u64::from(u16::MAX) + 1).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
