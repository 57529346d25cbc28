use proptest::prelude::*;

use super::*;

const NEW: Seen = Seen::New { missing: 0 };

#[test]
fn a_second_one_is_a_copy() {
    let mut copies = Copies::default();
    assert_eq!([copies.see(1, 0, 10), copies.see(1, 1, 11)], [NEW, NEW]);
    assert_eq!([copies.see(1, 0, 12), copies.see(1, 1, 13)], [Seen::Copy, Seen::Copy]);
    assert_eq!([copies.see(2, 0, 14), copies.see(1, 2, 15)], [NEW, NEW], "writers do not disturb each other");
}

#[test]
fn what_is_missing_is_counted() {
    let mut copies = Copies::default();
    assert_eq!(copies.see(1, 40, 10), NEW, "where a reader begins nothing is missing");
    assert_eq!(copies.see(1, 44, 11), Seen::New { missing: 3 });
}

#[test]
fn the_writer_silent_for_longest_is_forgotten() {
    let mut copies = Copies::default();
    let writers = u64::try_from(WRITERS).unwrap();
    for writer in 0..writers {
        copies.see(writer, 0, writer);
    }
    copies.see(0, 1, writers);
    copies.see(writers, 0, writers + 1);
    assert_eq!(copies.writers.len(), WRITERS);
    assert_eq!(copies.see(0, 1, writers + 2), Seen::Copy);
    assert_eq!(copies.see(1, 0, writers + 3), NEW, "forgotten");
}

proptest! {
    /// Flights of several writers land in turn; any of them lands again, whole, at any later time.
    #[test]
    fn each_record_is_seen_once_and_in_order(
        flights in proptest::collection::vec((0_u64..3, 1_u64..5), 1..30),
        again in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..10),
    ) {
        let mut next = [0; 3];
        let mut log: Vec<Vec<(u64, u64)>> = Vec::new();
        for (writer, count) in flights {
            let first = next[usize::try_from(writer).unwrap()];
            next[usize::try_from(writer).unwrap()] += count;
            log.push((first..first + count).map(|sequence| (writer, sequence)).collect());
        }
        for (which, later) in again {
            let which = which.index(log.len());
            let flight = log[which].clone();
            let at = which + 1 + later.index(log.len() - which);
            log.insert(at, flight);
        }
        let mut copies = Copies::default();
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); 3];
        for ((writer, sequence), offset) in log.into_iter().flatten().zip(0..) {
            match copies.see(writer, sequence, offset) {
                Seen::New { missing } => {
                    prop_assert_eq!(missing, 0);
                    seen[usize::try_from(writer).unwrap()].push(sequence);
                }
                Seen::Copy => {}
            }
        }
        for (seen, next) in seen.into_iter().zip(next) {
            prop_assert!(seen.into_iter().eq(0..next));
        }
    }
}
