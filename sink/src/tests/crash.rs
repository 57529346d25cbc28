//! A process killed after each step of a commit leaves files; a restart and the stream make it right.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use streams::consume::{Effect, Passed};
use telemetry::Clock;

use super::support::{ALL, Fixture, HOUR, Row, START, apply, batch, logged, partition_rows, passed, row, seqs};
use crate::commit::Committer;
use crate::{TableSpec, delta, recovery};

/// Where the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    Staged,
    PlacedHalf,
    Placed,
    CommitStaged,
    Recorded,
}

pub(crate) const DEATHS: [Death; 5] =
    [Death::Staged, Death::PlacedHalf, Death::Placed, Death::CommitStaged, Death::Recorded];

pub(crate) type Applied = BTreeMap<u32, Vec<(u64, Vec<Row>)>>;

/// Commits `applied`, which all of `passed` covers, and dies as `death` says: what is on disk stays.
pub(crate) fn die_committing(fixture: &Fixture, applied: &Applied, passed: &[Passed], death: Death) {
    let clock: Arc<dyn Clock> = fixture.clock.clone();
    let mut committer: Committer =
        recovery::open(&fixture.config, TableSpec::readings(), &ALL, clock).unwrap().committer;
    let rows = applied.iter().map(|(partition, records)| (*partition, partition_rows(records)));
    let files = committer.stage(rows.collect()).unwrap();
    match death {
        Death::Staged => {}
        Death::PlacedHalf => committer.place(&files[..files.len() / 2]).unwrap(),
        Death::Placed | Death::CommitStaged => committer.place(&files).unwrap(),
        Death::Recorded => {
            committer.place(&files).unwrap();
            committer.record(&files, passed).unwrap();
        }
    }
    if death == Death::CommitStaged {
        fs::write(committer.paths.staging.join("commit.staged"), "{\"add\":{\"pa").unwrap();
    }
}

#[tokio::test]
async fn each_row_is_there_once_wherever_the_process_died() {
    for death in DEATHS {
        let fixture = Fixture::new();
        let mut sink = fixture.open();
        apply(&mut sink, 0, 0, &[row("a", START, 0)]).await;
        sink.flush(&passed(&[(0, 1)])).await.unwrap();
        drop(sink);

        let late = vec![row("a", START + 1, 1), row("a", START + HOUR, 2)];
        let other = vec![row("b", START, 3)];
        let applied: Applied = [(0, vec![(1, late.clone())]), (1, vec![(0, other.clone())])].into();
        die_committing(&fixture, &applied, &passed(&[(0, 2), (1, 1)]), death);

        let mut sink = fixture.open();
        assert_eq!(fixture.glob(), logged(&fixture.table()), "{death:?}: a glob and the log see the same");
        let (zero, one) = (sink.recovered(0).unwrap(), sink.recovered(1).unwrap_or(0));
        assert_eq!((zero, one), if death == Death::Recorded { (2, 1) } else { (1, 0) }, "{death:?}");
        // The stream is read from where the table stands.
        if zero <= 1 {
            apply(&mut sink, 0, 1, &late).await;
        }
        if one == 0 {
            apply(&mut sink, 1, 0, &other).await;
        }
        sink.flush(&passed(&[(0, 2), (1, 1)])).await.unwrap();
        assert_eq!(seqs(&fixture.glob()), [0, 1, 2, 3], "{death:?}");
        assert_eq!(fixture.glob(), logged(&fixture.table()), "{death:?}");
        assert_eq!(fs::read_dir(fixture.config.staging.join("readings")).unwrap().count(), 0, "{death:?}");
    }
}

#[tokio::test]
async fn a_file_in_the_way_stops_the_commit_and_is_not_overwritten() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    let hour = fixture.table_dir().join("date=2026-07-28/hour=09");
    fs::create_dir_all(&hour).unwrap();
    let path = hour.join("part-00000-00000000000000000000-00000000000000000000.parquet");
    fs::write(&path, "theirs").unwrap();
    apply(&mut sink, 0, 0, &[row("a", START, 0)]).await;
    let error = sink.flush(&passed(&[(0, 1)])).await.unwrap_err().to_string();
    assert!(error.contains("a file of this name is in the way"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert_eq!(fixture.table().version(), 0);
    assert_eq!(fs::read_dir(fixture.config.staging.join("readings")).unwrap().count(), 0, "space is given back");
}

#[tokio::test]
async fn a_failed_write_leaves_the_table_as_it_was() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    // The second file of the commit cannot be created: what a full disk does, without filling one.
    fs::write(fixture.config.staging.join("readings/1.staged"), "").unwrap();
    apply(&mut sink, 0, 0, &[row("a", START, 0), row("a", START + HOUR, 1)]).await;
    let error = sink.flush(&passed(&[(0, 1)])).await.unwrap_err().to_string();
    assert!(error.contains("1.staged"), "{error}");
    assert!(!fixture.config.staging.join("readings/0.staged").exists(), "space is given back");
    assert!(sink.apply(super::support::delivered(0, 1, batch(&[row("a", START, 2)]))).await.is_err());
    drop(sink);
    let mut sink = fixture.open();
    assert_eq!((fixture.table().version(), fixture.glob().len(), sink.recovered(0)), (0, 0, None));
    apply(&mut sink, 0, 0, &[row("a", START, 0), row("a", START + HOUR, 1)]).await;
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    assert_eq!(seqs(&fixture.glob()), [0, 1]);
}

#[tokio::test]
async fn checkpoints_stand_for_the_commits_before_them() {
    let mut fixture = Fixture::new();
    fixture.config.checkpoint_commits = 3;
    let mut sink = fixture.open();
    for offset in 0..7 {
        apply(&mut sink, 1, offset, &[row("a", START, i64::try_from(offset).unwrap())]).await;
        sink.flush(&passed(&[(1, offset + 1)])).await.unwrap();
    }
    drop(sink);
    let whole = fixture.table();
    let log = fixture.table_dir().join("_delta_log");
    let pointer: serde_json::Value = serde_json::from_slice(&fs::read(log.join("_last_checkpoint")).unwrap()).unwrap();
    assert_eq!((&pointer["version"], &pointer["size"]), (&6.into(), &9.into()));
    (0..=6).for_each(|version| fs::remove_file(delta::log::commit_path(&log, version)).unwrap());
    let mut sink = fixture.open();
    let table = fixture.table();
    assert_eq!((table.version(), table.files()), (7, whole.files()));
    assert_eq!(sink.recovered(1), Some(7));
    for offset in 7..10 {
        apply(&mut sink, 1, offset, &[row("a", START, i64::try_from(offset).unwrap())]).await;
        sink.flush(&passed(&[(1, offset + 1)])).await.unwrap();
    }
    assert!(delta::checkpoint::path(&log, 9).exists(), "a checkpoint is made of a checkpoint");
    assert_eq!(seqs(&logged(&fixture.table())), (0..10).collect::<Vec<_>>());
}
