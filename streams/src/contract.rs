//! What every backend of streams promises.
//!
//! ```text
//!              start                          end
//!                | retained and durable        |
//!  offsets  0 .. 4  5  6  7  8  9 10 11 12 13  | 14 (next append)
//!                         ^           ^
//!             position of `rules`   position of `sink/readings`: first offset not yet passed
//! ```
//!
//! A stream has a fixed number of partitions. A record is one batch of rows; its offset is its index in its
//! partition, without gaps except where a backend found data damaged ([`Read::lost`]).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use telemetry::Timestamp;
use telemetry::trace::Context;
use tokio::sync::watch;

/// Name of a stream: lower case letters, digits, `_`, `-`; 1 to 64 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Readings as they were acknowledged.
    #[must_use]
    pub fn readings() -> Self {
        Self("readings".into())
    }

    /// What rules fired.
    #[must_use]
    pub fn alerts() -> Self {
        Self("alerts".into())
    }

    /// Payloads that were refused.
    #[must_use]
    pub fn dead_letters() -> Self {
        Self("dead_letters".into())
    }

    /// Firings of rules that have steps: the outbox.
    #[must_use]
    pub fn workflows() -> Self {
        Self("workflows".into())
    }

    /// Steps of workflows that were given up. Apart from `dead_letters`, because it is derived.
    #[must_use]
    pub fn workflow_dead_letters() -> Self {
        Self("workflow_dead_letters".into())
    }

    /// Whether the name is one of Weir's own streams; all others are streams that workflows emit to.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        matches!(&*self.0, "readings" | "alerts" | "workflows" | "dead_letters" | "workflow_dead_letters")
    }

    /// A name, if it is one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        ((1..=64).contains(&name.len()) && name.bytes().all(allowed)).then(|| Self(name.into()))
    }

    /// Whether consumers make it out of another stream. Its appends go on when the quota is reached: its
    /// makers could otherwise not pass on, and what fills the quota would never be deleted. What they add is
    /// bounded by what they read.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        !matches!(&*self.0, "readings" | "dead_letters")
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a consumer group, e.g. `rules` or `sink/readings`.
pub type GroupName = Arc<str>;

/// A stream to open, with its number of partitions, which never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// Name of the stream.
    pub name: StreamName,
    /// Number of partitions, at least 1.
    pub partitions: u32,
}

/// One partition of one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The stream.
    pub stream: StreamName,
    /// Index of the partition, from 0.
    pub index: u32,
}

impl Partition {
    /// Partition `index` of `stream`.
    #[must_use]
    pub fn new(stream: StreamName, index: u32) -> Self {
        Self { stream, index }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.index)
    }
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub to: Partition,
    /// Rows in the record: what lag and balance are counted in.
    pub rows: u32,
    /// The record: [`telemetry::ipc`] bytes. The backend does not look into it.
    pub payload: Bytes,
    /// The span of the group that it is in, if that is traced: parent of what the backend says of its commit. It is
    /// not stored.
    pub trace: Option<Context>,
}

impl Append {
    /// A record of `rows` rows for `to`, not traced.
    #[must_use]
    pub fn new(to: Partition, rows: u32, payload: Bytes) -> Self {
        Self { to, rows, payload, trace: None }
    }
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index in its partition.
    pub offset: u64,
    /// When it was appended, by the appending machine's clock.
    pub appended_at: Timestamp,
    /// Rows in the record.
    pub rows: u32,
    /// The record.
    pub payload: Bytes,
}

/// What one read found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Durable records in order of offset. Empty at the end of the partition.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next: u64,
    /// Offsets in `asked..next` that are gone because their bytes were damaged: counted exactly, never
    /// returned.
    pub lost: u64,
}

/// How far a consumer group has come in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// First offset not yet passed.
    pub offset: u64,
    /// State of the consumer as of `offset`, stored in the same atomic step.
    pub state: Bytes,
}

/// Resolves when the group is durable, to the offsets of its records in the order given.
pub type Ticket = BoxFuture<'static, Result<Vec<u64>, AppendError>>;

/// Durable partitioned streams.
///
/// Appending waits twice, visibly: [`Streams::submit`] waits for room and fixes the order, its [`Ticket`]
/// waits for durability. Dropping a ticket does not undo the append.
#[async_trait]
pub trait Streams: Send + Sync + fmt::Debug + 'static {
    /// The streams and their partitions.
    fn specs(&self) -> &[StreamSpec];

    /// Queues `group` behind all that was submitted before; waits while the bounded queue is full. Not
    /// idempotent: after an error that is not [`AppendError::Full`] the group may or may not be durable.
    ///
    /// # Errors
    /// See [`AppendError`]; a group is refused as a whole.
    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError>;

    /// Reads durable records of `from`, first `offset`, about `max_bytes` of them but at least one if there
    /// is one. Does not wait for more.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `offset` is no longer retained or past the end.
    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error>;

    /// Retained offsets: first, and one past the last durable one.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error>;

    /// Changes whenever records became durable in any partition.
    fn appended(&self) -> watch::Receiver<u64>;

    /// The committed position of `group`, if it has one.
    ///
    /// # Errors
    /// If the store of positions cannot be read.
    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error>;

    /// Commits positions durably, all in one step. A group with a position in a partition is registered:
    /// records from its position on are kept, whatever their age or size. Idempotent.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a position is not among what is retained, [`Error::Positions`] if the store
    /// cannot be written; the old positions then still stand.
    async fn commit(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error>;

    /// Makes this process the one that reads `partitions` for `group`, until it ends; no two processes commit
    /// positions of one partition. Waits while a process that died may still seem alive. Idempotent. To be called
    /// before the first commit.
    ///
    /// A backend that only one process can open has nothing to do.
    ///
    /// # Errors
    /// [`Error::Owned`] if another process is alive and has one of them.
    async fn claim(&self, group: &GroupName, partitions: &[Partition]) -> Result<(), Error> {
        let _only_one_process_is_here = (group, partitions);
        Ok(())
    }

    /// The position of every registered group in every partition, in order.
    ///
    /// # Errors
    /// If the store of positions cannot be read.
    async fn groups(&self) -> Result<Vec<GroupPosition>, Error>;
}

/// Where a group stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupPosition {
    /// The group.
    pub group: GroupName,
    /// The partition.
    pub partition: Partition,
    /// First offset not yet passed.
    pub offset: u64,
}

/// Why an append did not happen. Each variant is a different thing for a caller to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// Nothing of the group was written. Wait until consumers pass on and retry; acknowledge nothing meanwhile.
    /// Never for a group of derived streams only ([`StreamName::is_derived`]).
    #[error("stream quota reached: {used} of {quota} bytes held for consumers that have not passed them")]
    Full {
        /// Bytes in the streams.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// The group can never be appended: a record over the size limit or an unknown partition. A caller's bug.
    #[error("append refused: {0}")]
    Refused(String),
    /// The disk failed; nothing more is accepted until a restart. The group may or may not be there.
    #[error("streams stopped after a failed write: {0}")]
    Failed(String),
}

/// Why streams cannot be opened, read or committed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition does not exist. A caller's bug or a wrong configuration.
    #[error("unknown partition {0}")]
    UnknownPartition(Partition),
    /// The offset is not retained: the consumer must decide where to go on.
    #[error("offset {offset} of {partition} is outside what is retained, {start}..{end}")]
    OutOfRange {
        /// Partition read.
        partition: Partition,
        /// Offset asked for.
        offset: u64,
        /// First retained offset.
        start: u64,
        /// One past the last.
        end: u64,
    },
    /// Another process reads this partition for this group.
    #[error("group {group} in {partition} belongs to {owner}, which is alive; stop it, or give it other partitions")]
    Owned {
        /// The group.
        group: GroupName,
        /// The partition.
        partition: Partition,
        /// What the other process says of itself.
        owner: String,
    },
    /// This process was silent for so long that another one took over. It must stop at once.
    #[error("group {group} in {partition} was taken over by {owner}; nothing more may be committed here")]
    Fenced {
        /// The group.
        group: GroupName,
        /// The partition.
        partition: Partition,
        /// What the other process says of itself.
        owner: String,
    },
    /// A cluster cannot be reached, or does not answer in time. It may work later.
    #[error("{0}")]
    Unavailable(String),
    /// Another process has the directory open.
    #[error("{path} is in use by another process (lock held on {path}/lock)")]
    Locked {
        /// The directory.
        path: String,
    },
    /// What is on disk contradicts the configuration or a newer format wrote it. A person must decide.
    #[error("{0}")]
    Incompatible(String),
    /// The operating system refused.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The store of positions failed.
    #[error("position store: {0}")]
    Positions(String),
}
