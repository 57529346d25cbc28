//! HTTP/1.1 as far as a hook needs it: a request with a body of known length, and the event in it.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

use crate::clock;

/// Largest head and largest body; what Weir sends is far smaller.
const HEAD_BYTES: usize = 16 * 1024;
const BODY_BYTES: usize = 1024 * 1024;
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// The header that carries the key.
const KEY: &str = "idempotency-key";

/// A request.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// When its first byte was there, in microseconds since the harness's start.
    pub(super) at: u64,
    /// Idempotency key of the header, empty without one.
    pub(super) key: String,
    /// What the body says; empty if it is no event.
    pub(super) event: Event,
}

/// What a hook reads of a CloudEvent.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) data: Data,
}

/// What fired.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Data {
    pub(super) rule: String,
    pub(super) boot: Option<i64>,
    pub(super) seq: Option<i64>,
    /// None for a rule on messages.
    pub(super) metric: Option<String>,
    /// Of the reading, RFC 3339.
    pub(super) time: String,
}

/// Requests of one connection, which may come behind each other.
#[derive(Debug)]
pub(super) struct Requests<'a> {
    stream: &'a TcpStream,
    ended: &'a AtomicBool,
    buffer: Vec<u8>,
}

impl<'a> Requests<'a> {
    /// Those of `stream`, which has a read timeout, until `ended`.
    pub(super) fn new(stream: &'a TcpStream, ended: &'a AtomicBool) -> Self {
        Self { stream, ended, buffer: Vec::new() }
    }

    /// The next one; `None` when the peer has closed, or the hook has ended.
    ///
    /// # Errors
    /// If the connection breaks, or what comes is no request.
    pub(super) fn next(&mut self) -> io::Result<Option<Request>> {
        if self.buffer.is_empty() && !self.read()? {
            return Ok(None);
        }
        let at = clock::micros();
        let Some((key, begin, end)) = self.whole()? else { return Ok(None) };
        let event = self.buffer.get(begin..end).and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
        self.buffer.drain(..end);
        Ok(Some(Request { at, key, event }))
    }

    /// Waits until the peer closes, whatever it sends.
    pub(super) fn wait_for_end(&mut self) -> io::Result<()> {
        while self.read()? {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Reads until a request is whole; its key, and where its body is.
    fn whole(&mut self) -> io::Result<Option<(String, usize, usize)>> {
        loop {
            if let Some(head) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(self.buffer.get(..head).unwrap_or_default()).into_owned();
                let length = header(&text, "content-length").and_then(|length| length.parse().ok());
                let length: usize = length.filter(|length| *length <= BODY_BYTES).ok_or_else(no_request)?;
                let (begin, end) = (head + 4, head + 4 + length);
                if self.buffer.len() >= end {
                    return Ok(Some((header(&text, KEY).unwrap_or_default().to_owned(), begin, end)));
                }
            } else if self.buffer.len() > HEAD_BYTES {
                return Err(no_request());
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Reads some bytes; false at the end.
    fn read(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        loop {
            if self.ended.load(Ordering::SeqCst) {
                return Ok(false);
            }
            match self.stream.read(&mut chunk) {
                Ok(count) => {
                    self.buffer.extend(chunk.iter().take(count));
                    return Ok(count > 0);
                }
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn no_request() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "no request with a length")
}
