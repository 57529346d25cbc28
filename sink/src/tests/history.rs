use super::support::{Fixture, HOUR, START, apply, passed, row};
use crate::table::Origin;
use std::time::Duration;
use streams::consume::Effect;

#[tokio::test]
async fn each_file_is_traced_to_its_records_and_to_the_commit_that_added_it() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    let mut expected = Vec::new();
    let mut next = [0; 4];
    // Partition 1 has rows in every fifth commit only, partition 2 moves on without a row, partition 3 does nothing.
    for commit in 1..=23_i64 {
        fixture.clock.advance(Duration::from_secs(60));
        let version = u64::try_from(commit).unwrap();
        let millis = Some(START / 1000 + commit * 60_000);
        let rows = [row("a", START, commit), row("b", START + HOUR, commit)];
        apply(&mut sink, 0, next[0] + 2, &rows).await;
        // A record of old messages, one with rows in two hours.
        expected.extend([(0, next[0] + 2, version, millis); 2]);
        next[0] += 3;
        if commit % 5 == 0 {
            apply(&mut sink, 1, next[1], &[row("c", START, commit)]).await;
            apply(&mut sink, 1, next[1] + 1, &[row("d", START, commit)]).await;
            expected.push((1, next[1], version, millis));
            next[1] += 2;
        }
        next[2] += 1;
        sink.flush(&passed(&[(0, next[0]), (1, next[1]), (2, next[2]), (3, 0)])).await.unwrap();
    }
    let (dir, table) = (fixture.table_dir(), fixture.table());
    let mut found = Vec::new();
    for file in table.files() {
        let Origin { partition, first, last } = file.origin().unwrap();
        assert_eq!(last, if partition == 1 { first + 1 } else { first });
        let commit = table.commit_of(&dir, file).unwrap().unwrap();
        found.push((partition, first, commit.version, commit.millis));
    }
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_commit_that_somebody_deleted_and_a_file_of_another_program_are_not_known() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    for offset in 0..3 {
        apply(&mut sink, 0, offset, &[row("a", START, 1)]).await;
        sink.flush(&passed(&[(0, offset + 1)])).await.unwrap();
    }
    let (dir, table) = (fixture.table_dir(), fixture.table());
    std::fs::remove_file(dir.join("_delta_log/00000000000000000001.json")).unwrap();
    let of = |offset: usize| table.commit_of(&dir, &table.files()[offset]).unwrap().map(|commit| commit.version);
    assert_eq!([of(0), of(1), of(2)], [None, Some(2), Some(3)]);
    let mut foreign = table.files()[1].clone();
    foreign.path = dir.join("date=2026-07-28/hour=09/compacted.parquet");
    assert_eq!((foreign.origin(), table.commit_of(&dir, &foreign).unwrap()), (None, None));
}
