//! What can be set about the log.

use std::path::PathBuf;
use std::time::Duration;

use super::format::{FRAME_HEADER_BYTES, LENGTH_BYTES};
use crate::contract::Error;

/// Most partitions of all streams together: each group on disk carries an offset of each.
pub(super) const PARTITIONS: usize = 65_536;
/// Bytes gathered into one group commit, unless one submitted group alone is larger: enough for the disk's
/// full throughput, little enough that the write does not hold up the next sync for long.
pub(super) const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Settings of the embedded log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Directory of the log; created if missing. Default `data/streams`.
    pub dir: PathBuf,
    /// Bytes after which a segment is closed and the next one begun. Retention deletes in steps of it, and a
    /// restart reads one segment of this size when the tail beside it is lost. Default 256 MiB; 1 KiB to 2 GiB.
    pub segment_bytes: u64,
    /// Bytes of all segments at which [`crate::Streams::submit`] refuses, when nothing may be deleted. What is
    /// in the queue is still written, so the disk needs `queue_bytes` and one segment more. The tail of the
    /// active segment, 16 bytes a record, is not counted. Default 16 GiB; at least 1 KiB.
    pub quota_bytes: u64,
    /// Bytes of segments kept for reading again; more is deleted, oldest first, once all registered consumers
    /// passed it. Default 2 GiB; the quota is its upper bound.
    pub retention_bytes: u64,
    /// Age at which segments are deleted once all registered consumers passed them. Default 7 days; no bound.
    pub retention_age: Duration,
    /// Bytes submitted and not yet written; `submit` waits for room. A group larger than this is refused.
    /// Default 32 MiB; 1 KiB to 1 GiB.
    pub queue_bytes: usize,
    /// Largest payload of one record, in bytes; a larger one is refused. Default 16 MiB; 1 byte to 1 GiB.
    pub record_bytes: usize,
    /// Whether a group is synced before it counts as durable. Default true. Without it nothing is promised any
    /// more: only for measuring what the sync costs.
    pub sync: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data/streams"),
            segment_bytes: 256 * MIB,
            quota_bytes: 16 * 1024 * MIB,
            retention_bytes: 2 * 1024 * MIB,
            retention_age: Duration::from_secs(7 * 24 * 60 * 60),
            queue_bytes: 32 * 1024 * 1024,
            record_bytes: 16 * 1024 * 1024,
            sync: true,
        }
    }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: usize = 1024 * 1024 * 1024;

impl LogConfig {
    /// Room in the queue for a record with a payload of `bytes`.
    pub(super) fn charge(bytes: usize) -> usize {
        FRAME_HEADER_BYTES + LENGTH_BYTES + bytes
    }

    /// Refuses what is out of bounds. The upper bounds keep every position in a segment below 2^32.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refused = |what: &str| Err(Error::Incompatible(what.to_owned()));
        if !(KIB..=2 * 1024 * MIB).contains(&self.segment_bytes) {
            return refused("segment_bytes must be 1 KiB to 2 GiB");
        }
        if self.quota_bytes < KIB {
            return refused("quota_bytes must be at least 1 KiB");
        }
        if self.record_bytes == 0 || self.record_bytes > GIB {
            return refused("record_bytes must be 1 byte to 1 GiB");
        }
        if !(1024..=GIB).contains(&self.queue_bytes) {
            return refused("queue_bytes must be 1 KiB to 1 GiB");
        }
        Ok(())
    }
}
