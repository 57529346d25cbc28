use super::*;

fn run(device: &str) -> Run {
    Run { device: device.to_owned(), boot: 1 }
}

fn ledger(messages: &[(i64, u64, bool)]) -> Ledger {
    let messages = messages
        .iter()
        .map(|(seq, readings, acknowledged)| (*seq, Message { readings: *readings, acknowledged: *acknowledged }));
    BTreeMap::from([(run("d"), messages.collect())])
}

fn table(stored: &[(i64, u64)]) -> TableCounts {
    TableCounts {
        rows: stored.iter().map(|(_, rows)| rows).sum(),
        runs: BTreeMap::from([(run("d"), stored.iter().copied().collect())]),
    }
}

#[test]
fn a_kept_promise() {
    let verdict = compare(&ledger(&[(0, 5, true), (1, 5, false), (2, 5, false)]), &table(&[(0, 5), (1, 5)]));
    assert!(verdict.kept());
    assert_eq!((verdict.acknowledged, verdict.stored, verdict.unacknowledged_stored), (5, 10, 5));
}

#[test]
fn losses_and_copies_are_named_by_range() {
    let sent: Vec<_> = (0..10).map(|seq| (seq, 2, true)).collect();
    let stored = [(0, 2), (3, 2), (4, 4), (5, 4), (6, 2), (7, 1), (8, 2), (9, 2)];
    let verdict = compare(&ledger(&sent), &table(&stored));
    assert!(!verdict.kept());
    assert_eq!((verdict.lost, verdict.duplicated), (5, 4));
    let lost: Vec<_> = verdict.lost_ranges.iter().map(|range| (range.first, range.last, range.readings)).collect();
    assert_eq!(lost, [(1, 2, 4), (7, 7, 1)]);
    assert_eq!(verdict.duplicated_ranges[0].to_string(), "device d boot 1 seq 4..=5: 4 readings");
}

#[test]
fn a_message_stored_in_part_is_a_loss_even_unacknowledged() {
    assert_eq!(compare(&ledger(&[(0, 5, false)]), &table(&[(0, 3)])).lost, 2);
}

#[test]
fn rows_of_no_ledger_line_are_counted_apart() {
    let verdict = compare(&ledger(&[(0, 1, true)]), &table(&[(0, 1), (1, 3)]));
    assert!(verdict.kept());
    assert_eq!(verdict.unlisted, 3);
}
