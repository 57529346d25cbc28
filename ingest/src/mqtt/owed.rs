//! What a connection owes its client: acknowledgements, in the order the messages were received.

use std::collections::VecDeque;
use std::time::Duration;

use ntex::util::BytePages;
use prometheus::local::LocalHistogram;

use super::packet::{self, Ack};
use crate::intake::Receiving;

/// One acknowledgement, to be sent when its group is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub(super) group: u64,
    pub(super) readings: u32,
    /// When the message was received, by the monotonic clock.
    pub(super) received: Duration,
    /// Of the payload.
    pub(super) bytes: u32,
    pub(super) id: u16,
    pub(super) ack: Ack,
}

/// Acknowledgements that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) messages: u64,
    pub(super) readings: u64,
}

/// The acknowledgements owed.
#[derive(Debug, Default)]
pub(super) struct Debts {
    queue: VecDeque<Owed>,
    bytes: usize,
    /// Those messages that are traced, with their groups, in the same order.
    receiving: VecDeque<(u64, Receiving)>,
}

impl Debts {
    /// Owes `owed`, behind those owed already, for a message that is traced if it has a span.
    pub(super) fn push(&mut self, owed: Owed, receiving: Option<Receiving>) {
        self.bytes += bytes_of(&owed);
        self.receiving.extend(receiving.map(|receiving| (owed.group, receiving)));
        self.queue.push_back(owed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Payload bytes of all that is owed for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Group of the newest debt; 0, which is durable from the start, if there is none.
    pub(super) fn newest_group(&self) -> u64 {
        self.queue.back().map_or(0, |owed| owed.group)
    }

    /// How many debts are due, now that `durable` is the last durable group.
    pub(super) fn due(&self, durable: u64) -> usize {
        self.queue.partition_point(|owed| owed.group <= durable)
    }

    /// Writes the oldest `count` acknowledgements, at monotonic time `now`; tells `waited` how long each took.
    pub(super) fn pay(&mut self, count: usize, buffer: &mut BytePages, now: Duration, waited: &LocalHistogram) -> Sent {
        let mut sent = Sent::default();
        for owed in self.queue.drain(..count) {
            packet::put_ack(buffer, owed.ack, owed.id);
            waited.observe(now.saturating_sub(owed.received).as_secs_f64());
            sent.messages += 1;
            sent.readings += u64::from(owed.readings);
            self.bytes -= bytes_of(&owed);
        }
        sent
    }

    /// Takes the spans of messages of groups up to `durable`, which are paid.
    pub(super) fn take_received(&mut self, durable: u64) -> Vec<Receiving> {
        let paid = self.receiving.partition_point(|(group, _)| *group <= durable);
        self.receiving.drain(..paid).map(|(_, receiving)| receiving).collect()
    }

    /// Gives all up; says how many there were.
    pub(super) fn forgive(&mut self) -> usize {
        self.bytes = 0;
        self.queue.drain(..).count()
    }
}

fn bytes_of(owed: &Owed) -> usize {
    usize::try_from(owed.bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_paid_in_order_up_to_the_durable_group() {
        let mut debts = Debts::default();
        for (group, id) in [(1, 9), (1, 3), (2, 5)] {
            let received = Duration::from_secs(group);
            debts.push(Owed { group, readings: 2, received, bytes: 10, id, ack: Ack::Puback }, None);
        }
        assert_eq!((debts.due(0), debts.due(1), debts.due(2)), (0, 2, 3));
        let (mut buffer, registry) = (BytePages::default(), prometheus::Registry::new());
        let seconds = crate::IngestMetrics::register(&registry).unwrap().acknowledge_seconds;
        let waited = seconds.local();
        let sent = debts.pay(2, &mut buffer, Duration::from_secs(4), &waited);
        assert_eq!(sent, Sent { messages: 2, readings: 4 });
        waited.flush();
        assert_eq!((seconds.get_sample_count(), seconds.get_sample_sum()), (2, 6.0));
        assert_eq!(buffer.freeze().to_vec(), b"\x40\x02\x00\x09\x40\x02\x00\x03");
        assert_eq!((debts.len(), debts.bytes(), debts.newest_group()), (1, 10, 2));
        assert_eq!(debts.forgive(), 1);
        assert!(debts.is_empty() && debts.bytes() == 0 && debts.newest_group() == 0);
    }
}
