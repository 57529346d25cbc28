//! What a fleet published and what of it was acknowledged: one line of CSV per message.
//!
//! A line is written when the PUBACK has arrived; what is still unacknowledged at the end of a run is written
//! then, without a time. After a kill the file is a prefix of that, perhaps with a torn last line, which
//! readers ignore. So the ledger never claims an acknowledgement that did not happen; at worst it misses the
//! last ones.

mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use telemetry::Timestamp;

pub use crate::lines::Error;
pub use reader::{Reader, read};
pub use writer::{Sender, Writer};

/// First line of a ledger; times are microseconds since the Unix epoch, empty if there is none.
pub const HEADER: [&str; 5] = ["device", "boot", "seq", "readings", "acknowledged_at"];

/// One message of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who published it.
    pub device: Arc<str>,
    /// Restart counter of the device.
    pub boot: i64,
    /// Number of the message since that restart.
    pub seq: i64,
    /// How many readings it carries.
    pub readings: u32,
    /// When its PUBACK arrived; `None` if it never did, and then it may or may not be stored.
    pub acknowledged_at: Option<Timestamp>,
}
