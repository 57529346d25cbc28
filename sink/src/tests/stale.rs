//! An owner that stood still in each step of its commit, while somebody took its partition over.

use std::collections::BTreeMap;
use std::fs;

use super::support::{Fixture, HOUR, Row, START, logged, partition_rows, passed, row, seqs};
use crate::SinkError;
use crate::commit::{Committer, StagedFile};
use crate::error::SinkError::Fenced;

/// After which step the owner stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Nothing,
    Staged,
    PlacedHalf,
    Placed,
}

/// How far the new owner comes meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takeover {
    Fenced,
    Opened,
    Committed,
    /// Taken over a second time.
    Twice,
}

const STEPS: [Step; 4] = [Step::Nothing, Step::Staged, Step::PlacedHalf, Step::Placed];
const TAKEOVERS: [Takeover; 4] = [Takeover::Fenced, Takeover::Opened, Takeover::Committed, Takeover::Twice];

/// A commit of rows of two hours, step by step.
struct Owner {
    committer: Committer,
    files: Vec<StagedFile>,
    placed: usize,
}

fn rows() -> Vec<Row> {
    vec![row("a", START, 1), row("a", START + HOUR, 2)]
}

impl Owner {
    fn new(fixture: &Fixture) -> Self {
        Self { committer: fixture.committer(&[0]), files: Vec::new(), placed: 0 }
    }

    fn up_to(&mut self, step: Step) -> Result<(), SinkError> {
        if step >= Step::Staged && self.files.is_empty() {
            self.files = self.committer.stage(BTreeMap::from([(0, partition_rows(&[(0, rows())]))]))?;
            assert_eq!(self.files.len(), 2);
        }
        let placed = match step {
            Step::PlacedHalf => 1,
            Step::Placed => 2,
            _ => 0,
        };
        if placed > self.placed {
            self.committer.place(&self.files[self.placed..placed])?;
            self.placed = placed;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let finished = self.up_to(Step::Placed).and_then(|()| self.committer.record(&self.files, &passed(&[(0, 1)])));
        finished.map_err(|error| self.committer.explained(error, &self.files))
    }
}

fn commit(fixture: &Fixture) -> Committer {
    let mut committer = fixture.committer(&[0]);
    let rows = BTreeMap::from([(0, partition_rows(&[(0, rows())]))]);
    committer.commit(rows, &passed(&[(0, 1)])).unwrap();
    committer
}

#[test]
fn a_stale_owner_shows_nothing_wherever_it_stood_and_however_far_the_new_one_came() {
    for step in STEPS {
        for takeover in TAKEOVERS {
            let fixture = Fixture::shared();
            let mut old = Owner::new(&fixture);
            old.up_to(step).unwrap();
            let begun = (takeover == Takeover::Fenced).then(|| fixture.begin(&[0]));
            let opened = (takeover == Takeover::Opened).then(|| fixture.committer(&[0]));
            let committed = matches!(takeover, Takeover::Committed | Takeover::Twice).then(|| commit(&fixture));
            let again = (takeover == Takeover::Twice).then(|| fixture.committer(&[0]));
            let before = fixture.glob();

            let error = old.finish().unwrap_err();
            let case = format!("{step:?}, {takeover:?}");
            assert!(matches!(error, Fenced { partition: 0, .. }), "{case}: {error}");
            if takeover != Takeover::Fenced {
                assert_eq!(fixture.glob(), before, "{case}: it placed nothing and took nothing away");
            }
            assert_eq!(fixture.glob(), logged(&fixture.table()), "{case}");
            drop((old, begun, opened, committed, again));
            if fixture.table().position("readings", 0).is_none() {
                commit(&fixture);
            }
            drop(fixture.committer(&[0]));
            assert_eq!(fixture.glob(), logged(&fixture.table()), "{case}");
            assert_eq!(seqs(&fixture.glob()), [1, 2], "{case}");
        }
    }
}

#[test]
fn a_stale_owner_that_is_killed_after_it_woke_leaves_nothing_either() {
    for step in STEPS {
        for wakes in [Step::Staged, Step::PlacedHalf, Step::Placed] {
            let fixture = Fixture::shared();
            let mut old = Owner::new(&fixture);
            old.up_to(step).unwrap();
            let new = commit(&fixture);
            // Wakes, goes on as far as it comes, and is killed.
            if wakes > step {
                old.up_to(wakes).unwrap_err();
            }
            drop(old);
            assert_eq!(fixture.glob(), logged(&fixture.table()), "{step:?}, {wakes:?}");
            assert_eq!(seqs(&fixture.glob()), [1, 2], "{step:?}, {wakes:?}");
            drop(new);
        }
    }
}

#[test]
fn an_opening_that_stood_still_deletes_nothing_of_the_next_owner() {
    let fixture = Fixture::shared();
    let mut killed = Owner::new(&fixture);
    killed.up_to(Step::PlacedHalf).unwrap();
    drop(killed);
    let slow = fixture.begin(&[0]);
    let new = commit(&fixture);
    let files = fixture.glob();
    let mut slow = Owner { committer: slow.finish().unwrap().committer, files: Vec::new(), placed: 0 };
    assert_eq!(fixture.glob(), files);
    slow.up_to(Step::Placed).unwrap_err();
    assert_eq!(fixture.glob(), files, "nor does it place anything");
    let error = slow.finish().unwrap_err();
    assert!(matches!(error, Fenced { partition: 0, .. }), "{error}");
    assert_eq!(fixture.glob(), files);
    assert_eq!(files, logged(&fixture.table()));
    drop(new);
}

#[test]
fn a_crash_between_fence_and_clearing_up_is_made_good_by_the_next_owner() {
    let fixture = Fixture::shared();
    let mut killed = Owner::new(&fixture);
    killed.up_to(Step::Placed).unwrap();
    drop(killed);
    drop(fixture.begin(&[0]));
    assert_eq!(fixture.glob().len(), 2, "still there");
    let opened = fixture.begin(&[0]).finish().unwrap();
    assert_eq!((opened.deleted, fixture.glob().len()), (2, 0));
    let staging = fixture.config.root.join(".staging/readings");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 1, "the staging directory of the owner");
}

#[test]
fn a_commit_that_was_made_and_said_to_exist_is_ours() {
    let fixture = Fixture::shared();
    let mut owner = Owner::new(&fixture);
    let before = owner.committer.version;
    owner.finish().unwrap();
    let (files, other) = (fixture.glob(), fixture.committer(&[1]));
    // The link was made, and its answer lost on the network; meanwhile somebody else committed.
    (owner.committer.version, owner.committer.positions) = (before, BTreeMap::new());
    owner.committer.record(&owner.files, &passed(&[(0, 1)])).unwrap();
    assert_eq!(owner.committer.version, before + 1);
    assert_eq!((fixture.table().version(), fixture.glob()), (before + 2, files));
    // And if it is told that the link failed, it takes nothing back.
    (owner.committer.version, owner.committer.positions) = (before, BTreeMap::new());
    let failed = SinkError::io("cannot sync", fixture.dir.path())(std::io::Error::other("no answer"));
    let error = owner.committer.explained(failed, &owner.files);
    assert!(matches!(error, SinkError::Io { .. }), "{error}");
    assert_eq!(fixture.glob(), logged(&fixture.table()));
    owner.committer.record(&[], &passed(&[(0, 2)])).unwrap();
    assert_eq!(fixture.table().position("readings", 0), Some(2), "nothing of the first is in the way");
    drop(other);
}
