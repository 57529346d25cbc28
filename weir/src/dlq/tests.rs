//! Dead letters over streams in memory, a real intake, and runs that say what the test wants.

mod changing;
mod marking;
mod reading;
pub(crate) mod running;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ingest::{Incoming, Ingest, IngestConfig, IngestMetrics};
use prometheus::Registry;
use streams::memory::MemoryStreams;
use streams::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, StreamName, StreamSpec, Streams,
    Ticket,
};
use telemetry::batch::{DeadLetter, DeadLettersBuilder};
use telemetry::clock::ManualClock;
use telemetry::ipc::Encoder;
use telemetry::trace::Tracing;
use telemetry::{Identity, Timestamp, schema};
use tokio::sync::watch;

use super::letter::StepName;
use super::view::{Change, Changed, Filter, LetterId, Listing, Source, State};
use super::*;

/// 2026-07-28T09:00:00Z.
const NOW: i64 = 1_785_229_200_000_000;

/// Streams in memory that have forgotten their first records.
#[derive(Debug)]
pub(crate) struct Retained {
    all: Arc<MemoryStreams>,
    start: AtomicU64,
}

#[async_trait]
impl Streams for Retained {
    fn specs(&self) -> &[StreamSpec] {
        self.all.specs()
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        self.all.submit(group).await
    }

    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error> {
        let Range { start, end } = self.bounds(from)?;
        if offset < start {
            return Err(Error::OutOfRange { partition: from.clone(), offset, start, end });
        }
        self.all.read(from, offset, max_bytes).await
    }

    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error> {
        let all = self.all.bounds(of)?;
        Ok(self.start.load(Ordering::SeqCst).min(all.end)..all.end)
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.all.appended()
    }

    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error> {
        self.all.position(group, of).await
    }

    async fn commit(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        self.all.commit(group, positions).await
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        self.all.groups().await
    }
}

/// What was asked of the runs, in order; what they refuse, by run.
#[derive(Debug, Default)]
struct Asked {
    asked: Mutex<Vec<String>>,
    refusals: Mutex<BTreeMap<String, String>>,
}

impl Asked {
    fn ask(&self, verb: &str, step: &StepName) -> Result<(), String> {
        self.asked.lock().unwrap().push(format!("{verb} {}/{} of {}", step.run, step.step, step.letter));
        self.refusals.lock().unwrap().get(&step.run).cloned().map_or(Ok(()), Err)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Runs for Asked {
    async fn attempts(&self, step: &StepName) -> Option<u32> {
        (step.run == "0f").then_some(8)
    }

    async fn redrive(&self, step: &StepName) -> Result<(), String> {
        self.ask("redrive", step)
    }

    async fn admit(&self, payload: &[u8]) -> Result<(), String> {
        self.asked.lock().unwrap().push(format!("admit {}", String::from_utf8_lossy(payload)));
        Ok(())
    }

    async fn give_up(&self, step: &StepName) -> Result<(), String> {
        self.ask("give up", step)
    }
}

pub(crate) struct Fixture {
    dir: tempfile::TempDir,
    pub(crate) streams: Arc<Retained>,
    ingest: Ingest,
    pub(crate) clock: Arc<ManualClock>,
    runs: Arc<Asked>,
    pub(crate) dlq: Dlq,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(NOW));
        let stream = |name, partitions| StreamSpec { name, partitions };
        let specs = vec![
            stream(StreamName::readings(), 1),
            stream(StreamName::dead_letters(), 1),
            stream(StreamName::workflows(), 1),
            stream(StreamName::workflow_dead_letters(), 1),
        ];
        let all = MemoryStreams::new(specs, clock.clone());
        let streams = Arc::new(Retained { all, start: AtomicU64::new(0) });
        let config = IngestConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            future: Duration::from_secs(60),
            ..IngestConfig::default()
        };
        let metrics = IngestMetrics::register(&Registry::new()).unwrap();
        let ingest = Ingest::start(config, streams.clone(), clock.clone(), Tracing::default(), metrics).await.unwrap();
        let (dir, runs) = (tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
        let dlq = open(&dir, &streams, &ingest, &runs, &clock);
        Self { dir, streams, ingest, clock, runs, dlq }
    }

    /// A restart as the marks see it.
    fn reopen(&mut self) {
        // The lock of the old file goes with the last handle.
        self.dlq.marks = Arc::new(Marks::open(&self.dir.path().join("other.redb")).unwrap());
        self.dlq = open(&self.dir, &self.streams, &self.ingest, &self.runs, &self.clock);
    }

    /// A message with a reading so many seconds ahead of the clock; with an identity of the transport, if given.
    pub(crate) async fn publish(&self, ahead: u64, identity: Option<Identity>) {
        let time = NOW / 1_000_000 + i64::try_from(ahead).unwrap();
        let payload = format!(r#"[{{"n":"temperature","v":21.5,"t":{time}}}]"#);
        self.publish_payload(payload.as_bytes(), identity).await;
    }

    async fn publish_payload(&self, payload: &[u8], identity: Option<Identity>) {
        let intake = self.ingest.intake();
        let (topic, client_id) = ("hall/pump-1/telemetry", "pump-1");
        let incoming = Incoming { topic, payload, identity, client_id, traceparent: None };
        let receipt = intake.accept(&incoming).unwrap();
        intake.durable(receipt.group).await.unwrap();
    }

    /// One record of letters of workflows: reason and topic of each.
    async fn give_up(&self, letters: &[(&str, &str)]) {
        let mut builder = DeadLettersBuilder::default();
        for (reason, topic) in letters {
            builder.push(&DeadLetter {
                received_at: Timestamp::from_micros(NOW),
                reason,
                detail: "rule hot, step 0, webhook: 500",
                topic,
                client_id: "hot",
                payload: br#"{"a":1}"#,
                identity: None,
            });
        }
        let batch = builder.finish();
        let payload = Encoder::new(schema::dead_letters()).unwrap().encode(&batch).unwrap();
        let rows = u32::try_from(batch.num_rows()).unwrap();
        let to = Partition::new(StreamName::workflow_dead_letters(), 0);
        self.streams.submit(vec![Append::new(to, rows, payload)]).await.unwrap().await.unwrap();
    }

    async fn list(&self, filter: &Filter) -> Vec<String> {
        let page = self.dlq.list(filter, PAGE_LETTERS, None).await.unwrap();
        assert_eq!(page.next, None);
        page.letters.iter().map(|letter| letter.id.to_string()).collect()
    }

    async fn waiting(&self) -> Vec<String> {
        self.list(&Filter { state: Some(State::Waiting), ..Filter::default() }).await
    }

    async fn state(&self, letter: &str) -> State {
        self.dlq.show(id(letter)).await.unwrap().unwrap().state
    }

    /// Rows of the stream of readings, before anybody deduplicates.
    async fn readings(&self) -> u32 {
        let partition = Partition::new(StreamName::readings(), 0);
        let read = self.streams.all.read(&partition, 0, usize::MAX).await.unwrap();
        read.records.iter().map(|record| record.rows).sum()
    }
}

fn open(
    dir: &tempfile::TempDir,
    streams: &Arc<Retained>,
    ingest: &Ingest,
    runs: &Arc<Asked>,
    clock: &Arc<ManualClock>,
) -> Dlq {
    Dlq::open(dir.path(), streams.clone(), Some(ingest.intake()), Some(runs.clone()), true, clock.clone()).unwrap()
}

fn id(text: &str) -> LetterId {
    text.parse().unwrap()
}

fn named(ids: &[&str]) -> Change {
    Change { ids: ids.iter().map(|text| id(text)).collect(), ..Change::default() }
}

fn all() -> Change {
    Change { all: true, ..Change::default() }
}

fn errors(changed: &Changed) -> Vec<String> {
    changed.failed.iter().map(|failure| format!("{}: {}", failure.id, failure.error)).collect()
}
