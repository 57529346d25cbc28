//! Owners that come, stand still, are killed and wake up in whatever order: each row is seen once.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::support::{ALL, Fixture, HOUR, Row, START, logged, partition_rows, passed, row, seqs};
use crate::SinkError;
use crate::commit::{Committer, StagedFile};
use crate::recovery::Opening;

const PROCESSES: usize = 3;
/// Which partitions a process may be given.
const SHARES: [&[u32]; 6] = [&[0], &[1], &[2, 3], &[0, 1], &[1, 2], &[0, 1, 2, 3]];

#[derive(Clone, Debug)]
enum Event {
    /// A record of rows at these times in a partition.
    Append(u32, Vec<i64>),
    /// The process is killed if it runs, and starts with this share: up to its fence.
    Begin(usize, usize),
    /// The process does its next step.
    Step(usize),
    /// The process is killed.
    Kill(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let rows = vec(0..2 * HOUR, 1..4);
    prop_oneof![
        4 => (0_u32..4, rows).prop_map(|(partition, rows)| Event::Append(partition, rows)),
        2 => (0..PROCESSES, 0..SHARES.len()).prop_map(|(process, share)| Event::Begin(process, share)),
        12 => (0..PROCESSES).prop_map(Event::Step),
        1 => (0..PROCESSES).prop_map(Event::Kill),
    ]
}

/// What a process is about to do.
enum Process {
    Dead,
    ClearUp(Box<Opening>),
    Stage(Box<Committer>),
    Place(Box<Commit>),
}

/// A commit under way.
struct Commit {
    committer: Committer,
    files: Vec<StagedFile>,
    placed: usize,
    ends: Vec<(u32, u64)>,
}

#[derive(Default)]
struct World {
    /// Records by partition and offset.
    stream: BTreeMap<u32, Vec<Vec<Row>>>,
    next_seq: i64,
}

impl World {
    fn append(&mut self, partition: u32, times: &[i64]) {
        let first = self.next_seq;
        self.next_seq += i64::try_from(times.len()).unwrap();
        let rows = (first..).zip(times).map(|(seq, time)| row("a", START + time, seq));
        self.stream.entry(partition).or_default().push(rows.collect());
    }

    /// One step of `process`, which dies of its errors; each is that it was superseded.
    fn step(&self, process: Process) -> Process {
        match process {
            Process::Dead => Process::Dead,
            Process::ClearUp(opening) => Process::Stage(Box::new(opening.finish().unwrap().committer)),
            Process::Stage(mut committer) => {
                let (mut rows, mut ends) = (BTreeMap::new(), Vec::new());
                for partition in committer.partitions.clone() {
                    let from = committer.positions.get(&partition).copied().unwrap_or(0);
                    let records = self.stream.get(&partition).map_or(&[][..], |records| records);
                    let rest = (0..).zip(records.iter().cloned()).filter(|(offset, _)| *offset >= from);
                    let rest: Vec<(u64, Vec<Row>)> = rest.collect();
                    if !rest.is_empty() {
                        rows.insert(partition, partition_rows(&rest));
                        ends.push((partition, records.len() as u64));
                    }
                }
                if ends.is_empty() {
                    return Process::Stage(committer);
                }
                match committer.stage(rows) {
                    Ok(files) => Process::Place(Box::new(Commit { committer: *committer, files, placed: 0, ends })),
                    Err(error) => superseded(&mut committer, error, &[]),
                }
            }
            Process::Place(mut commit) if commit.placed < commit.files.len() => {
                let placed = commit.placed;
                match commit.committer.place(&commit.files[placed..=placed]) {
                    Ok(()) => {
                        commit.placed += 1;
                        Process::Place(commit)
                    }
                    Err(error) => superseded(&mut commit.committer, error, &commit.files),
                }
            }
            Process::Place(mut commit) => {
                match commit.committer.record(&commit.files, &passed(&commit.ends)) {
                    Ok(()) => {}
                    Err(error) => return superseded(&mut commit.committer, error, &commit.files),
                }
                if commit.committer.checkpoint_due() {
                    commit.committer.checkpoint();
                }
                Process::Stage(Box::new(commit.committer))
            }
        }
    }

    fn run(&mut self, fixture: &Fixture, events: Vec<Event>) {
        let mut processes = [const { Process::Dead }; PROCESSES];
        for event in events {
            match event {
                Event::Append(partition, times) => self.append(partition, &times),
                Event::Begin(process, share) => {
                    processes[process] = Process::Dead;
                    processes[process] = Process::ClearUp(Box::new(fixture.begin(SHARES[share])));
                }
                Event::Step(process) => {
                    let stepped = std::mem::replace(&mut processes[process], Process::Dead);
                    processes[process] = self.step(stepped);
                }
                Event::Kill(process) => processes[process] = Process::Dead,
            }
            assert_seen_once(fixture);
        }
        // Those who are left wake up in the end, while the table is somebody else's.
        let mut last = self.step(Process::ClearUp(Box::new(fixture.begin(&ALL))));
        for process in processes {
            let mut process = process;
            for _ in 0..20 {
                process = self.step(process);
                assert_seen_once(fixture);
            }
        }
        for _ in 0..2 {
            last = self.step(last);
            while matches!(last, Process::Place(_)) {
                last = self.step(last);
            }
        }
    }
}

fn superseded(committer: &mut Committer, error: SinkError, files: &[StagedFile]) -> Process {
    let error = committer.explained(error, files);
    assert!(matches!(error, SinkError::Fenced { .. }), "{error}");
    Process::Dead
}

/// No reader sees a row twice at any time, neither by log nor by glob.
fn assert_seen_once(fixture: &Fixture) {
    if !fixture.table_dir().join("_delta_log/00000000000000000000.json").exists() {
        return;
    }
    let (files, named) = (fixture.glob(), logged(&fixture.table()));
    assert!(named.iter().all(|file| files.contains(file)), "a committed file is missing");
    let seen = seqs(&files);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "seen twice: {seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn each_row_is_seen_once_whoever_owned_its_partition(events in vec(event(), 1..80)) {
        let mut fixture = Fixture::shared();
        fixture.config.checkpoint_commits = 3;
        let mut world = World::default();
        world.run(&fixture, events);
        let files = fixture.glob();
        prop_assert_eq!(&files, &logged(&fixture.table()));
        prop_assert_eq!(seqs(&files), (0..world.next_seq).collect::<Vec<i64>>());
    }
}
