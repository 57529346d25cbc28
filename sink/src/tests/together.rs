//! Sinks that really run at once, and readers meanwhile.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::support::{Fixture, HOUR, START, logged, partition_rows, passed, row, seqs};
use crate::{SinkError, Table};

const COMMITS: u64 = 25;
const ROWS_A_COMMIT: i64 = 2;

/// Commits records of two rows in two hours to `partitions`, one record each at a time.
fn write(fixture: &Fixture, partitions: &[u32]) {
    let mut committer = fixture.committer(partitions);
    for offset in 0..COMMITS {
        let records = partitions.iter().map(|partition| {
            let seq = (i64::from(*partition) * 1000 + i64::try_from(offset).unwrap()) * ROWS_A_COMMIT;
            let rows = vec![row("a", START, seq), row("b", START + HOUR, seq + 1)];
            (*partition, partition_rows(&[(offset, rows)]))
        });
        let ends: Vec<(u32, u64)> = partitions.iter().map(|partition| (*partition, offset + 1)).collect();
        committer.commit(records.collect(), &passed(&ends)).unwrap();
    }
}

/// Opens the table again and again: whatever it shows belongs together.
fn watch(fixture: &Fixture, writing: &AtomicUsize) -> usize {
    let (mut seen, mut version) = (0, 0);
    loop {
        let last = writing.load(Ordering::SeqCst) == 0;
        match Table::open_read(&fixture.table_dir()) {
            Ok(table) => {
                assert!(table.version() >= version, "{} after {version}", table.version());
                version = table.version();
                let positions = (0..4).filter_map(|partition| table.position("readings", partition)).sum::<u64>();
                let rows = table.files().iter().map(|file| file.rows.unwrap()).sum::<u64>();
                assert_eq!(rows, positions * ROWS_A_COMMIT.unsigned_abs());
                assert!(table.files().iter().all(|file| file.path.metadata().unwrap().len() == file.size));
                seen += 1;
            }
            // Not created yet.
            Err(error) => assert!(version == 0 && matches!(error, SinkError::Damaged { .. }), "{error}"),
        }
        if last {
            return seen;
        }
    }
}

#[test]
fn three_sinks_and_a_reader_at_once() {
    let mut fixture = Fixture::shared();
    fixture.config.checkpoint_commits = 5;
    let fixture = &fixture;
    let writing = AtomicUsize::new(3);
    thread::scope(|scope| {
        let writers = [vec![0], vec![1], vec![2, 3]].map(|partitions| {
            let writing = &writing;
            scope.spawn(move || {
                // Also if it panics: the reader must end.
                let _ended = Ended(writing);
                write(fixture, &partitions);
            })
        });
        let reader = scope.spawn(|| watch(fixture, &writing));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert!(reader.join().unwrap() > 0);
    });
    let table = fixture.table();
    // The first, three fences, and one a record.
    assert_eq!(table.version(), 3 + 3 * COMMITS);
    assert_eq!(fixture.glob(), logged(&table));
    let expected = (0..4).flat_map(|partition| (0..50).map(move |row| partition * 2000 + row));
    assert_eq!(seqs(&fixture.glob()), expected.collect::<Vec<i64>>());
    drop(fixture.open_of(&[0, 1, 2, 3]));
    assert_eq!(fixture.glob(), logged(&table), "nothing was left over");
}

struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_new_table_is_created_by_one_of_many_at_once() {
    for _ in 0..10 {
        let fixture = &Fixture::shared();
        let barrier = &Barrier::new(4);
        let opened = thread::scope(|scope| {
            let openers = [0, 1, 2, 3].map(|partition| {
                scope.spawn(move || {
                    barrier.wait();
                    let mut committer = fixture.committer(&[partition]);
                    let rows = vec![row("a", START, i64::from(partition))];
                    let rows = BTreeMap::from([(partition, partition_rows(&[(0, rows)]))]);
                    committer.commit(rows, &passed(&[(partition, 1)])).unwrap();
                    committer
                })
            });
            openers.map(|opener| opener.join().unwrap())
        });
        let table = fixture.table();
        assert_eq!(table.version(), 8, "one creation, four fences, four commits");
        assert_eq!((seqs(&fixture.glob()), fixture.glob()), (vec![0, 1, 2, 3], logged(&table)));
        let first = std::fs::read_to_string(fixture.table_dir().join("_delta_log/00000000000000000000.json")).unwrap();
        assert!(first.contains("protocol") && first.contains("metaData"));
        drop(opened);
    }
}

#[test]
fn owners_that_take_one_partition_from_each_other_at_once_commit_each_record_once() {
    let fixture = &Fixture::shared();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                // Each takes the partition whenever it lost it, until all records are in.
                loop {
                    let mut committer = fixture.committer(&[0]);
                    loop {
                        let next = committer.positions.get(&0).copied().unwrap_or(0);
                        if next == COMMITS {
                            return;
                        }
                        let rows = vec![row("a", START, i64::try_from(next).unwrap())];
                        let rows = BTreeMap::from([(0, partition_rows(&[(next, rows)]))]);
                        match committer.commit(rows, &passed(&[(0, next + 1)])) {
                            Ok(_) => {}
                            Err(SinkError::Fenced { .. }) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    drop(fixture.open_of(&[0]));
    assert_eq!(seqs(&fixture.glob()), (0..25).collect::<Vec<i64>>());
    assert_eq!(fixture.glob(), logged(&fixture.table()));
}
