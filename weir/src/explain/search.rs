//! Bounded reads of one partition.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use streams::{Error, Partition, Record, Streams};
use telemetry::Clock;
use telemetry::ipc::Decoder;
use telemetry::schema;

use super::limits::{BLOCK_RECORDS, READ_BYTES};
use super::view::Searched;

/// A partition, and what may still be read of it.
#[derive(Debug)]
pub(super) struct Search {
    streams: Arc<dyn Streams>,
    of: Partition,
    clock: Arc<dyn Clock>,
    /// When the time is up, by the monotonic clock.
    until: Duration,
    bytes: u64,
    searched: Searched,
}

/// Looks at a record; whether it has seen enough.
pub(super) trait Look: FnMut(&Record, &RecordBatch) -> anyhow::Result<bool> + Send {}

impl<F: FnMut(&Record, &RecordBatch) -> anyhow::Result<bool> + Send> Look for F {}

impl Search {
    /// A search that begins at `from`, where that is retained.
    pub(super) fn new(
        streams: Arc<dyn Streams>,
        of: Partition,
        from: u64,
        (clock, until): (Arc<dyn Clock>, Duration),
        bytes: u64,
    ) -> Result<Self, Error> {
        let Range { start: first, end } = streams.bounds(&of)?;
        let from = from.clamp(first, end);
        let (stream, partition) = (of.stream.to_string(), of.index);
        let searched = Searched { stream, partition, from, to: from, first, end, unreadable: 0 };
        Ok(Self { streams, of, clock, until, bytes, searched })
    }

    /// What was looked at so far.
    pub(super) fn searched(self) -> Searched {
        self.searched
    }

    /// Looks at records behind those looked at, oldest first, until there are no more, `look` has seen enough, or the
    /// bound is reached.
    pub(super) async fn forward(&mut self, mut look: impl Look) -> anyhow::Result<()> {
        let (came, _) = self.read(self.searched.to..self.searched.end, &mut look).await?;
        self.searched.to = came;
        Ok(())
    }

    /// Looks at records before those looked at, in blocks, newest first, down to offset `floor`, until there are no more,
    /// `look` has seen enough in a block, or the bound is reached.
    pub(super) async fn backward(&mut self, floor: u64, mut look: impl Look) -> anyhow::Result<()> {
        let floor = floor.max(self.searched.first);
        while self.searched.from > floor {
            let end = self.searched.from;
            let begin = end.saturating_sub(BLOCK_RECORDS).max(floor);
            let mut enough = false;
            // All of a block is looked at: what is searched has no holes.
            let mut whole = |record: &Record, batch: &RecordBatch| {
                enough |= look(record, batch)?;
                Ok(false)
            };
            let (came, _) = self.read(begin..end, &mut whole).await?;
            if came < end {
                return Ok(());
            }
            self.searched.from = begin;
            if enough {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads `range`; gives the offset it came to, and whether `look` has seen enough.
    async fn read(&mut self, range: Range<u64>, look: &mut impl Look) -> anyhow::Result<(u64, bool)> {
        let mut next = range.start;
        while next < range.end {
            if self.bytes == 0 || self.clock.monotonic() >= self.until {
                return Ok((next, false));
            }
            let read = match self.streams.read(&self.of, next, READ_BYTES).await {
                // Retention was faster.
                Err(Error::OutOfRange { start, .. }) if start > next => {
                    next = start;
                    continue;
                }
                read => read?,
            };
            self.searched.unreadable += read.lost;
            for record in read.records.iter().filter(|record| record.offset < range.end) {
                self.bytes = self.bytes.saturating_sub(record.payload.len() as u64);
                if self.show(record, look)? {
                    return Ok((record.offset + 1, true));
                }
            }
            if read.next <= next {
                return Ok((next, false));
            }
            next = read.next;
        }
        Ok((next.min(range.end), false))
    }

    /// One record that cannot be read must not hide the others.
    fn show(&mut self, record: &Record, look: &mut impl Look) -> anyhow::Result<bool> {
        let schema = schema::of_stream(self.of.stream.as_str());
        match Decoder::new(schema).and_then(|mut decoder| decoder.decode(record.payload.clone())) {
            Ok(batch) => look(record, &batch),
            Err(error) => {
                tracing::warn!(partition = %self.of, offset = record.offset, %error, "record cannot be read");
                self.searched.unreadable += 1;
                Ok(false)
            }
        }
    }
}
