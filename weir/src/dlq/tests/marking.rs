//! The file of marks.

use super::*;

fn dropped(letter: &str) -> (LetterId, Mark) {
    (id(letter), Mark { redrives: 0, dropped: true, at: Some(Timestamp::from_micros(NOW)) })
}

#[test]
fn marks_are_there_after_a_restart_and_go_with_their_letters() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dlq.redb");
    let marks = Marks::open(&path).unwrap();
    let redriven = (id("ingest-5-1"), Mark { redrives: 2, dropped: false, at: Some(Timestamp::from_micros(NOW + 1)) });
    marks.set(&[dropped("ingest-4-0"), redriven, dropped("workflow-4-0")], &[]).unwrap();
    drop(marks);
    let marks = Marks::open(&path).unwrap();
    let found = marks.of(&[id("ingest-5-1"), id("ingest-4-0"), id("ingest-4-1")]).unwrap();
    assert_eq!(found, [redriven.1, dropped("ingest-4-0").1, Mark::default()]);
    let states: Vec<State> = found.iter().map(Mark::state).collect();
    assert_eq!(states, [State::Redriven, State::Dropped, State::Waiting]);
    // The log forgot records 0 to 4 of one stream.
    marks.set(&[dropped("ingest-6-0")], &[(Source::Ingest, 5), (Source::Workflows, 0)]).unwrap();
    assert_eq!(marks.count(), 3);
    assert_eq!(marks.of(&[id("ingest-4-0")]).unwrap(), [Mark::default()]);
    assert_eq!(marks.of(&[id("workflow-4-0")]).unwrap(), [dropped("workflow-4-0").1]);
}

#[test]
fn a_damaged_file_is_put_aside_and_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dlq.redb");
    for number in 1..=3 {
        let marks = Marks::open(&path).unwrap();
        assert_eq!(marks.count(), 0, "round {number}");
        marks.set(&[dropped("ingest-4-0")], &[]).unwrap();
        drop(marks);
        let length = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
        match number {
            1 => std::fs::write(&path, b"no store at all").unwrap(),
            2 => std::fs::write(&path, vec![0xa5; length]).unwrap(),
            _ => {
                let mut bytes = std::fs::read(&path).unwrap();
                // Past the header: a page that redb checks when it opens the file.
                bytes[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
                std::fs::write(&path, bytes).unwrap();
            }
        }
        drop(Marks::open(&path).unwrap());
        assert!(path.with_extension(format!("redb.damaged-{number}")).exists(), "round {number}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing/dlq.redb");
    let error = format!("{:#}", Marks::open(&path).unwrap_err());
    assert!(error.contains("missing/dlq.redb"), "{error}");
}
