//! Every limit on rules and on what they may put out, each with its reason.

use std::time::Duration;

/// Largest rule file, in bytes: the most rules at their most usual size, many times over.
pub const FILE_BYTES: usize = 4 * 1024 * 1024;
/// Most rules in one file, and in all files of a directory: each is evaluated on each batch and has its own metric
/// labels.
pub const RULES: usize = 1_000;
/// Most files in a directory: one a rule.
pub const FILES: usize = RULES;
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
/// Most metrics that one rule over messages may name: each becomes a column of numbers.
pub const METRICS_PER_RULE: usize = 64;
/// Most numbers in the columns of messages at once, 16 MiB of them; messages beyond are looked at after those. Rules
/// may name tens of thousands of metrics, and a record may hold as many messages.
pub const PIVOT_CELLS: usize = 2 * 1024 * 1024;
/// Shortest and longest cool-down. A shorter one than 1 s is hardly a pause; a longer one than a day would have more
/// keys alive than the executor remembers by default.
pub const COOLDOWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
/// Most labels of a rule: each firing carries them.
pub const LABELS: usize = 16;
/// Longest name of a label, in bytes.
pub const LABEL_NAME_BYTES: usize = 64;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_BYTES: usize = 256;
/// Most steps of a rule: what a person can still follow when a run stands still.
pub const STEPS: usize = 16;
/// Largest plan, in bytes of JSON: each record of firings carries it once, the executor keeps it with each run, and
/// with the longest texts of a firing it must fit one append ([`APPEND_BYTES`]).
pub const PLAN_BYTES: usize = 64 * 1024;
/// Longest URL, in bytes, before its places are filled in: what servers commonly take is 8 KiB after it.
pub const URL_BYTES: usize = 2 * 1024;
/// Longest topic of a command, in bytes, before its places are filled in.
pub const TOPIC_BYTES: usize = 1024;
/// Most headers of a webhook; servers commonly take 100 in all.
pub const HEADERS: usize = 32;
/// Longest value of a header, in bytes, secrets not filled in; servers commonly take 8 KiB for all.
pub const HEADER_BYTES: usize = 4 * 1024;
/// Most receivers of an e-mail: a mailing list takes more.
pub const RECEIVERS: usize = 20;
/// Longest address of e-mail, in bytes: that of SMTP (RFC 5321, with its brackets).
pub const ADDRESS_BYTES: usize = 254;
/// Longest template of an e-mail's subject, in bytes.
pub const SUBJECT_BYTES: usize = 1024;
/// Shortest and longest timeout of a webhook: a longer one would hold its place among the attempts at a target.
pub const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(300));
/// Shortest and longest time to live of a command: the outbox keeps it as long.
pub const TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600));
/// Fewest and most attempts at a step.
pub const ATTEMPTS: (u32, u32) = (1, 100);
/// Shortest and longest first pause between attempts.
pub const RETRY_INITIAL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(3600));
/// Longest pause between attempts.
pub const RETRY_CAP: Duration = Duration::from_secs(24 * 3600);
/// Firings of one record that are remembered for leaving out repetitions, 4 MiB of them. Beyond, all are forgotten
/// at once: a repetition then comes twice, and the executor knows it by its key.
pub const FIRINGS_REMEMBERED: usize = 64 * 1024;
/// Longest text of an error in a dead letter, in bytes.
pub const ERROR_BYTES: usize = 1024;
/// Longest message of a rule, in bytes, before its places are filled in.
pub const MESSAGE_BYTES: usize = 1024;
/// Longest message of an alert, in bytes, its places filled in; a longer one is cut and ends in `…`.
pub const ALERT_MESSAGE_BYTES: usize = 2 * 1024;
/// Most bytes of one record of alerts, estimated from above; what fires beyond goes to the next record. Streams
/// take 16 MiB by default: a quarter of it keeps what is built and encoded at once small, and has room for
/// hundreds of alerts of the longest texts. Lower where the streams take less ([`APPEND_BYTES`]).
pub const ALERT_BYTES_PER_RECORD: usize = 4 * 1024 * 1024;
/// Most bytes of one record of firings, likewise. A firing with its longest texts has 130 KiB.
pub const FIRING_BYTES_PER_RECORD: usize = ALERT_BYTES_PER_RECORD;
/// Most records waiting behind the group in flight, and so the most in one group.
pub const PENDING_RECORDS: usize = 256;
/// Most bytes of them, likewise: a group must fit the queue of the streams, which others use too. A group in
/// flight, one pending and one record are all the memory that what fires takes.
pub const PENDING_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that the streams take in one record and in one group, unless said otherwise: half of the smallest queue
/// that can be configured, so that whatever the configuration nothing is refused for its size, which would
/// stop rules for good. The other half is room for the frames of [`PENDING_RECORDS`].
pub const APPEND_BYTES: usize = 512 * 1024;
/// Records of readings after which a flush is asked for, however little time has passed: what is evaluated
/// again after a crash.
pub const RECORDS_PER_FLUSH: usize = 4_096;
