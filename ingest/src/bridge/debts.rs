//! What a connection owes the broker: PUBACKs, in the order the messages were received. They live and end with the
//! connection, so none can ever reach another one.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use prometheus::local::LocalHistogram;

use crate::intake::Receiving;

/// First bytes of a PUBACK that says yes: type, and its length, in both versions.
const PUBACK: [u8; 2] = [0x40, 0x02];
/// Packet ids, 64 to a word.
const WORDS: usize = 65_536 / 64;

/// One PUBACK, to be sent when its group is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Debt {
    pub(super) group: u64,
    pub(super) readings: u32,
    /// When the message was received, by the monotonic clock.
    pub(super) received: Duration,
    pub(super) id: u16,
}

/// Acknowledgements that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paid {
    pub(super) messages: u64,
    pub(super) readings: u64,
}

/// The acknowledgements owed.
#[derive(Debug)]
pub(super) struct Debts {
    queue: VecDeque<Debt>,
    /// Packet ids in the queue, one bit each.
    owed: Vec<u64>,
    /// Those messages that are traced, with their groups, in the same order.
    receiving: VecDeque<(u64, Receiving)>,
}

impl Debts {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), owed: vec![0; WORDS], receiving: VecDeque::new() }
    }

    /// Owes `debt`, behind those owed already, for a message that is traced if it has a span. A broker may send a message again on the same connection: then its
    /// packet id is owed once, for the later copy, because after one PUBACK the id may mean another message.
    pub(super) fn push(&mut self, debt: Debt, receiving: Option<Receiving>) {
        self.receiving.extend(receiving.map(|receiving| (debt.group, receiving)));
        if self.mark(debt.id, true) {
            self.queue.retain(|other| other.id != debt.id);
        }
        self.queue.push_back(debt);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes what is due now, at monotonic time `now`, that `durable` is the last durable group; tells `waited` how
    /// long each took.
    pub(super) fn pay(&mut self, durable: u64, buffer: &mut BytesMut, now: Duration, waited: &LocalHistogram) -> Paid {
        let mut paid = Paid::default();
        while let Some(debt) = self.queue.pop_front_if(|debt| debt.group <= durable) {
            buffer.put_slice(&PUBACK);
            buffer.put_u16(debt.id);
            self.mark(debt.id, false);
            waited.observe(now.saturating_sub(debt.received).as_secs_f64());
            paid.messages += 1;
            paid.readings += u64::from(debt.readings);
        }
        paid
    }

    /// Takes the spans of messages of groups up to `durable`, which are paid.
    pub(super) fn take_received(&mut self, durable: u64) -> Vec<Receiving> {
        let paid = self.receiving.partition_point(|(group, _)| *group <= durable);
        self.receiving.drain(..paid).map(|(_, receiving)| receiving).collect()
    }

    /// Whether something is due.
    pub(super) fn is_due(&self, durable: u64) -> bool {
        self.queue.front().is_some_and(|debt| debt.group <= durable)
    }

    /// Marks `id` as owed or not; says what it was.
    fn mark(&mut self, id: u16, owed: bool) -> bool {
        let Some(word) = self.owed.get_mut(usize::from(id / 64)) else { return false };
        let bit = 1 << (id % 64);
        let was = *word & bit != 0;
        if owed {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pay(debts: &mut Debts, durable: u64) -> (Paid, Vec<u8>) {
        let (mut buffer, registry) = (BytesMut::new(), prometheus::Registry::new());
        let waited = crate::IngestMetrics::register(&registry).unwrap().acknowledge_seconds.local();
        let paid = debts.pay(durable, &mut buffer, Duration::from_secs(1), &waited);
        (paid, buffer.to_vec())
    }

    #[test]
    fn debts_are_paid_in_order_up_to_the_durable_group() {
        let mut debts = Debts::new();
        for (group, id) in [(1, 9), (1, 3), (2, 65_535)] {
            debts.push(Debt { group, readings: 2, received: Duration::ZERO, id }, None);
        }
        assert!(!debts.is_due(0) && debts.is_due(1));
        assert_eq!(pay(&mut debts, 0), (Paid::default(), vec![]));
        let (paid, bytes) = pay(&mut debts, 1);
        assert_eq!(paid, Paid { messages: 2, readings: 4 });
        assert_eq!(bytes, b"\x40\x02\x00\x09\x40\x02\x00\x03");
        assert_eq!(debts.len(), 1);
        assert_eq!(pay(&mut debts, 2).1, b"\x40\x02\xFF\xFF");
        assert!(debts.is_empty());
    }

    #[test]
    fn an_id_that_comes_again_is_owed_once_and_for_the_later_copy() {
        let mut debts = Debts::new();
        for (group, id) in [(1, 7), (1, 8), (2, 7)] {
            debts.push(Debt { group, readings: 1, received: Duration::ZERO, id }, None);
        }
        assert_eq!(pay(&mut debts, 1).1, b"\x40\x02\x00\x08");
        assert_eq!(pay(&mut debts, 2).1, b"\x40\x02\x00\x07");
        debts.push(Debt { group: 3, readings: 1, received: Duration::ZERO, id: 7 }, None);
        assert_eq!(pay(&mut debts, 3).1, b"\x40\x02\x00\x07", "free again after its acknowledgement");
    }
}
