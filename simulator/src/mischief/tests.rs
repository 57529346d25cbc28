use std::collections::BTreeMap;

use bytes::Bytes;
use rand::SeedableRng;

use super::*;

fn mischief(share: f64, seed: u64) -> Mischief {
    Mischief::new(share, ChaCha8Rng::seed_from_u64(seed))
}

/// In which order `count` messages are sent, and the most that were held back at once.
fn sent(share: f64, seed: u64, count: i64, most: usize) -> (Vec<i64>, usize) {
    let mut mischief = mischief(share, seed);
    let (mut sent, mut held) = (Vec::new(), 0);
    for seq in 1..=count {
        mischief.pass(Message::new(1, seq, 1, Bytes::new()), most, |message| sent.push(message.seq));
        held = held.max(mischief.held());
    }
    sent.extend(mischief.release().map(|message| message.seq));
    assert_eq!(mischief.held(), 0);
    (sent, held)
}

#[test]
fn without_mischief_messages_go_as_they_come() {
    assert_eq!(sent(0.0, 1, 1000, 100), ((1..=1000).collect(), 0));
}

#[test]
fn every_message_is_sent_once_or_twice_and_never_held_beyond_the_bounds() {
    for (share, most) in [(0.05, 32), (0.5, 3), (1.0, 32), (1.0, 1), (1.0, 0)] {
        let (sent, held) = sent(share, 3, 5000, most);
        assert!(held <= most, "{held} held, at most {most}");
        let mut times: BTreeMap<i64, u32> = BTreeMap::new();
        for seq in &sent {
            *times.entry(*seq).or_default() += 1;
        }
        assert_eq!(times.len(), 5000);
        assert!(times.values().all(|times| (1..=2).contains(times)));
        let twice = times.values().filter(|times| **times == 2).count();
        assert!(twice > 50, "{twice} of 5000 sent twice at a share of {share}");
        let disorder = sent.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert_eq!(disorder > 50, most > 0, "{disorder} times out of order with at most {most} held");
    }
}

#[test]
fn the_share_is_the_share_of_messages_sent_badly() {
    let (sent, _) = sent(0.1, 9, 40_000, 32);
    let twice = sent.len() - 40_000;
    // A tenth is sent badly, half of that twice.
    assert!((1_800..2_200).contains(&twice), "{twice} copies");
}

#[test]
fn the_same_seed_gives_the_same_order() {
    assert_eq!(sent(0.3, 5, 2000, 16), sent(0.3, 5, 2000, 16));
    assert_ne!(sent(0.3, 5, 2000, 16), sent(0.3, 6, 2000, 16));
}

#[test]
fn what_is_held_goes_after_as_many_later_messages_as_were_drawn() {
    let mut mischief = mischief(0.0, 1);
    let pass = |mischief: &mut Mischief, seq| {
        let mut out = Vec::new();
        mischief.pass(Message::new(1, seq, 1, Bytes::new()), 32, |message| out.push(message.seq));
        out
    };
    mischief.hold(Message::new(1, 1, 1, Bytes::new()), 3);
    mischief.hold(Message::new(1, 2, 1, Bytes::new()), 1);
    assert_eq!(pass(&mut mischief, 3), [3, 2]);
    assert_eq!(pass(&mut mischief, 4), [4]);
    assert_eq!(pass(&mut mischief, 5), [5, 1]);
}
