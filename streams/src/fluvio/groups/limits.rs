//! Bounds of the coordination of groups, with their reasons.

use std::time::Duration;

/// Bytes of the state of one position, at most: deduplication of 80,000 devices in one partition. A record of the topic
/// is this and some hundred bytes.
pub(in crate::fluvio) const STATE_BYTES: usize = 8 * 1024 * 1024;
/// Size of a segment of the topic: above the largest record.
pub(in crate::fluvio) const SEGMENT_BYTES: u32 = 16 * 1024 * 1024;
/// Bytes that the cluster keeps of one partition of the topic. A start reads them, so they are few; how long they last
/// depends on the states: 1 MiB each 5 s lasts ten minutes, and nothing is lost by it ([`CARRY_BYTES`]).
pub(in crate::fluvio) const PARTITION_BYTES: u64 = 128 * 1024 * 1024;
/// How long the cluster keeps the topic, if less than that: the time for which all processes may be stopped.
pub(in crate::fluvio) const RETENTION: Duration = Duration::from_secs(366 * 86_400);

/// What was last said of a group is said again when this much was said after it: a quarter of what the cluster keeps,
/// so that the newest position of a group that stopped is never deleted.
pub(super) const CARRY_BYTES: u64 = PARTITION_BYTES / 4;
/// And when at least this much time has passed, for a topic that was made with a shorter retention. It can take nearly
/// four times as long, which is less than an hour, the least that the configuration allows.
pub(super) const CARRY_AGE: Duration = Duration::from_secs(10 * 60);
/// Looks at a commit that the cluster took and that cannot be seen, before that counts as an error.
pub(super) const COMMIT_LOOKS: u32 = 10;
/// Renewals in the time of a lease: one may be lost, and the next still comes in time.
pub(super) const RENEWALS: u32 = 3;
/// Part of a lease by which an owner gives up earlier, and others wait longer: clocks of two machines run equally fast
/// to far less than that.
pub(super) const MARGIN: u32 = 10;
/// Part of a lease between two looks at something awaited.
pub(super) const LOOKS: u32 = 40;
/// Reads that bring nothing though the partition goes on, before the cluster counts as unavailable.
pub(super) const EMPTY_READS: u32 = 10;
/// How long one such read waits.
pub(super) const READ_WAIT: Duration = Duration::from_millis(500);
