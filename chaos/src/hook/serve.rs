//! The threads of a hook: one accepts, and one serves each connection.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::net::sockopt;

use super::mood::{Mood, Plan};
use super::record::Record;
use super::request::Requests;
use crate::clock;

/// Connections at once; further ones are closed. Weir has 16 attempts under way at a target, and those that it gave up
/// end soon.
const CONNECTIONS: usize = 256;
/// How long a slow answer takes: less than the timeout of the rules.
const SLOW: Duration = Duration::from_millis(200);
/// How often a connection that waits looks whether the hook has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What the threads of a hook share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) plan: Mutex<Plan>,
    pub(super) record: Arc<Mutex<Record>>,
    pub(super) ended: AtomicBool,
    seed: u64,
    began: Instant,
}

impl Server {
    pub(super) fn new(name: &'static str, record: Arc<Mutex<Record>>, seed: u64) -> Self {
        let plan = Mutex::new(Plan::always(Mood::Well));
        Self { name, plan, record, ended: AtomicBool::new(false), seed, began: clock::now() }
    }

    fn mood(&self) -> Mood {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).mood(self.seed, clock::since(self.began))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts until the hook has ended, then waits for its connections.
///
/// # Errors
/// If a connection could not be accepted, or a request not be written down.
pub(super) fn run(listener: &TcpListener, server: &Arc<Server>) -> anyhow::Result<()> {
    let mut connections: Vec<JoinHandle<anyhow::Result<()>>> = Vec::new();
    loop {
        let (stream, _) = listener.accept().context("accept a request")?;
        for connection in connections.extract_if(.., |connection| connection.is_finished()) {
            joined(connection)?;
        }
        if server.ended.load(Ordering::SeqCst) {
            return connections.into_iter().try_for_each(joined);
        }
        if connections.len() < CONNECTIONS {
            let server = Arc::clone(server);
            connections.push(thread::Builder::new().name("hook".into()).spawn(move || connection(&stream, &server))?);
        }
    }
}

fn joined(connection: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    connection.join().unwrap_or_else(|_| Err(anyhow!("a connection of a hook panicked")))
}

/// Serves one connection. That it breaks is no error: whoever called may have been killed.
fn connection(stream: &TcpStream, server: &Server) -> anyhow::Result<()> {
    if stream.set_read_timeout(Some(LOOK)).is_err() || stream.set_nodelay(true).is_err() {
        return Ok(());
    }
    let mut requests = Requests::new(stream, &server.ended);
    while let Ok(Some(request)) = requests.next() {
        let mood = server.mood();
        let noted = server.record().note(server.name, &request, mood);
        let status = treat(stream, &mut requests, mood).unwrap_or(None);
        server.record().answered(server.name, &request, &noted, status)?;
        if status.is_none() {
            break;
        }
    }
    Ok(())
}

/// Does with a request what `mood` says; the status it was answered with.
fn treat(stream: &TcpStream, requests: &mut Requests<'_>, mood: Mood) -> io::Result<Option<u16>> {
    match mood {
        Mood::Well => answer(stream, 204, "No Content", ""),
        Mood::Fails => answer(stream, 500, "Internal Server Error", ""),
        Mood::Busy => answer(stream, 429, "Too Many Requests", "retry-after: 1\r\n"),
        Mood::Slow => {
            clock::pause(SLOW);
            answer(stream, 204, "No Content", "")
        }
        Mood::Hangs => requests.wait_for_end().map(|()| None),
        Mood::Resets => {
            // With no time to linger, closing sends RST instead of FIN.
            sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
            Ok(None)
        }
        Mood::Mute => Ok(None),
    }
}

fn answer(mut stream: &TcpStream, status: u16, words: &str, more: &str) -> io::Result<Option<u16>> {
    // A 204 has no body, and says no length.
    let length = if status == 204 { "" } else { "content-length: 0\r\n" };
    stream.write_all(format!("HTTP/1.1 {status} {words}\r\n{length}{more}\r\n").as_bytes())?;
    Ok(Some(status))
}
