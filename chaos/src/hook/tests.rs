//! Requests over loopback. Reads have a limit of time only so that a failure ends; nothing is concluded from time.

use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const HEADER: &str = "number,received_at,hook,rule,device,boot,seq,metric,time,key,status,done,new";

struct World {
    hook: Hook,
    record: Arc<Mutex<Record>>,
    directory: TempDir,
}

impl World {
    fn new(mood: Mood) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let record = Arc::new(Mutex::new(Record::create(&directory.path().join("hooks.csv")).unwrap()));
        let hook = Hook::start("ops", (Ipv4Addr::LOCALHOST, 0).into(), &record, 7).unwrap();
        hook.plan(Plan::always(mood));
        Self { hook, record, directory }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.hook.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Ends the hook: its tally, and the lines of its file without number and time.
    fn finish(self) -> (Tally, Vec<String>) {
        let tally = self.hook.finish().unwrap();
        self.record.lock().unwrap().flush().unwrap();
        let text = std::fs::read_to_string(self.directory.path().join("hooks.csv")).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some(HEADER));
        (tally, lines.map(|line| line.splitn(3, ',').last().unwrap().to_owned()).collect())
    }
}

fn request(key: &str, seq: i64) -> String {
    let body = format!(
        r#"{{"id":"{key}","subject":"pump-1","data":{{"rule":"hot","boot":3,"seq":{seq},"metric":"t","time":"2026-01-01T00:00:00Z"}}}}"#
    );
    format!("POST /x HTTP/1.1\r\nHost: h\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Sends a request and reads what comes back until there is an empty line, or the end.
fn ask(mut stream: &TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        answer.extend(byte);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_key_is_new_once_and_every_request_has_its_line() {
    let world = World::new(Mood::Well);
    let stream = world.connect();
    for (key, seq) in [("a-0", 1), ("b-0", 2), ("a-0", 1)] {
        assert!(ask(&stream, &request(key, seq)).starts_with("HTTP/1.1 204 "));
    }
    let (tally, lines) = world.finish();
    assert_eq!((tally.requests, tally.keys, tally.misshapen), (3, 2, 0));
    let line = |seq, key, new| format!("ops,hot,pump-1,3,{seq},t,2026-01-01T00:00:00Z,{key},204,1,{new}");
    assert_eq!(lines, [line(1, "a-0", 1), line(2, "b-0", 1), line(1, "a-0", 0)]);
}

#[test]
fn what_is_not_done_is_not_counted_whatever_is_answered() {
    for (mood, status) in [(Mood::Fails, "500"), (Mood::Busy, "429")] {
        let world = World::new(mood);
        let answer = ask(&world.connect(), &request("a-0", 1));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.contains("retry-after: 1\r\n"), mood == Mood::Busy);
        let (tally, lines) = world.finish();
        assert_eq!((tally.requests, tally.keys), (1, 0));
        assert!(lines[0].ends_with(&format!("a-0,{status},0,0")), "{lines:?}");
    }
}

#[test]
fn a_mute_hook_does_it_and_says_nothing() {
    let world = World::new(Mood::Mute);
    assert_eq!(ask(&world.connect(), &request("a-0", 1)), "");
    let (tally, lines) = world.finish();
    assert_eq!(tally.keys, 1);
    assert!(lines[0].ends_with("a-0,,1,1"), "{lines:?}");
}

#[test]
fn a_reset_comes_before_any_answer() {
    let world = World::new(Mood::Resets);
    let mut stream = world.connect();
    stream.write_all(request("a-0", 1).as_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.finish().0.keys, 0);
}

#[test]
fn a_hook_that_hangs_ends_with_the_caller_or_when_it_is_told() {
    let world = World::new(Mood::Hangs);
    let (gone, mut waiting) = (world.connect(), world.connect());
    for mut stream in [&gone, &waiting] {
        stream.write_all(request("a-0", 1).as_bytes()).unwrap();
    }
    clock_wait(|| world.hook.tally().requests == 2);
    drop(gone);
    let (tally, lines) = world.finish();
    assert_eq!((tally.keys, lines.len()), (0, 2));
    // Closed, without an answer.
    assert_eq!(waiting.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn an_event_under_another_key_is_misshapen() {
    let world = World::new(Mood::Well);
    let stream = world.connect();
    ask(&stream, &request("a-0", 1).replace("Key: a-0", "Key: b-0"));
    ask(&stream, "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!(world.finish().0.misshapen, 2);
}

#[test]
fn moods_follow_from_seed_and_time() {
    let plan = Plan::moody(&Mood::ALL, Duration::from_secs(1));
    let moods = |seed| (0..50).map(|second| plan.mood(seed, Duration::from_secs(second))).collect::<Vec<_>>();
    assert_eq!(moods(1), moods(1));
    assert_ne!(moods(1), moods(2));
    assert!(Mood::ALL.iter().all(|mood| moods(1).contains(mood)), "{:?}", moods(1));
    assert_eq!(plan.mood(1, Duration::from_millis(3_999)), plan.mood(1, Duration::from_secs(3)));
}

fn clock_wait(condition: impl Fn() -> bool) {
    crate::clock::wait_for(PATIENCE, || condition().then_some(())).expect("the condition comes true");
}
