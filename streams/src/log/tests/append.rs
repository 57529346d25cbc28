//! The way of an append: bounds, backpressure, closing.

use std::sync::{Arc, Condvar, Mutex};

use futures::FutureExt;

use super::{FastDisk, append, clock, contents, open, open_on, readings, record, roomy, settle, small};
use crate::contract::{AppendError, Streams};
use crate::log::disk::{Disk, DiskFile};

#[tokio::test]
async fn what_is_too_large_is_refused_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = roomy(dir.path());
    config.record_bytes = 100;
    config.queue_bytes = 1024;
    let log = open(config);
    let refused = append(&log, vec![record(&readings(0), "fits"), record(&readings(0), vec![0; 101])]).await;
    assert!(matches!(refused, Err(AppendError::Refused(why)) if why.contains("101 bytes for readings/0")));
    let refused = append(&log, (0..10).map(|_| record(&readings(0), vec![0; 100])).collect()).await;
    assert!(matches!(refused, Err(AppendError::Refused(why)) if why.contains("1024 are allowed")));
    assert_eq!(log.bounds(&readings(0)).unwrap(), 0..0);
}

/// Syncs of segments wait for the gate, except the first, which begins the segment.
#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    waiting: Mutex<bool>,
}

struct OpenOnDrop(Arc<Gate>);

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap() = true;
        self.0.opened.notify_all();
    }
}

#[derive(Debug)]
struct GatedDisk(Arc<Gate>);

impl Disk for GatedDisk {
    fn sync(&self, file: &DiskFile) -> std::io::Result<()> {
        let is_group = super::is_segment(file) && file.file.metadata()?.len() > 200;
        if is_group {
            *self.0.waiting.lock().unwrap() = true;
            drop(self.0.opened.wait_while(self.0.open.lock().unwrap(), |open| !*open).unwrap());
        }
        Ok(())
    }
}

#[tokio::test]
async fn submit_waits_for_room_and_tickets_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let mut config = roomy(dir.path());
    config.queue_bytes = 1024;
    let log = open_on(Arc::new(GatedDisk(gate.clone())), config, clock()).unwrap();
    // Dropped before the log, whose drop joins the thread that waits at the gate.
    let opens = OpenOnDrop(gate.clone());
    let group = || vec![record(&readings(0), vec![1; 400])];
    let mut first = log.submit(group()).await.unwrap();
    super::until("the writer waits for the disk", async || *gate.waiting.lock().unwrap()).await;
    assert!((&mut first).now_or_never().is_none(), "not durable, so not acknowledged");
    assert_eq!(log.bounds(&readings(0)).unwrap(), 0..0, "and not readable");
    let second = log.submit(group()).now_or_never().expect("there is still room").unwrap();
    let mut third = log.submit(group());
    assert!((&mut third).now_or_never().is_none(), "no room for a third");
    assert!(log.status().queued_bytes > 400);
    drop(opens);
    assert_eq!(first.await.unwrap(), [0]);
    assert_eq!(second.await.unwrap(), [1]);
    assert_eq!(third.await.unwrap().await.unwrap(), [2]);
    assert_eq!(log.status().queued_bytes, 0);
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(small(dir.path()));
    let mut tickets = Vec::new();
    for n in 0..50_u8 {
        tickets.push(log.submit(vec![record(&readings(0), vec![n; 100])]).await.unwrap());
    }
    log.close().await.unwrap();
    for (n, ticket) in (0..).zip(tickets) {
        assert_eq!(ticket.await.unwrap(), [n]);
    }
    assert!(matches!(append(&log, Vec::new()).await, Err(AppendError::Failed(_))));
    assert_eq!(contents(&log, &readings(0)).await.0.len(), 50, "reading still works");
    assert_eq!(*log.failed().borrow(), None, "closing is no failure");
    log.close().await.unwrap();
}

#[tokio::test]
async fn many_segments_are_read_in_order_and_reopened_without_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(small(dir.path()));
    for n in 0..300_u32 {
        append(&log, vec![record(&readings(n % 2), n.to_le_bytes().repeat(10))]).await.unwrap();
    }
    settle(&log).await;
    let segments = log.status().segments;
    assert!(segments > 10, "only {segments} segments");
    let before = contents(&log, &readings(0)).await;
    assert_eq!((before.0.len(), before.1), (150, 0));
    drop(log);
    let log = open_on(Arc::new(FastDisk), small(dir.path()), clock()).unwrap();
    assert_eq!((log.recovery().segments, log.recovery().rebuilt_indexes), (segments, 0));
    assert_eq!(contents(&log, &readings(0)).await, before);
    assert_eq!(append(&log, vec![record(&readings(0), "next")]).await.unwrap(), [150]);
}

#[tokio::test]
async fn metrics_show_what_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let registry = prometheus::Registry::new();
    let metrics = crate::log::LogMetrics::register(&registry).unwrap();
    let log = crate::log::EmbeddedLog::open_on(
        Arc::new(FastDisk),
        roomy(dir.path()),
        super::specs(),
        clock(),
        telemetry::trace::Tracing::default(),
        metrics.clone(),
    )
    .unwrap();
    append(&log, vec![record(&readings(0), "a"), record(&readings(1), "b")]).await.unwrap();
    log.close().await.unwrap();
    assert_eq!(metrics.appended_records.with_label_values(&["readings"]).get(), 2);
    assert_eq!(metrics.appended_records.with_label_values(&["alerts"]).get(), 0);
    assert_eq!(metrics.commit_bytes.get_sample_count(), 1);
    assert_eq!(metrics.sync_seconds.get_sample_count(), 1);
    assert_eq!(u64::try_from(metrics.used_bytes.get()).unwrap(), log.status().used_bytes);
    let on_disk = std::fs::metadata(&super::segment_files(dir.path(), "log")[0]).unwrap().len();
    assert_eq!(log.status().used_bytes, on_disk);
    let families = registry.gather();
    assert!(families.iter().all(|family| family.name().starts_with("weir_streams_")));
    assert_eq!(families.len(), 11);
}
