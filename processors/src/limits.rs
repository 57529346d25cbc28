//! Every limit on rules and on what they may put out, each with its reason.

/// Largest rule file, in bytes: the most rules at their most usual size, many times over.
pub const FILE_BYTES: usize = 4 * 1024 * 1024;
/// Most rules in one file: each is evaluated on each batch and has its own metric labels.
pub const RULES_PER_FILE: usize = 1_000;
/// Longest rule id, in bytes: it is a metric label.
pub const RULE_ID_BYTES: usize = 64;
/// Longest expression, in bytes: what a person can still read.
pub const EXPRESSION_BYTES: usize = 4 * 1024;
/// Stack of the thread that compiles rules, in bytes. The parser takes up to 60 KiB a level in debug builds,
/// and the tree of the longest expression is dropped recursively too.
pub const COMPILER_STACK_BYTES: usize = 32 * 1024 * 1024;
/// Deepest nesting that the SQL parser follows: it recurses.
pub const PARSER_DEPTH: usize = 48;
/// Deepest expression tree, chains of operators included: planning and evaluation recurse over it.
pub const EXPRESSION_DEPTH: usize = 128;
/// Longest message of a rule, in bytes, before its places are filled in.
pub const MESSAGE_BYTES: usize = 1024;
/// Longest message of an alert, in bytes, its places filled in; a longer one is cut and ends in `…`.
pub const ALERT_MESSAGE_BYTES: usize = 2 * 1024;
/// Most bytes of one record of alerts, estimated from above; what fires beyond goes to the next record. Streams
/// take 16 MiB by default: a quarter of it keeps what is built and encoded at once small, and has room for
/// hundreds of alerts of the longest texts. Lower where the streams take less ([`APPEND_BYTES`]).
pub const ALERT_BYTES_PER_RECORD: usize = 4 * 1024 * 1024;
/// Most records of alerts waiting behind the group in flight, and so the most in one group.
pub const PENDING_RECORDS: usize = 256;
/// Most bytes of them, likewise: a group must fit the queue of the streams, which others use too. A group in
/// flight, one pending and one record are all the memory that alerts take.
pub const PENDING_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that the streams take in one record and in one group, unless said otherwise: half of the smallest queue
/// that can be configured, so that whatever the configuration nothing is refused for its size, which would
/// stop rules for good. The other half is room for the frames of [`PENDING_RECORDS`].
pub const APPEND_BYTES: usize = 512 * 1024;
/// Records of readings after which a flush is asked for, however little time has passed: what is evaluated
/// again after a crash.
pub const RECORDS_PER_FLUSH: usize = 4_096;
