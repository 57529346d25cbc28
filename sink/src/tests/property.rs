//! Whatever is applied, flushed and killed in whatever order: the table holds each row once.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use streams::consume::{Effect, Passed};

use super::crash::{Applied, DEATHS, Death, die_committing};
use super::support::{Fixture, HOUR, PARTITIONS, Row, START, apply, logged, passed, row, rows_of};

#[derive(Clone, Debug)]
enum Step {
    /// A record of these rows (device, time) in a partition.
    Append(u32, Vec<(u8, i64)>),
    Flush,
    /// Records that held nothing new.
    Skip(u32),
    Restart,
    Die(Death),
}

fn step() -> impl Strategy<Value = Step> {
    let rows = vec((0_u8..5, 0..3 * HOUR), 1..6);
    prop_oneof![
        6 => (0..PARTITIONS, rows).prop_map(|(partition, rows)| Step::Append(partition, rows)),
        2 => Just(Step::Flush),
        1 => (0..PARTITIONS).prop_map(Step::Skip),
        1 => Just(Step::Restart),
        2 => (0..DEATHS.len()).prop_map(|death| Step::Die(DEATHS[death])),
    ]
}

/// The stream: records by partition and offset, empty ones where nothing was new.
#[derive(Default)]
struct Stream {
    records: BTreeMap<u32, Vec<Vec<Row>>>,
    next_seq: i64,
}

impl Stream {
    fn append(&mut self, partition: u32, rows: &[(u8, i64)]) {
        let rows = rows.iter().map(|(device, time)| {
            self.next_seq += 1;
            row(&format!("device-{device}"), START + time, self.next_seq)
        });
        let rows: Vec<_> = rows.collect();
        self.records.entry(partition).or_default().push(rows);
    }

    fn passed(&self) -> Vec<Passed> {
        let ends: Vec<_> = self.records.iter().map(|(partition, records)| (*partition, records.len() as u64)).collect();
        passed(&ends)
    }

    /// Records from where `recovered` stands.
    fn rest(&self, recovered: impl Fn(u32) -> Option<u64>) -> Applied {
        let rest = self.records.iter().map(|(partition, records)| {
            let from = recovered(*partition).unwrap_or(0);
            let rest = (0..).zip(records).filter(|(offset, rows)| *offset >= from && !rows.is_empty());
            (*partition, rest.map(|(offset, rows)| (offset, rows.clone())).collect::<Vec<_>>())
        });
        rest.filter(|(_, records)| !records.is_empty()).collect()
    }
}

async fn run(steps: Vec<Step>) -> (Fixture, Vec<Row>) {
    let mut fixture = Fixture::new();
    fixture.config.checkpoint_commits = 3;
    let mut stream = Stream::default();
    let mut sink = fixture.open();
    for step in steps {
        match step {
            Step::Append(partition, rows) => {
                stream.append(partition, &rows);
                let records = &stream.records[&partition];
                apply(&mut sink, partition, records.len() as u64 - 1, records.last().unwrap()).await;
                continue;
            }
            Step::Skip(partition) => {
                stream.append(partition, &[]);
                continue;
            }
            Step::Flush => {
                sink.flush(&stream.passed()).await.unwrap();
                continue;
            }
            Step::Restart => drop(sink),
            Step::Die(death) => {
                let rest = stream.rest(|partition| sink.recovered(partition));
                drop(sink);
                die_committing(&fixture, &rest, &stream.passed(), death);
            }
        }
        sink = fixture.open();
        assert_eq!(fixture.glob(), logged(&fixture.table()));
        for (partition, records) in stream.rest(|partition| sink.recovered(partition)) {
            for (offset, rows) in records {
                apply(&mut sink, partition, offset, &rows).await;
            }
        }
    }
    sink.flush(&stream.passed()).await.unwrap();
    (fixture, stream.records.into_values().flatten().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn each_row_is_in_the_table_once(steps in vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (fixture, mut applied) = runtime.block_on(run(steps));
        let files = fixture.glob();
        prop_assert_eq!(&files, &logged(&fixture.table()));
        let mut stored = Vec::new();
        for path in &files {
            let rows = rows_of(path);
            prop_assert!(rows.is_sorted_by(|a, b| (&a.device, a.time) <= (&b.device, b.time)));
            stored.extend(rows);
        }
        stored.sort_by_key(|row| row.seq);
        applied.sort_by_key(|row| row.seq);
        prop_assert_eq!(stored, applied);
    }
}
