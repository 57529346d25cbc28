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

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use telemetry::Timestamp;

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

/// Why a ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, read or written.
    #[error("ledger {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is something else. It is left as it is.
    #[error("{} is not a ledger: its first line is not `{}`", path.display(), HEADER.join(","))]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// Another writer has it open: two fleets must not mix their lines.
    #[error("ledger {} is written by another fleet", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A line inside the file is damaged.
    #[error("ledger {}, line {line}: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The writer has stopped; [`Writer::finish`] says why.
    #[error("the ledger is not written any more")]
    Stopped,
}

/// Length of `file` up to and with its last line end: what follows is a torn line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 4096;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
