use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn filled(capacity: usize) -> Outbox {
    let mut outbox = Outbox::new(capacity);
    while outbox.has_room() {
        outbox.push(1, Bytes::from_static(b"x"));
    }
    outbox
}

fn send_all(outbox: &mut Outbox) -> Vec<(u16, i64)> {
    std::iter::from_fn(|| outbox.send_next().map(|(id, message)| (id, message.seq))).collect()
}

#[test]
fn messages_are_sent_in_order_and_leave_when_acknowledged() {
    let mut outbox = filled(3);
    assert_eq!(send_all(&mut outbox), [(1, 1), (2, 2), (3, 3)]);
    assert!(!outbox.has_room() && outbox.waits());
    assert_eq!(outbox.acknowledge(1), Some((1, 1)));
    assert_eq!(outbox.acknowledge(1), None);
    assert!(outbox.has_room());
    assert_eq!(outbox.acknowledge(2), Some((2, 1)));
    assert_eq!(outbox.acknowledge(3), Some((3, 1)));
    assert!(outbox.is_empty() && !outbox.waits());
}

#[test]
fn an_early_acknowledgement_clears_its_message_but_makes_no_room() {
    let mut outbox = filled(3);
    send_all(&mut outbox);
    assert_eq!(outbox.acknowledge(3), Some((3, 1)));
    assert!(!outbox.has_room());
    outbox.rewind();
    assert_eq!(send_all(&mut outbox), [(1, 1), (2, 2)]);
    outbox.acknowledge(1).unwrap();
    outbox.acknowledge(2).unwrap();
    assert!(outbox.is_empty());
}

#[test]
fn after_a_reconnect_only_what_was_sent_again_can_be_acknowledged() {
    let mut outbox = filled(3);
    send_all(&mut outbox);
    outbox.rewind();
    assert!(!outbox.waits());
    assert_eq!(outbox.acknowledge(1), None);
    assert_eq!(outbox.send_next().map(|(id, _)| id), Some(1));
    assert_eq!(outbox.acknowledge(2), None);
    assert_eq!(outbox.acknowledge(0), None);
    assert_eq!(outbox.acknowledge(1), Some((1, 1)));
}

#[test]
fn packet_ids_go_round_without_zero() {
    let mut outbox = Outbox::new(2);
    for seq in 1..=70_000_i64 {
        outbox.push(1, Bytes::new());
        let (id, message) = outbox.send_next().unwrap();
        assert_eq!((message.seq, i64::from(id)), (seq, (seq - 1) % 65_535 + 1));
        assert_eq!(outbox.acknowledge(id), Some((seq, 1)));
    }
}

/// Random steps beside a model that is a set of numbers.
#[test]
fn nothing_is_lost_or_acknowledged_twice_whatever_happens() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for capacity in [1, 2, 7, 64] {
        let mut outbox = Outbox::new(capacity);
        let mut waiting: BTreeSet<i64> = BTreeSet::new();
        let mut sent: BTreeMap<u16, i64> = BTreeMap::new();
        for _ in 0..20_000 {
            match random.random_range(0..10) {
                0..=3 if outbox.has_room() => {
                    waiting.insert(outbox.next_seq());
                    outbox.push(1, Bytes::new());
                }
                4..=6 => {
                    let expected = waiting.iter().find(|seq| !sent.values().any(|sent| sent == *seq)).copied();
                    let next = outbox.send_next().map(|(id, message)| (id, message.seq));
                    assert_eq!(next.map(|(_, seq)| seq), expected);
                    sent.extend(next);
                }
                7..=8 => {
                    let any = random.random_range(0..=u16::try_from(outbox.next_seq() % 65_535).unwrap());
                    let some = random.random_range(0..=sent.len());
                    let id = sent.keys().nth(some).copied().unwrap_or(any);
                    let expected = sent.remove(&id);
                    assert_eq!(outbox.acknowledge(id).map(|(seq, _)| seq), expected);
                    expected.map(|seq| waiting.remove(&seq));
                }
                9 if random.random_ratio(1, 20) => {
                    outbox.rewind();
                    sent.clear();
                }
                _ => (),
            }
            assert_eq!(outbox.waits(), !sent.is_empty());
            assert_eq!(outbox.is_empty(), waiting.is_empty());
        }
        assert!(outbox.next_seq() > 100);
        let left: Vec<i64> = outbox.into_unacknowledged().map(|message| message.seq).collect();
        assert_eq!(left, waiting.into_iter().collect::<Vec<_>>());
    }
}
