//! What is deleted, and what never is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    FastDisk, append, clock, contents, open, open_on, partitions, readings, record, segment_files, settle, small, until,
};
use crate::contract::{AppendError, Error, GroupName, Partition, Position, StreamName, Streams};
use crate::log::EmbeddedLog;

async fn pass(log: &EmbeddedLog, group: &str, of: &Partition, offset: u64) {
    let position = Position { offset, state: Bytes::new() };
    log.commit(&GroupName::from(group), vec![(of.clone(), position)]).await.unwrap();
}

/// Appends until refused for the quota; gives how many were accepted.
async fn fill(log: &EmbeddedLog, to: &Partition) -> u64 {
    for n in 0.. {
        match append(log, vec![record(to, vec![1; 200])]).await {
            Ok(_) => assert!(n < 10_000, "the quota never bites"),
            Err(error) => {
                assert!(matches!(error, AppendError::Full { used, quota } if used >= quota), "{error:?}");
                return n;
            }
        }
    }
    unreachable!()
}

#[tokio::test]
async fn the_quota_refuses_until_consumers_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    config.quota_bytes = 10_000;
    let log = open(config.clone());
    pass(&log, "rules", &readings(0), 0).await;
    let accepted = fill(&log, &readings(0)).await;
    assert!(accepted > 20);
    assert!(log.status().full);
    assert_eq!(contents(&log, &readings(0)).await.0.len() as u64, accepted, "nothing was deleted");
    drop(log);

    let log = open(config.clone());
    assert!(log.status().full, "a restart does not forget it");
    assert!(matches!(append(&log, vec![record(&readings(0), "x")]).await, Err(AppendError::Full { .. })));
    pass(&log, "rules", &readings(0), accepted / 2).await;
    until("there is room", async || !log.status().full).await;
    assert_eq!(append(&log, vec![record(&readings(0), "x")]).await.unwrap(), [accepted]);
    let bounds = log.bounds(&readings(0)).unwrap();
    assert!(bounds.start > 0 && bounds.start <= accepted / 2, "{bounds:?}");
    let refused = log.read(&readings(0), bounds.start - 1, 100).await;
    assert!(matches!(refused, Err(Error::OutOfRange { .. })));
    drop(log);
    assert_eq!(open(config).bounds(&readings(0)).unwrap().start, bounds.start, "a restart agrees");
}

#[tokio::test]
async fn what_consumers_append_goes_on_at_the_quota_or_they_could_never_pass_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    config.quota_bytes = 10_000;
    let log = open(config);
    let alerts = Partition::new(StreamName::alerts(), 0);
    pass(&log, "rules", &readings(0), 0).await;
    let accepted = fill(&log, &readings(0)).await;
    assert_eq!(append(&log, vec![record(&alerts, "fired")]).await.unwrap(), [0]);
    let mixed = append(&log, vec![record(&alerts, "fired"), record(&readings(0), "x")]).await;
    assert!(matches!(mixed, Err(AppendError::Full { .. })), "{mixed:?}");
    pass(&log, "rules", &readings(0), accepted).await;
    until("there is room", async || !log.status().full).await;
}

#[tokio::test]
async fn a_quota_held_by_the_active_segment_alone_is_freed_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    (config.segment_bytes, config.quota_bytes) = (1_000_000, 5_000);
    let log = open(config.clone());
    pass(&log, "rules", &readings(0), 0).await;
    let accepted = fill(&log, &readings(0)).await;
    pass(&log, "rules", &readings(0), accepted).await;
    until("there is room", async || !log.status().full).await;
    assert_eq!(log.bounds(&readings(0)).unwrap(), accepted..accepted, "empty, and its next offset is kept");
    drop(log);
    let log = open(config);
    assert_eq!(log.bounds(&readings(0)).unwrap(), accepted..accepted);
    assert_eq!(append(&log, vec![record(&readings(0), "x")]).await.unwrap(), [accepted]);
}

#[tokio::test]
async fn retention_by_size_stops_at_what_a_registered_group_has_not_passed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    config.retention_bytes = 3_000;
    let log = open(config);
    pass(&log, "slow", &readings(0), 0).await;
    pass(&log, "fast", &readings(0), 0).await;
    for n in 0..60_u64 {
        append(&log, vec![record(&readings(0), vec![1; 100]), record(&readings(1), vec![2; 100])]).await.unwrap();
        pass(&log, "fast", &readings(0), n + 1).await;
    }
    assert_eq!(log.bounds(&readings(0)).unwrap(), 0..60, "held by the slow one");
    for passed in [7, 20, 59] {
        pass(&log, "slow", &readings(0), passed).await;
        until("something is deleted", async || log.bounds(&readings(0)).unwrap().start + 6 > passed).await;
        assert!(log.bounds(&readings(0)).unwrap().start <= passed);
        let read = log.read(&readings(0), passed, usize::MAX).await.unwrap();
        assert_eq!((read.records.len() as u64, read.lost), (60 - passed, 0), "from its position on all is there");
        assert_eq!(log.bounds(&readings(1)).unwrap().start, log.bounds(&readings(0)).unwrap().start);
    }
    assert!(log.status().used_bytes < 3_000 + 2 * 1024);
    assert_eq!(segment_files(dir.path(), "log").len(), log.status().segments, "files are gone");
    assert_eq!(segment_files(dir.path(), "idx").len() + 1, log.status().segments);
}

#[tokio::test]
async fn without_a_registered_group_nothing_is_held_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    (config.retention_bytes, config.quota_bytes) = (3_000, 6_000);
    let log = open(config);
    for _ in 0..200 {
        append(&log, vec![record(&readings(1), vec![1; 100])]).await.unwrap();
    }
    let bounds = log.bounds(&readings(1)).unwrap();
    assert!(bounds.start > 150 && bounds.end == 200, "{bounds:?}");
}

#[tokio::test]
async fn retention_by_age_deletes_sealed_segments_that_were_passed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    config.retention_age = Duration::from_secs(3600);
    let time = clock();
    let log = open_on(Arc::new(FastDisk), config, time.clone()).unwrap();
    pass(&log, "rules", &readings(0), 0).await;
    for _ in 0..40 {
        append(&log, vec![record(&readings(0), vec![1; 100])]).await.unwrap();
    }
    settle(&log).await;
    let segments = log.status().segments;
    pass(&log, "rules", &readings(0), 40).await;
    time.advance(Duration::from_secs(3599));
    pass(&log, "rules", &readings(0), 40).await;
    // The first is answered before or after retention looked, the second after.
    settle(&log).await;
    settle(&log).await;
    assert_eq!(log.status().segments, segments, "too young");
    time.advance(Duration::from_secs(1));
    pass(&log, "rules", &readings(0), 40).await;
    until("the sealed ones are deleted", async || log.status().segments == 1).await;
}

#[tokio::test]
async fn readers_and_deletion_do_not_meet() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(dir.path());
    config.retention_bytes = 2_000;
    let log = open(config);
    let reader = tokio::spawn({
        let log = log.clone();
        async move {
            let mut seen = 0_u64;
            while seen < 500 {
                tokio::task::yield_now().await;
                let offset = log.bounds(&readings(0)).unwrap().start.max(seen);
                match log.read(&readings(0), offset, 2_000).await {
                    Ok(read) => {
                        assert_eq!(read.lost, 0, "deleted is not damaged");
                        assert!(read.records.iter().all(|record| record.payload.len() == 100));
                        seen = read.next;
                    }
                    Err(error) => assert!(matches!(error, Error::OutOfRange { .. }), "{error}"),
                }
            }
        }
    });
    for _ in 0..500 {
        append(&log, vec![record(&readings(0), vec![1; 100])]).await.unwrap();
    }
    reader.await.unwrap();
    assert_eq!(log.shared.metrics.quarantined.get(), 0);
    for partition in partitions() {
        assert!(log.bounds(&partition).is_ok());
    }
}
