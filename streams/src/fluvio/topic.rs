//! A topic as the coordination of groups sees it.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::contract::Error;

/// Partitions of a topic, each an ordered log of bytes, the same for everybody who reads it.
#[async_trait]
pub(super) trait Topic: Send + Sync + fmt::Debug {
    /// Appends `record` behind all that is there; its offset once the cluster has it. It may be there twice, and
    /// after an error once or not at all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the cluster did not take it in time.
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, Error>;

    /// Records from offset `from` on, as many as are there, some MiB at most. If there is none, waits for one, up to
    /// `wait`. No record between those returned is left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn read(&self, partition: u32, from: u64, wait: Duration) -> Result<Vec<(u64, Bytes)>, Error>;

    /// Retained offsets, asked of the cluster now.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn bounds(&self, partition: u32) -> Result<Range<u64>, Error>;
}
