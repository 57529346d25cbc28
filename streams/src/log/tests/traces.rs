//! What a trace says of commits.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telemetry::clock::ManualClock;
use telemetry::trace::{Context, Span, SpanId, SpanKind, Spans, TraceId, Tracing};

use super::{FastDisk, clock, is_segment, metrics, readings, record, roomy, specs, until};
use crate::contract::{Append, AppendError, Streams, Ticket};
use crate::log::EmbeddedLog;
use crate::log::disk::{Disk, DiskFile};

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Span>>);

impl Spans for Kept {
    fn take(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }

    fn contexts_left_out(&self, _count: usize) {}
}

/// Once it is armed, each sync of a segment ends as the test says.
#[derive(Debug)]
struct JudgedDisk {
    armed: AtomicBool,
    waits: AtomicBool,
    verdicts: Mutex<Receiver<io::Result<()>>>,
}

impl Disk for JudgedDisk {
    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        if !is_segment(file) || !self.armed.load(Ordering::SeqCst) {
            return FastDisk.sync(file);
        }
        self.waits.store(true, Ordering::SeqCst);
        let verdict = self.verdicts.lock().unwrap().recv();
        self.waits.store(false, Ordering::SeqCst);
        verdict.unwrap_or(Ok(()))
    }

    fn sync_dir(&self, path: &std::path::Path) -> io::Result<()> {
        FastDisk.sync_dir(path)
    }
}

struct World {
    /// Dropped before the log, which waits for its writer.
    verdicts: SyncSender<io::Result<()>>,
    disk: Arc<JudgedDisk>,
    clock: Arc<ManualClock>,
    kept: Arc<Kept>,
    log: Arc<EmbeddedLog>,
    _dir: tempfile::TempDir,
}

impl World {
    fn open() -> Self {
        let (dir, clock, kept) = (tempfile::tempdir().unwrap(), clock(), Arc::new(Kept::default()));
        let (verdicts, judged) = sync_channel(1);
        let (armed, waits) = (AtomicBool::new(false), AtomicBool::new(false));
        let disk = Arc::new(JudgedDisk { armed, waits, verdicts: Mutex::new(judged) });
        let tracing = Tracing::new(kept.clone(), 0.0);
        let config = roomy(dir.path());
        let log = EmbeddedLog::open_on(disk.clone(), config, specs(), clock.clone(), tracing, metrics()).unwrap();
        disk.armed.store(true, Ordering::SeqCst);
        Self { verdicts, disk, clock, kept, log, _dir: dir }
    }

    /// Submits a group of so many records, perhaps a part of a trace.
    async fn submit(&self, records: usize, trace: Option<Context>) -> Ticket {
        let append = Append { trace, ..record(&readings(0), "x") };
        self.log.submit(vec![append; records]).await.unwrap()
    }

    async fn syncs(&self) {
        until("the writer syncs", async || self.disk.waits.load(Ordering::SeqCst)).await;
    }
}

fn context(number: u64) -> Context {
    Context { trace: TraceId(u128::from(number)), span: SpanId(number) }
}

#[tokio::test]
async fn each_traced_group_of_a_sync_has_its_own_commit() {
    let world = World::open();
    let first = world.submit(1, Some(context(1))).await;
    world.syncs().await;
    let second = world.submit(2, Some(context(2))).await;
    let untraced = world.submit(1, None).await;
    let third = world.submit(1, Some(context(3))).await;
    world.clock.advance(Duration::from_millis(5));
    world.verdicts.send(Ok(())).unwrap();
    assert_eq!(first.await.unwrap(), [0]);
    world.syncs().await;
    world.clock.advance(Duration::from_millis(7));
    world.verdicts.send(Ok(())).unwrap();
    assert_eq!(second.await.unwrap(), [1, 2]);
    assert_eq!(untraced.await.unwrap(), [3]);
    assert_eq!(third.await.unwrap(), [4]);
    // Spans come behind the tickets.
    world.log.close().await.unwrap();
    let spans = world.kept.0.lock().unwrap();
    let told: Vec<_> = spans
        .iter()
        .map(|span| (span.name, span.context.trace, span.parent, span.end.since(span.start).as_millis()))
        .collect();
    let commit = |of: u64, took| ("commit", TraceId(u128::from(of)), Some(SpanId(of)), took);
    assert_eq!(told, [commit(1, 5), commit(2, 7), commit(3, 7)]);
    assert!(spans.iter().all(|span| span.kind == SpanKind::Internal && span.error.is_none() && span.links.is_empty()));
    assert_eq!(spans[1].start, spans[2].start, "one sync");
    assert!(spans.iter().all(|span| ![1, 2, 3].contains(&span.context.span.0)), "spans of their own");
}

#[tokio::test]
async fn a_commit_that_failed_says_why() {
    let world = World::open();
    let ticket = world.submit(1, Some(context(1))).await;
    world.verdicts.send(Err(io::Error::from(io::ErrorKind::StorageFull))).unwrap();
    assert!(matches!(ticket.await, Err(AppendError::Failed(_))));
    assert!(world.log.close().await.is_err());
    let spans = world.kept.0.lock().unwrap();
    let why = spans[0].error.as_deref().unwrap();
    assert!(spans.len() == 1 && why.contains("sync") && why.contains("no storage space"), "{spans:?}");
}
