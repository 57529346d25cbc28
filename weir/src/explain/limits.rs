//! Bounds of one explanation, each with its reason.

use std::time::Duration;

/// How long a request may search: what is found by then is told, and a connection ends after 60 s.
pub(crate) const REQUEST: Duration = Duration::from_secs(20);
/// How long a command may search whose streams nobody else uses.
pub(crate) const COMMAND: Duration = Duration::from_secs(600);
/// Bytes of the stream of readings that a request may look at, some 10 million readings: reading them must not push the
/// door's segments out of the page cache.
pub(crate) const REQUEST_BYTES: u64 = 512 * 1024 * 1024;
/// Bytes of the streams of alerts, of firings and of letters that are looked at, each. They hold far less than readings.
pub(crate) const DERIVED_BYTES: u64 = 64 * 1024 * 1024;
/// How far the clocks of two machines that append may differ, or one clock have jumped: so much earlier a search for what
/// followed a reading begins.
pub(super) const CLOCKS: Duration = Duration::from_secs(60);
/// Bytes of the log asked for at once.
pub(super) const READ_BYTES: usize = 1024 * 1024;
/// Records read at once where a search goes back: some MiB.
pub(super) const BLOCK_RECORDS: u64 = 64;
/// Times that one message is told to be in the stream. A device that sends it more often is told so by the last of them.
pub(super) const COPIES: usize = 20;
/// Alerts, and runs, of one message: rules times readings may be many.
pub(super) const ALERTS: usize = 200;
/// Letters whose boot and seq are not known.
pub(super) const UNCERTAIN_LETTERS: usize = 5;
/// Letters that are the message.
pub(super) const LETTERS: usize = 20;
/// Rows of Parquet decoded at once: three narrow columns.
pub(super) const BATCH_ROWS: usize = 65_536;
