//! Bounded reads of the streams of letters, from the oldest that is retained.

use std::sync::Arc;

use streams::{Error, Partition, Record, StreamName, Streams};
use telemetry::ipc::Decoder;
use telemetry::schema;

use super::letter::{Letter, letters};
use super::limits::{READ_BYTES, SCAN_BYTES};
use super::view::{LetterId, Source, Until};

/// Goes through the letters of one or all sources, once.
#[derive(Debug)]
pub(super) struct Scan {
    streams: Arc<dyn Streams>,
    /// What is left to read of each source; the last is read first.
    left: Vec<Left>,
    /// Letters up to this one are left out.
    after: Option<LetterId>,
    /// Past every letter looked at.
    last: Option<LetterId>,
    bytes: usize,
}

#[derive(Debug)]
struct Left {
    source: Source,
    next: u64,
    end: u64,
}

impl Scan {
    /// Letters of `sources`, after letter `after`, below `until` or what is there now.
    pub(super) fn new(
        streams: Arc<dyn Streams>,
        mut sources: Vec<Source>,
        after: Option<LetterId>,
        until: Option<Until>,
    ) -> Result<Self, Error> {
        let mut left = Vec::new();
        sources.sort_unstable();
        for of in sources.into_iter().rev() {
            if after.is_some_and(|after| of < after.source) {
                continue;
            }
            let bounds = streams.bounds(&partition(of))?;
            let from = after.filter(|after| after.source == of).map_or(0, |after| after.offset);
            let end = until.map_or(bounds.end, |until| until.of(of).min(bounds.end));
            left.push(Left { source: of, next: bounds.start.max(from), end });
        }
        Ok(Self { streams, left, after, last: after, bytes: 0 })
    }

    /// Letters of the next records; `None` at the end, or when enough was read.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Vec<Letter>>> {
        while self.bytes < SCAN_BYTES {
            let Some(left) = self.left.last_mut() else { return Ok(None) };
            if left.next >= left.end {
                self.left.pop();
                continue;
            }
            let (source, end) = (left.source, left.end);
            let from = partition(source);
            let read = match self.streams.read(&from, left.next, READ_BYTES).await {
                // Retention was faster.
                Err(Error::OutOfRange { start, .. }) if start > left.next => {
                    left.next = start;
                    continue;
                }
                read => read?,
            };
            if read.next <= left.next {
                self.left.pop();
                continue;
            }
            left.next = read.next;
            let mut found = Vec::new();
            for record in read.records.iter().filter(|record| record.offset < end) {
                self.bytes += record.payload.len();
                found.extend(decode(source, record));
            }
            self.last = Some(LetterId { source, offset: read.next - 1, row: u32::MAX });
            found.retain(|letter| self.after.is_none_or(|after| letter.id > after));
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where to go on, if the scan stopped because enough was read.
    pub(super) fn stopped(&self) -> Option<LetterId> {
        if self.left.iter().all(|left| left.next >= left.end) { None } else { self.last }
    }
}

/// Where the letters of all sources end now.
pub(super) fn ends(streams: &dyn Streams) -> Result<Until, Error> {
    let end = |source| Ok(streams.bounds(&partition(source))?.end);
    Ok(Until { ingest: end(Source::Ingest)?, workflows: end(Source::Workflows)? })
}

/// First retained record of `source`.
pub(super) fn start(streams: &dyn Streams, source: Source) -> Result<u64, Error> {
    Ok(streams.bounds(&partition(source))?.start)
}

/// The letter `id`, if it is there.
pub(super) async fn one(streams: &dyn Streams, id: LetterId) -> Result<Option<Letter>, Error> {
    let letters = record(streams, id.source, id.offset).await?;
    Ok(letters.into_iter().find(|letter| letter.id == id))
}

/// The letters of the record `offset`; none if it is not there.
pub(super) async fn record(streams: &dyn Streams, source: Source, offset: u64) -> Result<Vec<Letter>, Error> {
    let from = partition(source);
    if !streams.bounds(&from)?.contains(&offset) {
        return Ok(Vec::new());
    }
    let read = match streams.read(&from, offset, 1).await {
        Err(Error::OutOfRange { .. }) => return Ok(Vec::new()),
        read => read?,
    };
    let found = read.records.iter().find(|record| record.offset == offset);
    Ok(found.map(|record| decode(source, record)).unwrap_or_default())
}

/// One record that cannot be read must not hide the others.
fn decode(source: Source, record: &Record) -> Vec<Letter> {
    let decoded = Decoder::new(schema::dead_letters())
        .and_then(|mut decoder| decoder.decode(record.payload.clone()))
        .map_err(anyhow::Error::new)
        .and_then(|batch| letters(source, record.offset, &batch));
    decoded.unwrap_or_else(|error| {
        tracing::error!(offset = record.offset, ?source, error = format!("{error:#}"), "dead letters cannot be read");
        Vec::new()
    })
}

fn partition(source: Source) -> Partition {
    let stream = match source {
        Source::Ingest => StreamName::dead_letters(),
        Source::Workflows => StreamName::workflow_dead_letters(),
    };
    Partition::new(stream, 0)
}
