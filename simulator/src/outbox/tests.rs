use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Without mischief, at boot 1.
fn outbox(capacity: usize) -> Outbox {
    Outbox::new(capacity, 1, Mischief::new(0.0, ChaCha8Rng::seed_from_u64(1)))
}

fn filled(capacity: usize) -> Outbox {
    let mut outbox = outbox(capacity);
    while outbox.has_room(1) {
        outbox.push(1, 1, Bytes::from_static(b"x"));
    }
    outbox
}

fn acknowledged(seq: i64) -> Acknowledged {
    Acknowledged::Message { boot: 1, seq, readings: 1 }
}

fn send_all(outbox: &mut Outbox) -> Vec<(u16, i64)> {
    std::iter::from_fn(|| outbox.send_next().map(|(id, message)| (id, message.seq))).collect()
}

#[test]
fn messages_are_sent_in_order_and_leave_when_acknowledged() {
    let mut outbox = filled(3);
    assert_eq!(send_all(&mut outbox), [(1, 1), (2, 2), (3, 3)]);
    assert!(!outbox.has_room(1) && outbox.waits());
    assert_eq!(outbox.acknowledge(1), acknowledged(1));
    assert_eq!(outbox.acknowledge(1), Acknowledged::Nothing);
    assert!(outbox.has_room(1));
    assert_eq!(outbox.acknowledge(2), acknowledged(2));
    assert_eq!(outbox.acknowledge(3), acknowledged(3));
    assert!(outbox.is_empty() && !outbox.waits());
}

#[test]
fn an_early_acknowledgement_clears_its_message_but_makes_no_room() {
    let mut outbox = filled(3);
    send_all(&mut outbox);
    assert_eq!(outbox.acknowledge(3), acknowledged(3));
    assert!(!outbox.has_room(1));
    outbox.rewind();
    assert_eq!(send_all(&mut outbox), [(1, 1), (2, 2)]);
    assert_eq!((outbox.acknowledge(1), outbox.acknowledge(2)), (acknowledged(1), acknowledged(2)));
    assert!(outbox.is_empty());
}

#[test]
fn after_a_reconnect_only_what_was_sent_again_can_be_acknowledged() {
    let mut outbox = filled(3);
    send_all(&mut outbox);
    outbox.rewind();
    assert!(!outbox.waits());
    assert_eq!(outbox.acknowledge(1), Acknowledged::Nothing);
    assert_eq!(outbox.send_next().map(|(id, _)| id), Some(1));
    assert_eq!(outbox.acknowledge(2), Acknowledged::Nothing);
    assert_eq!(outbox.acknowledge(0), Acknowledged::Nothing);
    assert_eq!(outbox.acknowledge(1), acknowledged(1));
}

#[test]
fn packet_ids_go_round_without_zero() {
    let mut outbox = outbox(2);
    for seq in 1..=70_000_i64 {
        outbox.push(1, 1, Bytes::new());
        let (id, message) = outbox.send_next().unwrap();
        assert_eq!((message.seq, i64::from(id)), (seq, (seq - 1) % 65_535 + 1));
        assert_eq!(outbox.acknowledge(id), acknowledged(seq));
    }
}

/// Random steps beside a model that is a set of numbers.
#[test]
fn nothing_is_lost_or_acknowledged_twice_whatever_happens() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for capacity in [1, 2, 7, 64] {
        let mut outbox = outbox(capacity);
        let mut waiting: BTreeSet<i64> = BTreeSet::new();
        let mut sent: BTreeMap<u16, i64> = BTreeMap::new();
        for _ in 0..20_000 {
            match random.random_range(0..10) {
                0..=3 if outbox.has_room(1) => {
                    waiting.insert(outbox.next_seq(1));
                    outbox.push(1, 1, Bytes::new());
                }
                4..=6 => {
                    let expected = waiting.iter().find(|seq| !sent.values().any(|sent| sent == *seq)).copied();
                    let next = outbox.send_next().map(|(id, message)| (id, message.seq));
                    assert_eq!(next.map(|(_, seq)| seq), expected);
                    sent.extend(next);
                }
                7..=8 => {
                    let any = random.random_range(0..=u16::try_from(outbox.next_seq(1) % 65_535).unwrap());
                    let some = random.random_range(0..=sent.len());
                    let id = sent.keys().nth(some).copied().unwrap_or(any);
                    let expected = sent.remove(&id);
                    assert_eq!(outbox.acknowledge(id), expected.map_or(Acknowledged::Nothing, acknowledged));
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
        assert!(outbox.next_seq(1) > 100);
        let left: Vec<i64> = outbox.into_unacknowledged().map(|message| message.seq).collect();
        assert_eq!(left, waiting.into_iter().collect::<Vec<_>>());
    }
}

/// Mischief, restarts and lost connections beside a model that is a set of identities.
#[test]
fn every_message_is_accounted_for_once_whatever_mischief_and_restarts_do() {
    let mut random = ChaCha8Rng::seed_from_u64(12);
    for capacity in [1, 2, 7, 64] {
        let mischief = Mischief::new(0.5, ChaCha8Rng::seed_from_u64(capacity as u64));
        let mut outbox = Outbox::new(capacity, 1, mischief);
        let mut waiting: BTreeSet<(i64, i64)> = BTreeSet::new();
        let mut sent: BTreeMap<u16, (i64, i64)> = BTreeMap::new();
        let (mut boot, mut again) = (1, 0);
        for _ in 0..20_000 {
            match random.random_range(0..10) {
                0..=3 if outbox.has_room(boot) => {
                    assert!(waiting.insert((boot, outbox.next_seq(boot))));
                    outbox.push(boot, 1, Bytes::new());
                }
                4..=6 => {
                    if let Some((id, message)) = outbox.send_next() {
                        assert_eq!(sent.insert(id, (message.boot, message.seq)), None);
                    }
                }
                7..=8 => {
                    let Some((id, identity)) = sent.pop_first() else { continue };
                    match outbox.acknowledge(id) {
                        Acknowledged::Message { boot, seq, .. } => {
                            assert_eq!((boot, seq), identity);
                            assert!(waiting.remove(&identity));
                        }
                        Acknowledged::Again => {
                            assert!(!waiting.contains(&identity));
                            again += 1;
                        }
                        Acknowledged::Nothing => panic!("{id} was sent on this connection"),
                    }
                }
                9 if random.random_ratio(1, 20) => {
                    outbox.rewind();
                    sent.clear();
                }
                9 if outbox.next_seq(boot) > 30 => boot += 1,
                _ => (),
            }
            assert!(outbox.slots.len() + outbox.mischief.held() <= capacity + 1);
            let boots: BTreeSet<i64> = outbox.slots.iter().map(|slot| slot.message.boot).collect();
            assert!(boots.len() <= 2, "{boots:?} wait together");
        }
        assert!(boot > 3 && again > 100, "boot {boot}, {again} acknowledged twice");
        let left: Vec<(i64, i64)> = outbox.into_unacknowledged().map(|message| (message.boot, message.seq)).collect();
        assert_eq!(left.len(), waiting.len());
        assert_eq!(left.into_iter().collect::<BTreeSet<_>>(), waiting);
    }
}

#[test]
fn a_new_boot_begins_with_one_and_waits_for_the_boot_before_the_latest() {
    let mut outbox = outbox(8);
    assert!(!outbox.push(1, 1, Bytes::new()));
    assert_eq!((outbox.next_seq(1), outbox.next_seq(2)), (2, 1));
    assert!(outbox.has_room(2));
    assert!(outbox.push(2, 1, Bytes::new()));
    assert!(outbox.has_room(2) && !outbox.has_room(3));
    assert_eq!(send_all(&mut outbox), [(1, 1), (2, 1)]);
    assert_eq!(outbox.acknowledge(1), acknowledged(1));
    assert!(outbox.has_room(3));
    assert_eq!(outbox.acknowledge(2), Acknowledged::Message { boot: 2, seq: 1, readings: 1 });
}

#[test]
fn a_full_window_of_packet_ids_is_told_apart() {
    let mut outbox = filled(MAX_CAPACITY);
    assert_eq!(outbox.slots.len(), 65_534);
    let ids: BTreeSet<u16> = send_all(&mut outbox).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 65_534);
    assert_eq!(outbox.acknowledge(65_534), acknowledged(65_534));
    assert_eq!(outbox.acknowledge(65_535), Acknowledged::Nothing);
}
