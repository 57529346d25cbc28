use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use prometheus::Registry;
use telemetry::Timestamp;
use telemetry::clock::SystemClock;
use telemetry::trace::Tracing;
use tokio::sync::watch;

use super::*;
use crate::contract::{Append, AppendError, GroupPosition, Read, StreamSpec, Ticket};
use crate::log::{EmbeddedLog, LogConfig, LogMetrics};

/// What a source gives: records with holes, that begin late, and reads that fail once enough were made.
#[derive(Debug)]
struct Source {
    specs: Vec<StreamSpec>,
    records: BTreeMap<Partition, (Range<u64>, Vec<Record>)>,
    positions: Positions,
    reads: AtomicI64,
}

#[async_trait]
impl Streams for Source {
    fn specs(&self) -> &[StreamSpec] {
        &self.specs
    }

    async fn submit(&self, _group: Vec<Append>) -> Result<Ticket, AppendError> {
        unreachable!("nothing writes to a source")
    }

    async fn read(&self, from: &Partition, offset: u64, _max_bytes: usize) -> Result<Read, Error> {
        if self.reads.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Error::Unavailable("killed".to_owned()));
        }
        let (bounds, records) = &self.records[from];
        assert!(bounds.contains(&offset));
        let rest: Vec<_> = records.iter().filter(|record| record.offset >= offset).take(2).cloned().collect();
        let next = match rest.last() {
            Some(last) if records.last() != Some(last) => last.offset + 1,
            _ => bounds.end,
        };
        let lost = next - offset - rest.len() as u64;
        Ok(Read { records: rest, next, lost })
    }

    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error> {
        Ok(self.records.get(of).ok_or_else(|| Error::UnknownPartition(of.clone()))?.0.clone())
    }

    fn appended(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error> {
        let found = self.positions.iter().find(|(name, partition, _)| name == group && partition == of);
        Ok(found.map(|(_, _, position)| position.clone()))
    }

    async fn commit(&self, _group: &GroupName, _positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        unreachable!("nothing writes to a source")
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        let at = |(group, partition, position): &(GroupName, Partition, Position)| {
            let (group, partition) = (group.clone(), partition.clone());
            GroupPosition { group, partition, offset: position.offset }
        };
        Ok(self.positions.iter().map(at).collect())
    }
}

fn readings(index: u32) -> Partition {
    Partition::new(StreamName::readings(), index)
}

/// Partition 0 begins at 1000, lacks 1003, 1004 and its last two; partition 1 begins at 0; `alerts` is empty.
fn source() -> Source {
    let record = |offset: u64| Record {
        offset,
        appended_at: Timestamp::from_micros(1_600_000_000_000_000 + i64::try_from(offset).unwrap()),
        rows: 3,
        payload: Bytes::from(format!("record {offset}")),
    };
    let alerts = Partition::new(StreamName::alerts(), 0);
    let kept = [1000, 1001, 1002, 1005, 1006, 1007].map(record).to_vec();
    let records = [
        (readings(0), (1000..1010, kept)),
        (readings(1), (0..3, (0..3).map(record).collect())),
        (alerts.clone(), (0..0, vec![])),
    ];
    let at = |offset| Position { offset, state: Bytes::from(format!("state {offset}")) };
    let positions = vec![
        ("rules".into(), readings(0), at(1006)),
        ("rules".into(), readings(1), at(0)),
        ("sink/readings".into(), readings(0), at(1010)),
        // Fell behind what is retained.
        ("slow".into(), readings(0), at(10)),
        ("sink/alerts".into(), alerts, at(0)),
    ];
    Source { specs: specs(), records: records.into(), positions, reads: AtomicI64::new(i64::MAX) }
}

fn specs() -> Vec<StreamSpec> {
    let spec = |name, partitions| StreamSpec { name, partitions };
    vec![spec(StreamName::readings(), 2), spec(StreamName::alerts(), 1)]
}

fn names() -> Vec<StreamName> {
    vec![StreamName::readings(), StreamName::alerts()]
}

fn open(dir: &Path) -> Arc<EmbeddedLog> {
    let config = LogConfig { dir: dir.to_owned(), ..LogConfig::default() };
    let metrics = LogMetrics::register(&Registry::new()).unwrap();
    EmbeddedLog::open(config, specs(), SystemClock::shared(), Tracing::default(), metrics).unwrap()
}

async fn move_to(source: &Source, dir: &Path) -> Result<Report, Error> {
    let log = open(dir);
    let report = copy(source, "there", log.as_ref(), &names(), |_, _| {}).await;
    // A crash: nothing is closed.
    drop(log);
    report
}

async fn all(log: &EmbeddedLog, of: &Partition) -> Vec<Record> {
    let (bounds, mut records) = (log.bounds(of).unwrap(), Vec::new());
    let mut next = bounds.start;
    while next < bounds.end {
        let read = log.read(of, next, 1).await.unwrap();
        next = read.next;
        records.extend(read.records);
    }
    records
}

async fn is_the_source(log: &EmbeddedLog) {
    let source = source();
    for (of, (bounds, records)) in &source.records {
        assert_eq!((&log.bounds(of).unwrap(), &all(log, of).await), (bounds, records), "{of}");
    }
    for (group, of, position) in &source.positions {
        let offset = position.offset.max(source.bounds(of).unwrap().start);
        let expected = Position { offset, state: position.state.clone() };
        assert_eq!(log.position(group, of).await.unwrap(), Some(expected), "{group} in {of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_moved_with_offsets_times_rows_and_positions() {
    let dir = tempfile::tempdir().unwrap();
    let report = move_to(&source(), dir.path()).await.unwrap();
    assert_eq!((report.differences, report.positions), (vec![], 5));
    let moved: Vec<_> =
        report.partitions.iter().map(|moved| (moved.tally.records, moved.tally.rows, moved.same)).collect();
    assert_eq!(moved, [(0, 0, true), (6, 18, true), (3, 9, true)], "in order of name");
    for _ in 0..2 {
        let log = open(dir.path());
        is_the_source(&log).await;
        drop(log);
    }
    let log = open(dir.path());
    let append = |of| vec![Append::new(of, 1, Bytes::from_static(b"next"))];
    assert_eq!(log.submit(append(readings(0))).await.unwrap().await.unwrap(), [1010]);
    assert_eq!(log.submit(append(readings(1))).await.unwrap().await.unwrap(), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_killed_goes_on_and_leaves_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut killed = 0;
    loop {
        let mut source = source();
        // One read more each time.
        source.reads = AtomicI64::new(killed);
        match move_to(&source, dir.path()).await {
            Err(Error::Unavailable(why)) => assert_eq!(why, "killed"),
            other => {
                assert_eq!(other.unwrap().differences, Vec::<String>::new());
                break;
            }
        }
        killed += 1;
        let log = open(dir.path());
        assert!(log.failed().borrow().as_ref().is_some_and(|why| why.contains("unfinished copy of there")));
        let append = vec![Append::new(readings(0), 1, Bytes::new())];
        assert!(matches!(log.submit(append).await, Err(AppendError::Failed(_))), "nothing else is accepted");
    }
    assert!(killed > 3, "killed {killed} times");
    is_the_source(&open(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_fresh_destination_or_the_same_copy_is_taken() {
    let refused = async |dir: &Path, part: &str| {
        let refused = move_to(&source(), dir).await;
        assert!(matches!(&refused, Err(Error::Incompatible(why)) if why.contains(part)), "{refused:?}");
    };
    let used = tempfile::tempdir().unwrap();
    let log = open(used.path());
    let append = vec![Append::new(readings(1), 1, Bytes::new())];
    log.submit(append).await.unwrap().await.unwrap();
    drop(log);
    refused(used.path(), "has records or positions already").await;

    let registered = tempfile::tempdir().unwrap();
    let log = open(registered.path());
    log.commit(&"rules".into(), vec![(readings(0), Position::default())]).await.unwrap();
    drop(log);
    refused(registered.path(), "has records or positions already").await;

    let other = tempfile::tempdir().unwrap();
    let log = open(other.path());
    log.begin("elsewhere", &[]).await.unwrap();
    drop(log);
    refused(other.path(), "an unfinished copy of elsewhere").await;

    let done = tempfile::tempdir().unwrap();
    move_to(&source(), done.path()).await.unwrap();
    refused(done.path(), "a finished copy of there").await;
    is_the_source(&open(done.path())).await;

    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let unknown = copy(&source(), "there", log.as_ref(), &[StreamName::workflows()], |_, _| {}).await;
    assert!(matches!(&unknown, Err(Error::Incompatible(why)) if why.contains("workflows")), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_told_and_the_copy_stays_unfinished() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = source();
    short.reads = AtomicI64::new(4);
    assert!(move_to(&short, dir.path()).await.is_err());
    let mut other = source();
    let (_, records) = other.records.get_mut(&readings(0)).unwrap();
    records[0].payload = Bytes::from_static(b"changed since");
    let report = move_to(&other, dir.path()).await.unwrap();
    assert!(report.differences.len() == 1 && report.differences[0].starts_with("readings/0 has Tally"), "{report:?}");
    assert!(open(dir.path()).failed().borrow().is_some());
}
