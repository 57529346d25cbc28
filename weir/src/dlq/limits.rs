//! Bounds of what one request about dead letters does, each with its reason.

use std::time::Duration;

/// Letters in one answer, and letters redriven or dropped by one request: what a connection waits for, and what the
/// process holds for it.
pub(crate) const PAGE_LETTERS: usize = 1000;
/// Bytes of the log asked for at once. One record is read whole, at most some 5 MiB.
pub(super) const READ_BYTES: usize = 1024 * 1024;
/// Bytes of letters looked at by one request: a filter that matches nothing must end before the connection does.
pub(super) const SCAN_BYTES: usize = 64 * 1024 * 1024;
/// How long a letter waits for room in the intake, and then for the disk: the log may be full, and says so then.
pub(super) const PUT_BACK: Duration = Duration::from_secs(20);
/// Cache of the marks in memory; redb's own default is 1 GiB.
pub(super) const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Longest text of one letter in a list, in characters: a topic may have 64 KiB. `show` gives all of it.
pub(super) const LIST_CHARS: usize = 300;
