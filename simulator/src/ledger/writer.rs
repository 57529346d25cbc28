//! Writes a ledger.

use std::fmt::Write as _;
use std::path::Path;

use super::{Entry, Error, HEADER};
use crate::lines;

/// A ledger that is being written: many devices, one thread that owns the file.
#[derive(Debug)]
pub struct Writer(lines::Writer);

/// A handle to a [`Writer`], for one device.
#[derive(Clone, Debug)]
pub struct Sender(lines::Sender);

impl Writer {
    /// Opens the ledger at `path`. One that exists is continued, its torn last line cut: a device that
    /// restarts goes on with a higher boot, and what it was promised before still counts.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// If the file cannot be written, holds something else, or is written by another fleet.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        lines::Writer::open(path.as_ref(), &HEADER).map(Self)
    }

    /// A handle to write entries with.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender(self.0.sender())
    }

    /// Waits until all handles are gone and what they sent is in the file.
    ///
    /// # Errors
    /// If the file could not be written.
    pub async fn finish(self) -> Result<(), Error> {
        self.0.finish().await
    }
}

impl Sender {
    /// Hands `entry` over; waits while the queue is full.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the file could not be written: what is published now is not accounted for, so
    /// the device must stop.
    pub async fn send(&self, entry: Entry) -> Result<(), Error> {
        self.0.send(line(&entry)).await
    }
}

fn line(entry: &Entry) -> String {
    let Entry { device, boot, seq, readings, acknowledged_at } = entry;
    let mut line = lines::field(device);
    // Writing to a string cannot fail.
    write!(line, ",{boot},{seq},{readings},").ok();
    if let Some(time) = acknowledged_at {
        write!(line, "{}", time.as_micros()).ok();
    }
    line.push('\n');
    line
}
