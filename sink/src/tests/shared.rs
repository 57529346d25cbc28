//! Several sinks with a table each of which owns some partitions.

use std::fs;

use streams::consume::{Effect, EffectError};

use super::support::{ALL, Fixture, START, apply, delivered, logged, passed, row, seqs};
use crate::{SinkError, delta};

fn shown(fixture: &Fixture, metric: &str) -> f64 {
    let families = fixture.registry.gather();
    let family = families.iter().find(|family| family.name() == metric).unwrap();
    family.get_metric()[0].get_counter().get_value()
}

pub(crate) fn sink_error(error: &EffectError) -> &SinkError {
    error.source.downcast_ref().unwrap()
}

#[tokio::test]
async fn sinks_commit_in_turn_and_each_knows_its_own_positions() {
    let fixture = Fixture::shared();
    let (mut one, mut two) = (fixture.open_of(&[0, 2]), fixture.open_of(&[1, 3]));
    for round in 0..5_u64 {
        let seq = i64::try_from(round).unwrap() * 10;
        apply(&mut one, 0, round, &[row("a", START, seq)]).await;
        apply(&mut one, 2, round, &[row("c", START, seq + 2)]).await;
        apply(&mut two, 1, round, &[row("b", START, seq + 1)]).await;
        two.flush(&passed(&[(1, round + 1), (3, 0)])).await.unwrap();
        one.flush(&passed(&[(0, round + 1), (2, round + 1)])).await.unwrap();
    }
    let table = fixture.table();
    assert_eq!(logged(&table), fixture.glob());
    assert_eq!(seqs(&fixture.glob()), (0..5).flat_map(|n| [n * 10, n * 10 + 1, n * 10 + 2]).collect::<Vec<_>>());
    assert_eq!([0, 1, 2, 3].map(|partition| table.position("readings", partition)), [Some(5), Some(5), Some(5), None]);
    // Version 0, two fences, ten commits.
    assert_eq!(table.version(), 12);
    // Each commit but the very first found the other's before it.
    assert_eq!(shown(&fixture, "weir_sink_commit_conflicts_total").round(), 9.0);
    drop((one, two));
    let one = fixture.open_of(&[0, 1]);
    assert_eq!([0, 1, 2].map(|partition| one.recovered(partition)), [Some(5), Some(5), None], "2 is somebody else's");
}

#[tokio::test]
async fn a_taken_partition_fences_its_former_owner_and_leaves_nothing_of_it() {
    let fixture = Fixture::shared();
    let mut old = fixture.open_of(&[0, 1]);
    apply(&mut old, 0, 0, &[row("a", START, 0)]).await;
    old.flush(&passed(&[(0, 1), (1, 0)])).await.unwrap();
    apply(&mut old, 0, 1, &[row("a", START, 1)]).await;
    apply(&mut old, 1, 0, &[row("b", START, 2)]).await;

    let mut new = fixture.open_of(&[1]);
    let error = old.flush(&passed(&[(0, 2), (1, 1)])).await.unwrap_err();
    assert!(matches!(sink_error(&error), SinkError::Fenced { partition: 1, .. }), "{error}");
    let again = old.flush(&passed(&[(0, 2), (1, 1)])).await.unwrap_err();
    assert!(matches!(sink_error(&again), SinkError::Stopped), "{again}");
    assert_eq!(fixture.glob(), logged(&fixture.table()));
    assert_eq!(seqs(&fixture.glob()), [0]);

    apply(&mut new, 1, 0, &[row("b", START, 2)]).await;
    new.flush(&passed(&[(1, 1)])).await.unwrap();
    let mut restarted = fixture.open_of(&[0]);
    assert_eq!(restarted.recovered(0), Some(1));
    apply(&mut restarted, 0, 1, &[row("a", START, 1)]).await;
    restarted.flush(&passed(&[(0, 2)])).await.unwrap();
    assert_eq!(seqs(&fixture.glob()), [0, 1, 2]);
    assert_eq!(fixture.glob(), logged(&fixture.table()));
}

#[tokio::test]
async fn a_position_without_rows_is_fenced_too() {
    let fixture = Fixture::shared();
    let mut old = fixture.open_of(&[0]);
    let new = fixture.open_of(&[0]);
    let error = old.flush(&passed(&[(0, 7)])).await.unwrap_err();
    assert!(matches!(sink_error(&error), SinkError::Fenced { partition: 0, .. }), "{error}");
    assert_eq!((fixture.table().position("readings", 0), new.recovered(0)), (None, None));
}

#[tokio::test]
async fn partitions_of_others_are_refused() {
    let fixture = Fixture::shared();
    let mut sink = fixture.open_of(&[2]);
    let error = sink.apply(delivered(1, 0, super::support::batch(&[row("a", START, 0)]))).await.unwrap_err();
    assert!(error.to_string().contains("was given partition 1, expected one of {2}"), "{error}");
    let error = sink.flush(&passed(&[(2, 1), (3, 1)])).await.unwrap_err();
    assert!(matches!(sink_error(&error), SinkError::Config(_)), "{error}");
    assert_eq!(fixture.table().version(), 1, "the fence, and nothing after it");
}

#[tokio::test]
async fn who_shares_a_table_and_who_does_not_keep_each_other_out() {
    let mut fixture = Fixture::shared();
    let mut shared = fixture.open_of(&[1]);
    apply(&mut shared, 1, 0, &[row("a", START, 0)]).await;
    shared.flush(&passed(&[(1, 1)])).await.unwrap();
    fixture.config.shared = false;
    assert!(matches!(fixture.try_open(), Err(SinkError::Locked { .. })));
    drop(shared);

    let mut alone = fixture.open();
    assert_eq!(ALL.map(|partition| alone.recovered(partition)), [None, Some(1), None, None]);
    let staging = fixture.config.root.join(".staging/readings");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0, "nobody stages there now");
    apply(&mut alone, 1, 1, &[row("a", START, 1)]).await;
    alone.flush(&passed(&[(1, 2)])).await.unwrap();
    fixture.config.shared = true;
    assert!(matches!(fixture.try_open(), Err(SinkError::Locked { .. })));
    drop(alone);

    let mut shared = fixture.open_of(&[1]);
    assert_eq!(shared.recovered(1), Some(2));
    apply(&mut shared, 1, 2, &[row("a", START, 2)]).await;
    shared.flush(&passed(&[(1, 3)])).await.unwrap();
    assert_eq!(seqs(&fixture.glob()), [0, 1, 2]);
    assert_eq!(fixture.glob(), logged(&fixture.table()));
}

#[tokio::test]
async fn a_compaction_between_commits_is_passed_and_other_columns_are_not() {
    let fixture = Fixture::shared();
    let mut sink = fixture.open_of(&[0]);
    let log = fixture.table_dir().join("_delta_log");
    let commit = |version: u64, line: &str| fs::write(delta::log::commit_path(&log, version), line).unwrap();
    commit(2, "{\"commitInfo\":{\"operation\":\"OPTIMIZE\"}}\n");
    apply(&mut sink, 0, 0, &[row("a", START, 0)]).await;
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    assert_eq!((fixture.table().version(), seqs(&fixture.glob())), (3, vec![0]));
    let metadata = "{\"metaData\":{\"id\":\"x\",\"format\":{\"provider\":\"parquet\"},\"schemaString\":\"{}\",\"partitionColumns\":[]}}\n";
    commit(4, metadata);
    apply(&mut sink, 0, 1, &[row("a", START, 1)]).await;
    let error = sink.flush(&passed(&[(0, 2)])).await.unwrap_err();
    assert!(matches!(sink_error(&error), SinkError::Incompatible { .. }), "{error}");
    assert!(error.to_string().contains("another program changed the columns"), "{error}");
    assert_eq!(fixture.table().version(), 4);
}

#[tokio::test]
async fn one_of_several_writes_each_checkpoint() {
    let mut fixture = Fixture::shared();
    fixture.config.checkpoint_commits = 4;
    let (mut one, mut two) = (fixture.open_of(&[0]), fixture.open_of(&[1]));
    for round in 0..9_u64 {
        for (partition, sink) in [(0, &mut one), (1, &mut two)] {
            apply(sink, partition, round, &[row("a", START, i64::try_from(round).unwrap())]).await;
            sink.flush(&passed(&[(partition, round + 1)])).await.unwrap();
        }
    }
    let whole = fixture.table();
    let log = fixture.table_dir().join("_delta_log");
    let found: Vec<u64> = (0..=whole.version()).filter(|at| delta::checkpoint::path(&log, *at).exists()).collect();
    assert_eq!((whole.version(), found), (20, vec![4, 8, 12, 16, 20]));
    let pointer: serde_json::Value = serde_json::from_slice(&fs::read(log.join("_last_checkpoint")).unwrap()).unwrap();
    assert_eq!(pointer["version"], 20);
    // Protocol, columns, two owners, two positions, eighteen files.
    assert_eq!(pointer["size"], 24);
    (0..=20).for_each(|version| fs::remove_file(delta::log::commit_path(&log, version)).unwrap());
    assert_eq!(fixture.table().files(), whole.files());
    drop((one, two));
    assert_eq!(fixture.open_of(&[0]).recovered(0), Some(9), "from the checkpoint alone");
}

#[tokio::test]
async fn a_checkpoint_that_its_writer_did_not_live_to_write_is_made_up_for() {
    let mut fixture = Fixture::shared();
    fixture.config.checkpoint_commits = 4;
    let (one, mut two) = (fixture.open_of(&[0]), fixture.open_of(&[1]));
    // Versions 4 and 8 are somebody's who writes no checkpoint.
    two.flush(&passed(&[(1, 1)])).await.unwrap();
    let log = fixture.table_dir().join("_delta_log");
    fs::write(delta::log::commit_path(&log, 4), "{\"commitInfo\":{}}\n").unwrap();
    for next in 2..5 {
        two.flush(&passed(&[(1, next)])).await.unwrap();
    }
    fs::write(delta::log::commit_path(&log, 8), "{\"commitInfo\":{}}\n").unwrap();
    two.flush(&passed(&[(1, 5)])).await.unwrap();
    let found: Vec<u64> = (0..=9).filter(|at| delta::checkpoint::path(&log, *at).exists()).collect();
    assert_eq!((fixture.table().version(), found), (9, vec![9]));
    drop(one);
}
