//! Every bound of the executor that is not an option, each with its reason, and the defaults of those that are.

use std::time::Duration;

/// Attempts at one target at the same time: enough to hide a slow answer, few enough to be no attack.
pub const CONCURRENCY: usize = 16;
/// Commands on their way to devices at the same time, about 1 KiB each: a device on a slow line holds its place for up
/// to [`ATTEMPT`], and many may.
pub const DEVICES: usize = 1_024;
/// Steps of one target in memory, about 100 bytes each: 6.5 MB a target.
pub const WINDOW: usize = 65_536;
/// Runs whose firing is kept in memory though it is in the store, 1 to 20 KiB each: a burst is done without a read.
pub const HOT_RUNS: usize = 4_096;
/// Plans kept decoded: as many as there can be rules ([`crate::limits::RULES_PER_FILE`]), and some of old files.
pub const PLANS: usize = 2_048;
/// Runs changed and not written. Beyond, no firing is taken until a commit: what memory holds is bounded.
pub const UNCOMMITTED: usize = 8_192;
/// Runs changed after which a commit does not wait for its interval.
pub const COMMIT_RUNS: usize = 2_048;
/// Firings after which the consumer asks for a flush: half of what may be unwritten.
pub const FIRINGS_PER_FLUSH: usize = 4_096;
/// How long the consumer lets firings gather before it asks for a flush.
pub const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Runs read from the store at once to be attempted.
pub const LOAD_RUNS: usize = 256;
/// Steps read at once from the store into the window of a target: some milliseconds.
pub const LOAD_STEPS: usize = 16_384;
/// Rows in one append of events and dead letters.
pub const APPEND_ROWS: usize = 256;
/// Bytes of one record, and of one group, of them: as [`crate::limits::APPEND_BYTES`], the least any streams take.
pub const APPEND_BYTES: usize = crate::limits::APPEND_BYTES;
/// Longest payload of a dead letter, in bytes; a longer one is cut. Bodies are shorter, and so is a firing whose plan has
/// no templates of hundreds of KiB; with the firing's texts it fits one append.
pub const LETTER_BYTES: usize = APPEND_BYTES / 4 * 3;
/// Requests of people and of devices that wait for the executor; more wait outside.
pub const REQUESTS: usize = 64;
/// Runs that one request lists.
pub const LIST: usize = 1_000;
/// Runs looked at by one request that lists, 10 µs each: what is not found among them is told as "more".
pub const SCAN: usize = 200_000;
/// Ended runs forgotten in one commit: some milliseconds.
pub const FORGET: usize = 4_096;
/// How often ended runs are looked at to be forgotten.
pub const FORGET_EVERY: Duration = Duration::from_secs(30);
/// Events of targets handled before requests are looked at again.
pub const EVENTS_PER_TURN: usize = 64;
/// How often timers are looked at when nothing else happens.
pub const TICK: Duration = Duration::from_millis(20);
/// How long an attempt may take beyond what its target allows itself.
pub const MARGIN: Duration = Duration::from_secs(5);
/// How long an attempt may take whose step names no timeout: a device on a slow line answers within it.
pub const ATTEMPT: Duration = Duration::from_secs(30);
/// How long a stop waits for attempts under way.
pub const STOP: Duration = Duration::from_secs(5);
/// How often the positions in the streams of events are committed.
pub const PASS_EVERY: Duration = Duration::from_secs(1);
/// Bytes read at once when the streams of events are looked through.
pub const SCAN_BYTES: usize = 4 * 1024 * 1024;
/// Pause before an append is tried again that full streams refused; those of derived streams never are.
pub const FULL_PAUSE: Duration = Duration::from_millis(50);
/// Pages of the store in memory.
pub const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Largest outbox that is read into memory to look at it, by a command for a person: some 500,000 runs.
pub const COPY_BYTES: u64 = 1024 * 1024 * 1024;
