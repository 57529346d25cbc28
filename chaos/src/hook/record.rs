//! What hooks were asked: a file with a line for each request, and the keys they know.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::mood::Mood;
use super::request::Request;

/// Bytes between two writes to the file.
const BUFFER: usize = 64 * 1024;

/// What one hook saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Requests read to their end.
    pub(crate) requests: u64,
    /// Keys that were done for the first time.
    pub(crate) keys: u64,
    /// Requests whose body is not the event that its key names. Each is a broken promise.
    pub(crate) misshapen: u64,
    /// Requests by mood.
    pub(crate) moods: BTreeMap<Mood, u64>,
}

/// The file that the hooks of a round share.
#[derive(Debug)]
pub(crate) struct Record {
    lines: csv::Writer<File>,
    /// Requests so far.
    number: u64,
    /// Keys done, by hook. As many as there are firings in a round: thousands.
    done: HashMap<&'static str, HashSet<String>>,
    tallies: HashMap<&'static str, Tally>,
}

/// A request that was read, to be written down once it is answered.
#[derive(Debug)]
pub(super) struct Noted {
    number: u64,
    new: bool,
    done: bool,
}

/// A line of the file. `received_at` is microseconds since the harness's start, when the first byte of the request was there;
/// `number` counts the requests of all hooks as they were read to their end; `status` is empty without an answer, or
/// if it could not be written; `done` and `new` are 0 or 1.
#[derive(Debug, Serialize)]
struct Line<'a> {
    number: u64,
    received_at: u64,
    hook: &'static str,
    rule: &'a str,
    device: &'a str,
    boot: Option<i64>,
    seq: Option<i64>,
    metric: Option<&'a str>,
    time: &'a str,
    key: &'a str,
    status: Option<u16>,
    done: u8,
    new: u8,
}

impl Record {
    /// Writes the file at `path` anew.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut lines = csv::WriterBuilder::new().has_headers(false).buffer_capacity(BUFFER).from_writer(file);
        let header = [
            "number",
            "received_at",
            "hook",
            "rule",
            "device",
            "boot",
            "seq",
            "metric",
            "time",
            "key",
            "status",
            "done",
            "new",
        ];
        lines.write_record(header).context("write the file of requests")?;
        Ok(Self { lines, number: 0, done: HashMap::new(), tallies: HashMap::new() })
    }

    /// What hook `name` saw so far.
    pub(super) fn tally(&self, name: &'static str) -> Tally {
        self.tallies.get(name).cloned().unwrap_or_default()
    }

    /// A request was read to its end, and is treated by `mood`.
    pub(super) fn note(&mut self, hook: &'static str, request: &Request, mood: Mood) -> Noted {
        self.number += 1;
        let done = mood.does();
        let new = done && self.done.entry(hook).or_default().insert(request.key.clone());
        let tally = self.tallies.entry(hook).or_default();
        tally.requests += 1;
        tally.keys += u64::from(new);
        tally.misshapen += u64::from(request.key.is_empty() || request.event.id != request.key);
        *tally.moods.entry(mood).or_default() += 1;
        Noted { number: self.number, new, done }
    }

    /// And it ended with `status`, or without an answer.
    pub(super) fn answered(
        &mut self,
        hook: &'static str,
        request: &Request,
        noted: &Noted,
        status: Option<u16>,
    ) -> anyhow::Result<()> {
        let data = &request.event.data;
        let line = Line {
            number: noted.number,
            received_at: request.at,
            hook,
            rule: &data.rule,
            device: &request.event.subject,
            boot: data.boot,
            seq: data.seq,
            metric: data.metric.as_deref(),
            time: &data.time,
            key: &request.key,
            status,
            done: u8::from(noted.done),
            new: u8::from(noted.new),
        };
        self.lines.serialize(line).context("write the file of requests")
    }

    /// Completes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.lines.flush().context("write the file of requests")
    }
}
