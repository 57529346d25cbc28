//! Fetches records of one partition, none left out.
//!
//! The server cuts a reply off after so many bytes, in the middle of a batch; what is not whole is asked for again.

use std::ops::Range;
use std::sync::Arc;

use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::{RawRecords, RecordSet};
use fluvio_spu_schema::Isolation;
use fluvio_spu_schema::fetch::{FetchPartition, FetchRequest, FetchableTopic};

use super::bounds::Bounds;
use super::cluster::{Cluster, Place};
use super::connection::Connection;
use super::limits::{FETCH_BYTES, FETCH_BYTES_MAX, HOLE_SEEN};
use super::records::{Ended, Slot, unpack};
use crate::contract::Error;

type Fetch = FetchRequest<RecordSet<RawRecords>>;

/// One partition, to be fetched from.
#[derive(Debug)]
pub(super) struct Fetcher {
    cluster: Arc<Cluster>,
    bounds: Arc<Bounds>,
    place: Place,
    connection: Option<Connection>,
    /// Bytes to ask for next.
    bytes: usize,
    holes: u32,
}

/// What a fetch found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// In order, the first at the offset asked for. May be empty.
    Slots(Vec<Slot>),
    /// The partition begins later, or there is a hole: this is the first offset to go on at.
    Begins(u64),
}

impl Fetcher {
    pub(super) fn new(cluster: Arc<Cluster>, bounds: Arc<Bounds>, place: Place) -> Self {
        Self { cluster, bounds, place, connection: None, bytes: FETCH_BYTES, holes: 0 }
    }

    /// Records from offset `from` on, one reply at most. `from` is below the end of the partition.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the next call connects anew.
    pub(super) async fn fetch(&mut self, from: u64) -> Result<Fetched, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.cluster.leader(&self.place).await?,
        };
        let response = connection.call(self.request(from, Isolation::ReadCommitted), self.cluster.timeout).await?;
        let found = response.find_partition(&self.place.0, self.place.1);
        let found = found.ok_or_else(|| self.unavailable("a reply without the partition"))?;
        match found.error_code {
            ErrorCode::None => {}
            ErrorCode::OffsetEvicted { next_available, .. } => {
                self.connection = Some(connection);
                return Ok(Fetched::Begins(u64::try_from(next_available).unwrap_or(0)));
            }
            code => return Err(self.unavailable(&code.to_string())),
        }
        self.bounds.told(&self.place, told(found.log_start_offset, found.high_watermark));
        let unpacked = unpack(found.records, from);
        self.connection = Some(connection);
        self.next_size(unpacked.slots.is_empty(), unpacked.ended);
        if let (true, Some(Ended::Hole(begins))) = (unpacked.slots.is_empty(), unpacked.ended) {
            self.holes += 1;
            // The server was seen to leave out batches that the next request had.
            if self.holes < HOLE_SEEN {
                self.connection = None;
                return Err(self.unavailable(&format!("offset {from} is missing, the next is {begins}")));
            }
            return Ok(Fetched::Begins(begins));
        }
        self.holes = 0;
        Ok(Fetched::Slots(unpacked.slots))
    }

    /// Offset behind all records that the server has from `shown` on, where those that it shows end: more are there that
    /// not all replicas have, or of which it forgot that they do. Less is told than there is if it does not fit a reply.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub(super) async fn end(&mut self, shown: u64) -> Result<u64, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.cluster.leader(&self.place).await?,
        };
        let response = connection.call(self.request(shown, Isolation::ReadUncommitted), self.cluster.timeout).await?;
        let found = response.find_partition(&self.place.0, self.place.1);
        let found = found.ok_or_else(|| self.unavailable("a reply without the partition"))?;
        if found.error_code != ErrorCode::None {
            return Err(self.unavailable(&found.error_code.to_string()));
        }
        self.connection = Some(connection);
        let last = found.records.batches.last();
        let end = last.map_or(0, |batch| batch.base_offset + i64::from(batch.last_offset_delta()) + 1);
        Ok(u64::try_from(end).unwrap_or(0).max(shown))
    }

    fn next_size(&mut self, empty: bool, ended: Option<Ended>) {
        self.bytes = FETCH_BYTES;
        if let Some(Ended::Cut(needed)) = ended {
            self.cluster.metrics.cut.with_label_values(&[&*self.place.0]).inc();
            if empty {
                // A single batch larger than the reply. Its preamble and what may stand before it come on top.
                self.bytes = (needed + FETCH_BYTES).min(FETCH_BYTES_MAX);
            }
        }
    }

    fn request(&self, from: u64, isolation_level: Isolation) -> Fetch {
        let max_bytes = i32::try_from(self.bytes).unwrap_or(i32::MAX);
        let fetch_offset = i64::try_from(from).unwrap_or(i64::MAX);
        let partition =
            FetchPartition { partition_index: self.place.1, fetch_offset, max_bytes, ..FetchPartition::default() };
        let topic = FetchableTopic { name: self.place.0.to_string(), fetch_partitions: vec![partition] };
        Fetch { max_bytes, isolation_level, topics: vec![topic], ..Fetch::default() }
    }

    fn unavailable(&self, why: &str) -> Error {
        Error::Unavailable(format!("fluvio: fetch from {}/{}: {why}", self.place.0, self.place.1))
    }
}

fn told(start: i64, end: i64) -> Range<u64> {
    u64::try_from(start).unwrap_or(0)..u64::try_from(end).unwrap_or(0)
}
