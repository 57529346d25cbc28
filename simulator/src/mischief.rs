//! Devices that behave badly, though within MQTT: messages sent twice, out of order, or late.
//!
//! Mischief stands between the making of a message and the outbox, and turns the order of making into an order of
//! sending. That depends on the seed alone, not on the network. A copy is a PUBLISH of its own with the same
//! payload: the same packet id again on a living connection is what MQTT 5 forbids and no server need bear.
//!
//! What is held back is bounded, because a server that deduplicates must remember each gap: Weir knows 64 of a
//! device and boot (ADR 5), and fewer are held here, so that mischief alone never leaves its promise.

use std::collections::VecDeque;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::outbox::Message;

/// Most messages held back at once.
const HELD_MOST: usize = 32;
/// Most later messages that go before one that was held back.
const LATER_MOST: u64 = 100;

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Sent, and at once again.
    Doubled,
    /// Sent, and again after later ones.
    Repeated,
    /// Sent after the next one.
    Swapped,
    /// Sent after many later ones.
    Late,
}

/// The bad habits of one device.
#[derive(Debug)]
pub(crate) struct Mischief {
    share: f64,
    random: ChaCha8Rng,
    /// Messages sent in their turn.
    passed: u64,
    /// Messages and copies held back, and after how many passed ones each goes; the first to go first.
    held: VecDeque<(u64, Message)>,
}

impl Mischief {
    /// `share` of the messages, 0 to 1, are sent badly.
    pub(crate) fn new(share: f64, random: ChaCha8Rng) -> Self {
        Self { share, random, passed: 0, held: VecDeque::new() }
    }

    /// Takes `message` and gives to `out` what is to be sent now, in order; at most `most` are held back. One
    /// message more goes out or is held, or two if it is copied.
    pub(crate) fn pass(&mut self, mut message: Message, most: usize, mut out: impl FnMut(Message)) {
        let kind = self.draw();
        let may_hold = self.held.len() < most.min(HELD_MOST);
        match kind {
            Some(Kind::Swapped) if may_hold => return self.hold(message, 1),
            Some(Kind::Late) if may_hold => {
                let later = self.random.random_range(2..=LATER_MOST);
                return self.hold(message, later);
            }
            Some(Kind::Repeated) if may_hold => {
                let later = self.random.random_range(1..=LATER_MOST);
                let copy = message.copy();
                out(message);
                self.hold(copy, later);
            }
            Some(Kind::Doubled) => {
                let copy = message.copy();
                out(message);
                out(copy);
            }
            _ => out(message),
        }
        self.passed += 1;
        while let Some((_, due)) = self.held.pop_front_if(|(after, _)| *after <= self.passed) {
            out(due);
        }
    }

    /// How many messages and copies are held back.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Gives up all that is held back.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = Message> {
        self.held.drain(..).map(|(_, message)| message)
    }

    fn draw(&mut self) -> Option<Kind> {
        if self.share <= 0.0 || !self.random.random_bool(self.share.min(1.0)) {
            return None;
        }
        Some(match self.random.random_range(0..4) {
            0 => Kind::Doubled,
            1 => Kind::Repeated,
            2 => Kind::Swapped,
            _ => Kind::Late,
        })
    }

    /// Holds `message` back until `later` more have passed.
    fn hold(&mut self, message: Message, later: u64) {
        // The message itself counts as passed if a copy of it is held.
        let after = self.passed + later + u64::from(message.is_copy());
        let at = self.held.partition_point(|(other, _)| *other <= after);
        self.held.insert(at, (after, message));
    }
}

#[cfg(test)]
mod tests;
