//! The log against the model: whatever is appended, read, committed, torn and reopened, both say the same.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use telemetry::clock::ManualClock;

use super::{FastDisk, append, clock, open_on, partitions, record, segment_files, settle, small, specs};
use crate::contract::{Error, GroupName, Partition, Position, Streams};
use crate::log::format::{self, Frame};
use crate::log::{EmbeddedLog, LogConfig};
use crate::memory::MemoryStreams;

#[derive(Clone, Debug)]
enum Step {
    /// Groups of (partition, payload length), submitted at once.
    Append(Vec<Vec<(usize, usize)>>),
    /// Partition, where in it (of 256), bytes.
    Read(usize, u8, usize),
    /// Group, partition, how far (of 256).
    Commit(bool, usize, u8),
    /// The process is killed while a group is written: this part of it (of 256), and garbage after it.
    Crash(u8, Vec<u8>),
    /// An index is lost as well.
    LoseIndex(u8),
    /// Only this part of the tail (of 256) is left, and garbage after it.
    TearTail(u8, Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = vec((0..3_usize, 0..300_usize), 0..6);
    let step = prop_oneof![
        6 => vec(group, 1..5).prop_map(Step::Append),
        4 => (0..3_usize, any::<u8>(), 0..2000_usize).prop_map(|(of, at, bytes)| Step::Read(of, at, bytes)),
        2 => (any::<bool>(), 0..3_usize, any::<u8>()).prop_map(|(group, of, at)| Step::Commit(group, of, at)),
        2 => (any::<u8>(), vec(any::<u8>(), 0..200)).prop_map(|(part, garbage)| Step::Crash(part, garbage)),
        1 => any::<u8>().prop_map(Step::LoseIndex),
        1 => (any::<u8>(), vec(any::<u8>(), 0..100)).prop_map(|(part, garbage)| Step::TearTail(part, garbage)),
    ];
    vec(step, 1..30)
}

struct Both {
    config: LogConfig,
    clock: Arc<ManualClock>,
    log: Option<Arc<EmbeddedLog>>,
    model: Arc<MemoryStreams>,
    appended: u64,
}

impl Both {
    fn new(dir: &Path) -> Self {
        let (clock, mut config) = (clock(), small(dir));
        config.retention_bytes = 4_000;
        let model = MemoryStreams::new(specs(), clock.clone());
        Self { config, clock, log: None, model, appended: 0 }
    }

    fn log(&mut self) -> Arc<EmbeddedLog> {
        let (config, clock) = (self.config.clone(), self.clock.clone());
        self.log.get_or_insert_with(|| open_on(Arc::new(FastDisk), config, clock).unwrap()).clone()
    }

    async fn step(&mut self, step: &Step) {
        self.clock.advance(Duration::from_millis(7));
        match step {
            Step::Append(groups) => self.append(groups).await,
            Step::Read(of, at, bytes) => self.read(&partitions()[*of], *at, *bytes).await,
            Step::Commit(group, of, at) => self.commit(*group, &partitions()[*of], *at).await,
            Step::Crash(part, garbage) => self.crash(*part, garbage).await,
            Step::LoseIndex(which) => self.lose_index(*which),
            Step::TearTail(part, garbage) => self.tear_tail(*part, garbage),
        }
    }

    async fn append(&mut self, groups: &[Vec<(usize, usize)>]) {
        let log = self.log();
        let (mut tickets, mut expected) = (Vec::new(), Vec::new());
        for group in groups {
            let records: Vec<_> = group
                .iter()
                .map(|(of, length)| {
                    self.appended += 1;
                    record(&partitions()[*of], self.appended.to_le_bytes().repeat(length / 8 + 1))
                })
                .collect();
            tickets.push(log.submit(records.clone()).await.unwrap());
            expected.push(self.model.submit(records).await.unwrap().await.unwrap());
        }
        for (ticket, expected) in tickets.into_iter().zip(expected) {
            assert_eq!(ticket.await.unwrap(), expected);
        }
    }

    async fn read(&mut self, of: &Partition, at: u8, bytes: usize) {
        let (log, model) = (self.log(), self.model.clone());
        let bounds = log.bounds(of).unwrap();
        assert_eq!(bounds.end, model.bounds(of).unwrap().end);
        let offset = bounds.start + (bounds.end - bounds.start) * u64::from(at) / 255;
        let read = match log.read(of, offset, bytes).await {
            Ok(read) => read,
            // Deleted since the bounds were asked for.
            Err(Error::OutOfRange { start, .. }) if start > offset => return,
            Err(error) => panic!("{error}"),
        };
        let expected = model.read(of, offset, usize::MAX).await.unwrap().records;
        assert_eq!(read.lost, 0);
        assert_eq!(read.records, expected[..read.records.len()]);
        assert_eq!(read.next, offset + read.records.len() as u64);
        assert_eq!(read.records.is_empty(), offset == bounds.end);
        let all_but_last = read.records.split_last().map_or(0, |(_, rest)| payload_bytes(rest));
        assert!(all_but_last <= bytes, "no more than asked, but for the last record");
    }

    async fn commit(&mut self, group: bool, of: &Partition, at: u8) {
        let log = self.log();
        let bounds = log.bounds(of).unwrap();
        let group = group_name(group);
        let before = self.model.position(&group, of).await.unwrap().map_or(bounds.start, |position| position.offset);
        // A consumer does not go back: what it passed may be deleted at any moment. So may be what no group is
        // registered for, and then the log refuses the position.
        let offset = before.max(bounds.start + (bounds.end - bounds.start) * u64::from(at) / 255);
        let position = Position { offset, state: Bytes::copy_from_slice(&offset.to_le_bytes()) };
        match log.commit(&group, vec![(of.clone(), position.clone())]).await {
            Ok(()) => self.model.commit(&group, vec![(of.clone(), position)]).await.unwrap(),
            Err(error) => {
                assert!(matches!(error, Error::OutOfRange { start, .. } if start > offset), "{error}");
                assert_eq!(log.position(&group, of).await.unwrap(), None);
            }
        }
    }

    /// Kills the log, leaves a torn group behind what is durable, and opens it again.
    async fn crash(&mut self, part: u8, garbage: &[u8]) {
        let log = self.log();
        let starts: Vec<u64> = partitions().iter().map(|of| log.bounds(of).unwrap().start).collect();
        let (ends, log_id) = (log.shared.view().ends.clone(), log.shared.layout.log_id);
        drop(log);
        self.log = None;
        let frame = Frame {
            stream: 0,
            partition: 0,
            offset: ends[0],
            appended_at: telemetry::Timestamp::from_micros(1),
            rows: 1,
            payload: b"never acknowledged",
        };
        let mut torn = Vec::new();
        format::encode_group(&mut torn, log_id, u64::MAX - 1, &ends, &[frame]);
        // Whole but for its padding it would be a good group, which may appear.
        torn.truncate((torn.len() - 8) * usize::from(part) / 256);
        torn.extend_from_slice(garbage);
        let path = segment_files(&self.config.dir, "log").pop().unwrap();
        let durable = fs::read(&path).unwrap();
        fs::write(&path, [&durable[..], &torn].concat()).unwrap();
        let log = self.log();
        assert_eq!(log.recovery().cut_bytes, torn.len() as u64);
        assert_eq!(log.recovery().quarantined_records, 0);
        for (of, start) in partitions().iter().zip(starts) {
            assert!(log.bounds(of).unwrap().start >= start, "a start never goes back");
        }
        self.compare().await;
    }

    fn lose_index(&mut self, which: u8) {
        drop(self.log());
        self.log = None;
        let indexes = segment_files(&self.config.dir, "idx");
        if let Some(path) = indexes.get(usize::from(which) % indexes.len().max(1)) {
            fs::remove_file(path).unwrap();
        }
    }

    fn tear_tail(&mut self, part: u8, garbage: &[u8]) {
        drop(self.log());
        self.log = None;
        for path in segment_files(&self.config.dir, "tail") {
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(bytes.len() * usize::from(part) / 255);
            bytes.extend_from_slice(garbage);
            fs::write(&path, bytes).unwrap();
        }
    }

    async fn compare(&mut self) {
        let (log, model) = (self.log(), self.model.clone());
        // Nothing is deleted after this before the next append or commit.
        for _ in 0..2 {
            settle(&log).await;
        }
        for of in &partitions() {
            let bounds = log.bounds(of).unwrap();
            assert_eq!(bounds.end, model.bounds(of).unwrap().end);
            let mut offset = bounds.start;
            while offset < bounds.end {
                let read = log.read(of, offset, 1_000).await.unwrap();
                let expected = model.read(of, offset, usize::MAX).await.unwrap().records;
                assert_eq!(read.lost, 0);
                assert_eq!(read.records, expected[..read.records.len()]);
                offset = read.next;
            }
            for group in [group_name(false), group_name(true)] {
                let position = model.position(&group, of).await.unwrap();
                assert_eq!(log.position(&group, of).await.unwrap(), position);
                assert!(position.is_none_or(|position| position.offset >= bounds.start), "never past a consumer");
            }
        }
    }
}

fn group_name(sink: bool) -> GroupName {
    if sink { "sink/readings".into() } else { "rules".into() }
}

fn payload_bytes(records: &[crate::contract::Record]) -> usize {
    records.iter().map(|record| record.payload.len()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_log_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let mut both = Both::new(dir.path());
            for step in &steps {
                both.step(step).await;
            }
            both.compare().await;
            let log = both.log();
            let end = log.bounds(&partitions()[0]).unwrap().end;
            let next = append(&log, vec![record(&partitions()[0], "goes on")]).await.unwrap();
            prop_assert_eq!(next, [end]);
            Ok(())
        })?;
    }
}
