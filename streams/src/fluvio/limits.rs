//! Every bound of this backend that is no option, with its reason.

use std::time::Duration;

/// Bytes of records that go in one flight, if more wait: large enough that the way there and back is paid rarely, small
/// against [`FETCH_BYTES`], so that little of a reply is a batch cut off.
pub(super) const FLIGHT_BYTES: usize = 512 * 1024;

/// Records of one flight: what a reader must look back to recognise a copy is counted in records.
pub(super) const FLIGHT_RECORDS: usize = 512;

/// Bytes asked for in one fetch, and so what a reader holds that nobody has taken yet.
pub(super) const FETCH_BYTES: usize = 2 * 1024 * 1024;

/// Bytes asked for when a single batch is larger than that. The cluster takes none of more than 32 MiB.
pub(super) const FETCH_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Bytes of a reply, at most: a fetch and what is around it. More is not from a server of Fluvio.
pub(super) const REPLY_BYTES: usize = FETCH_BYTES_MAX + 16 * 1024 * 1024;

/// What a record costs beside its payload, about: envelope, frame, and its place in queues. Empty records must not fill
/// a queue that is bounded by bytes.
pub(super) const RECORD_OVERHEAD: usize = 256;

/// Bytes of a record that the cluster takes in one request (`max_request_size` 32 MiB), with room for what is around it.
pub(super) const REQUEST_BYTES: usize = 32 * 1024 * 1024 - 64 * 1024;

/// Records before its place that a reader looks at before it begins, so that it knows the copies of them.
pub(super) const LOOK_BACK: u64 = 1024;

/// Bytes that looking back may take, about.
pub(super) const LOOK_BACK_BYTES: u64 = 16 * 1024 * 1024;

/// Records looked back at, however large they are.
pub(super) const LOOK_BACK_LEAST: u64 = 64;

/// Writers a reader remembers in one partition. Each process is one writer; a copy comes seconds after its original.
pub(super) const WRITERS: usize = 1024;

/// Readers of one partition that keep their place: one for each group of a process, and some for tools.
pub(super) const CURSORS: usize = 8;

/// How often the cluster is asked for the ends of partitions that somebody reads.
pub(super) const POLL_READ: Duration = Duration::from_millis(10);

/// How often it is asked for those of all others.
pub(super) const POLL_ALL: Duration = Duration::from_millis(250);

/// How long after a read a partition counts as one that is read.
pub(super) const READ_LATELY: Duration = Duration::from_secs(5);

/// How long a cluster must insist that a partition ends before the end that it told before, until it is believed: a
/// leader that has just started may not know its end yet.
pub(super) const LOWER_END: Duration = Duration::from_secs(15);

/// Time between two questions to the controller about who leads what.
pub(super) const REFRESH_APART: Duration = Duration::from_millis(300);

/// First and longest pause before a request is made again.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long topics may take to be there, with a leader for each partition.
pub(super) const TOPICS_READY: Duration = Duration::from_secs(60);

/// How long followers of a new topic may take to follow. One that asks its leader too early asks again after 10 s, and
/// nothing is acknowledged before.
pub(super) const FOLLOWERS_READY: Duration = Duration::from_secs(30);

/// Size at which the cluster begins a new file of a partition. It deletes whole files, so this is how exact retention
/// is.
pub(super) const SEGMENT_BYTES: u32 = 128 * 1024 * 1024;

/// Bytes of a partition at which the cluster deletes its oldest file, read or not. Its default is 2 GB; only age may
/// delete here, so this is more than any disk holds.
pub(super) const PARTITION_BYTES: u64 = 1 << 50;

/// Times that a hole in a partition must be seen before it is believed.
pub(super) const HOLE_SEEN: u32 = 5;

/// How often a request of the coordination of groups is made before it counts as failed.
pub(super) const TOPIC_ATTEMPTS: u32 = 3;

/// How long records that a server has may take until it shows them, before it is helped.
pub(super) const SHOWN_SOON: Duration = Duration::from_millis(200);

/// Timeouts that a stop waits for what was submitted.
pub(super) const CLOSE_TIMEOUTS: u32 = 3;

/// How long a pause before attempt `attempt` (from 1) of `key` is. Spread by a hash, so that not all come at once.
pub(super) fn pause(key: u64, attempt: u32) -> Duration {
    let (first, longest) = PAUSE;
    let whole = first.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(longest);
    let mixed = (key ^ u64::from(attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    // 75 % to 125 %.
    whole * 3 / 4 + whole.mul_f64(f64::from(u32::try_from(mixed).unwrap_or(0)) / 2048.0)
}
