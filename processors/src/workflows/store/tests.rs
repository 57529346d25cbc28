use std::fs;

use super::*;
use crate::workflows::run::RunState;
use crate::workflows::tests::plans::{firing, webhook};
use telemetry::Timestamp;

fn run(number: u64, ticket: u64) -> Run {
    let steps = [webhook("a"), webhook("b")];
    let firing = firing(u32::try_from(number).unwrap(), &format!("d-{number}"), &steps);
    let plan = Arc::new(serde_json::from_str(&firing.plan).unwrap());
    Run::new(number, ticket, firing, plan, at(0))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn put(run: &Run, before: Option<&Run>) -> Change {
    Change::Run { run: Box::new(run.clone()), before: before.map(Run::place) }
}

fn commit(store: &Store, changes: Vec<Change>) {
    store.commit(&Commit { changes, next_number: 50, next_ticket: 60, forget: None }).unwrap();
}

fn target() -> String {
    webhook("a").action.target()
}

#[test]
fn a_store_is_fresh_until_it_is_said_that_all_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert!(Store::open(dir.path()).unwrap().fresh);
    }
    Store::open(dir.path()).unwrap().store.confirm().unwrap();
    assert!(!Store::open(dir.path()).unwrap().fresh);
}

#[test]
fn a_file_that_is_no_store_is_put_aside_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("workflows.redb");
    for (number, content) in [(1, &b""[..]), (2, b"no store"), (3, &[0x5a; 100_000])] {
        fs::write(&path, content).unwrap();
        assert!(Store::open(dir.path()).unwrap().fresh);
        let aside = dir.path().join(format!("workflows.redb.damaged-{number}"));
        assert_eq!(fs::read(aside).unwrap(), content);
    }
}

#[test]
fn runs_come_back_as_they_were_and_stand_in_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, .. } = Store::open(dir.path()).unwrap();
    let runs: Vec<Run> = (1..=9).map(|number| run(number, 20 - number)).collect();
    commit(&store, runs.iter().map(|run| put(run, None)).collect());
    let mut moved = runs[0].clone();
    moved.steps[0].state = crate::workflows::StepState::Done;
    moved.steps[0].last = "200 OK".to_owned();
    moved.ticket = 30;
    let mut dead = runs[1].clone();
    dead.end(RunState::Dead, at(1));
    commit(&store, vec![put(&moved, Some(&runs[0])), put(&dead, Some(&runs[1]))]);
    drop(store);
    let Opened { store, begin, .. } = Store::open(dir.path()).unwrap();
    assert_eq!((begin.next_number, begin.next_ticket, begin.dead), (50, 60, 1));
    assert_eq!(begin.ready, [(target(), 7), (webhook("b").action.target(), 1)]);
    let waiting = store.ready(&target(), Some(12), 3).unwrap();
    assert_eq!(waiting.iter().map(|step| (step.ticket, step.number)).collect::<Vec<_>>(), [(13, 7), (14, 6), (15, 5)]);
    assert_eq!(waiting[0].device, "d-7".into());
    assert_eq!(format!("{:?}", store.runs(&[1, 99]).unwrap()), format!("{:?}", [&moved]));
    let seen = store.seen(&[runs[2].key, 12_345]).unwrap();
    assert_eq!(seen, [Some(Seen { number: 3, is_run: true }), None]);
}

#[test]
fn a_run_keeps_its_trace_and_one_without_is_written_as_before_there_were_any() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, .. } = Store::open(dir.path()).unwrap();
    let (plain, mut traced) = (run(1, 1), run(2, 2));
    Arc::make_mut(&mut traced.firing).trace = Some(crate::testing::context(7));
    commit(&store, vec![put(&plain, None), put(&traced, None)]);
    drop(store);
    let Opened { store, .. } = Store::open(dir.path()).unwrap();
    let read: Vec<_> = store.runs(&[1, 2]).unwrap().iter().map(|run| run.firing.trace).collect();
    assert_eq!(read, [None, Some(crate::testing::context(7))]);
    let written = |run: &Run| serde_json::to_value(Record::of(run)).unwrap();
    assert!(written(&plain).get("traceparent").is_none());
    // Nothing else of a run depends on it.
    let mut without = written(&traced);
    let traceparent = without.as_object_mut().unwrap().remove("traceparent");
    assert_eq!(traceparent, Some(crate::testing::context(7).to_string().into()));
    assert_eq!(without, written(&run(2, 2)));
}

#[test]
fn what_is_forgotten_is_forgotten_everywhere_and_a_later_run_of_the_same_key_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, .. } = Store::open(dir.path()).unwrap();
    let mut old = run(1, 1);
    old.end(RunState::Done, at(1));
    let mut dead = run(2, 2);
    dead.end(RunState::Dead, at(1));
    let again = Run { key: 77, ..run(4, 4) };
    let letter = Change::Letter { key: 77, number: 3, at: at(1).as_micros() };
    commit(&store, vec![letter, put(&old, None), put(&dead, None), put(&again, None)]);
    let forget = Some(Forget { before: at(2).as_micros(), keep_runs: 10 });
    let forgotten = store.commit(&Commit { forget, ..Commit::default() }).unwrap();
    assert_eq!(forgotten, 1);
    let seen = store.seen(&[old.key, dead.key, 77]).unwrap();
    assert_eq!(seen, [None, None, Some(Seen { number: 4, is_run: true })]);
    assert_eq!(store.runs(&[1, 2, 3, 4]).unwrap().len(), 1);
}

#[test]
fn a_copy_shows_the_runs_of_a_process_that_stopped_or_was_killed_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Store::copy(dir.path()).unwrap().is_none());
    let Opened { store, .. } = Store::open(dir.path()).unwrap();
    let first = run(1, 1);
    commit(&store, vec![put(&first, None)]);
    let error = Store::copy(dir.path()).unwrap_err().to_string();
    assert!(error.contains("already open"), "{error}");
    // What a kill leaves: nothing was closed.
    let killed = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("workflows.redb"), killed.path().join("workflows.redb")).unwrap();
    drop(store);
    for dir in [dir, killed] {
        let path = dir.path().join("workflows.redb");
        let before = fs::read(&path).unwrap();
        let copy = Store::copy(dir.path()).unwrap().unwrap();
        assert_eq!(format!("{:?}", copy.runs(&[1]).unwrap()), format!("{:?}", [&first]));
        assert_eq!(copy.seen(&[first.key]).unwrap(), [Some(Seen { number: 1, is_run: true })]);
        assert!(fs::read(&path).unwrap() == before, "the file is as it was");
    }
}
