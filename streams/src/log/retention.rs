//! Which segments may be deleted: a function of sizes, ages and positions.

use std::collections::VecDeque;

use telemetry::Timestamp;

use super::config::LogConfig;
use super::view::{Sealed, at};
use crate::faults::{Tooth, tooth};

/// Whether the oldest segment may be deleted. `active_starts` are the next offsets when the active segment
/// began, `passed` the lowest position in each slot, `used` the bytes of all segments.
///
/// A segment goes if there is too much or it is too old, and only if every registered group passed all its
/// records. A slot without a group holds nothing back.
pub(super) fn expired(
    sealed: &VecDeque<Sealed>,
    active_starts: &[u64],
    passed: &[Option<u64>],
    used: u64,
    config: &LogConfig,
    now: Timestamp,
) -> bool {
    let Some(oldest) = sealed.front() else { return false };
    let too_much = used > config.retention_bytes.min(config.quota_bytes);
    let too_old = now.since(oldest.newest) >= config.retention_age;
    let ends = sealed.get(1).map_or(active_starts, |next| &next.starts);
    (too_much || too_old) && all_passed(&oldest.starts, ends, passed)
}

/// Whether all records from `starts` to `ends` were passed by every group registered in their partition.
pub(super) fn all_passed(starts: &[u64], ends: &[u64], passed: &[Option<u64>]) -> bool {
    tooth(Tooth::RetentionIgnoresConsumers)
        || passed.iter().enumerate().all(|(slot, passed)| {
            let (start, end) = (at(starts, slot), at(ends, slot));
            start == end || passed.is_none_or(|passed| passed >= end)
        })
}
