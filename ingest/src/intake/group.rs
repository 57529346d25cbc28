//! What waits for the next group commit: rows in columns already, a lane for each partition.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use bytes::Bytes;
use streams::{Append, Partition, StreamName};
use telemetry::batch::{DeadLetter, DeadLettersBuilder, ReadingsBuilder};
use telemetry::ipc::Encoder;
use telemetry::schema::{self, reading};
use telemetry::trace::{Context, MOST_CONTEXTS, RowContext};
use telemetry::{Message, Timestamp};

use super::receiving::Receiving;
use crate::live::{LiveReading, READINGS_PER_GROUP};

/// Size, estimated, at which a record is closed and the next begun: a stream bounds its records. One message
/// is never split, so a record is at most this and one message.
const RECORD_BYTES: usize = 4 * 1024 * 1024;
/// Messages of a group that are traced: as many spans as the queue of the exporter holds, which would drop more. With
/// few partitions it is the bound of a record, [`MOST_CONTEXTS`], that counts.
const TRACED: usize = 2048;

/// The open group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) number: u64,
    /// Estimate of the memory it takes.
    pub(crate) bytes: usize,
    pub(crate) tally: Tally,
    pub(crate) live: Vec<LiveReading>,
    pub(crate) live_dropped: usize,
    /// Spans that end when the group is durable.
    pub(crate) receiving: Vec<Receiving>,
    /// Messages whose trace found no room.
    pub(crate) left_out: usize,
    /// What [`Group::encode`] put into records, as far as a span has links.
    pub(crate) traced: Vec<Context>,
    /// Messages that are traced, so far.
    contexts: usize,
    /// What [`Group::encode`] put into records.
    pub(crate) encoded: Encoded,
    readings: Vec<Lane<ReadingsBuilder>>,
    dead_letters: Lane<DeadLettersBuilder>,
}

/// What a group holds, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) readings: u64,
    pub(crate) ignored_fields: u64,
}

/// What the records of a group hold, counted in the records: the balance compares it with what came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) messages: u64,
    pub(crate) readings: u64,
    pub(crate) dead_letters: u64,
}

/// Rows of one partition: closed records, and the one being filled; each with the messages in it that are traced.
#[derive(Debug, Default)]
struct Lane<B> {
    closed: Vec<(RecordBatch, Vec<RowContext>)>,
    open: B,
    contexts: Vec<RowContext>,
}

impl<B> Lane<B> {
    /// Closes the record of `batch`, which is all of `open`.
    fn close(&mut self, batch: RecordBatch) {
        self.closed.push((batch, std::mem::take(&mut self.contexts)));
    }
}

impl Group {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            number: 0,
            bytes: 0,
            tally: Tally::default(),
            live: Vec::new(),
            live_dropped: 0,
            receiving: Vec::new(),
            left_out: 0,
            traced: Vec::new(),
            contexts: 0,
            encoded: Encoded::default(),
            readings: (0..partitions.max(1)).map(|_| Lane::default()).collect(),
            dead_letters: Lane::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tally.messages == 0
    }

    /// Adds `message`, whose payload had `payload_bytes`, to its partition.
    pub(crate) fn push(&mut self, message: &Message<'_>, partition: u32, payload_bytes: usize, received_at: Timestamp) {
        let index = usize::try_from(partition).unwrap_or(0);
        // `of_device` stays below the number of partitions, which is the number of lanes.
        let Some(lane) = self.readings.get_mut(index) else { return };
        let before = lane.open.bytes();
        lane.open.push(message, received_at);
        // Names are stored once each, but every one of them may be new: then they are as long as the payload.
        self.bytes += lane.open.bytes() - before + payload_bytes;
        if lane.open.bytes() >= RECORD_BYTES {
            let batch = lane.open.finish();
            lane.close(batch);
        }
        self.tally.messages += 1;
        self.tally.readings += u64::try_from(message.readings.len()).unwrap_or(0);
        self.tally.ignored_fields += u64::from(message.ignored_fields);
    }

    pub(crate) fn push_dead_letter(&mut self, letter: &DeadLetter<'_>) {
        let before = self.dead_letters.open.bytes();
        self.dead_letters.open.push(letter);
        self.bytes += self.dead_letters.open.bytes() - before;
        if self.dead_letters.open.bytes() >= RECORD_BYTES {
            let batch = self.dead_letters.open.finish();
            self.dead_letters.close(batch);
        }
        self.tally.messages += 1;
    }

    /// Traces the message that is pushed next, to the readings of partition `to` or, without one, to the dead letters.
    /// Gives its span back, or nothing if there is no room for its context: then it has no trace.
    pub(crate) fn trace(&mut self, to: Option<u32>, receiving: Receiving) -> Option<Receiving> {
        let (row, contexts) = match to {
            Some(partition) => {
                let lane = self.readings.get_mut(usize::try_from(partition).unwrap_or(0))?;
                (lane.open.rows(), &mut lane.contexts)
            }
            None => (self.dead_letters.open.rows(), &mut self.dead_letters.contexts),
        };
        if contexts.len() >= MOST_CONTEXTS || self.contexts >= TRACED {
            self.left_out += 1;
            return None;
        }
        self.contexts += 1;
        contexts.push(RowContext { row: u32::try_from(row).unwrap_or(u32::MAX), context: receiving.context() });
        Some(receiving)
    }

    /// Keeps live readings up to the bound of a group.
    pub(crate) fn push_live(&mut self, mut readings: Vec<LiveReading>) {
        let room = READINGS_PER_GROUP.saturating_sub(self.live.len());
        self.live_dropped += readings.len().saturating_sub(room);
        readings.truncate(room);
        self.live.append(&mut readings);
    }

    /// The records of the group; it is empty afterwards.
    pub(crate) fn encode(&mut self, encoders: &mut Encoders) -> Result<Vec<Append>, ArrowError> {
        let mut appends = Vec::with_capacity(self.readings.len() + 1);
        let mut encoded = Encoded::default();
        for (index, lane) in (0_u32..).zip(&mut self.readings) {
            if !lane.open.is_empty() {
                let batch = lane.open.finish();
                lane.close(batch);
            }
            for (batch, contexts) in lane.closed.drain(..) {
                let payload = encoders.readings.encode_traced(&batch, &contexts)?;
                link(&mut self.traced, &contexts);
                encoded.messages += messages(&batch);
                encoded.readings += batch.num_rows() as u64;
                appends.push(append(Partition::new(StreamName::readings(), index), &batch, payload));
            }
        }
        if !self.dead_letters.open.is_empty() {
            let batch = self.dead_letters.open.finish();
            self.dead_letters.close(batch);
        }
        for (batch, contexts) in self.dead_letters.closed.drain(..) {
            let payload = encoders.dead_letters.encode_traced(&batch, &contexts)?;
            link(&mut self.traced, &contexts);
            encoded.dead_letters += batch.num_rows() as u64;
            appends.push(append(Partition::new(StreamName::dead_letters(), 0), &batch, payload));
        }
        self.bytes = 0;
        self.contexts = 0;
        self.tally = Tally::default();
        self.encoded = encoded;
        Ok(appends)
    }
}

/// Messages in a batch of readings: each begins with its row 0.
fn messages(batch: &RecordBatch) -> u64 {
    let rows = batch.columns().get(reading::ROW).and_then(|rows| rows.as_primitive_opt::<Int32Type>());
    rows.map_or(0, |rows| rows.values().iter().filter(|row| **row == 0).count() as u64)
}

fn append(to: Partition, batch: &RecordBatch, payload: Bytes) -> Append {
    Append::new(to, u32::try_from(batch.num_rows()).unwrap_or(u32::MAX), payload)
}

/// Adds the contexts of a record to the links of the group.
fn link(links: &mut Vec<Context>, contexts: &[RowContext]) {
    let room = MOST_CONTEXTS.saturating_sub(links.len());
    links.extend(contexts.iter().take(room).map(|row| row.context));
}

/// Encoders of the two streams a group goes to.
#[derive(Debug)]
pub(crate) struct Encoders {
    readings: Encoder,
    dead_letters: Encoder,
}

impl Encoders {
    pub(crate) fn new() -> Result<Self, ArrowError> {
        Ok(Self {
            readings: Encoder::new(schema::readings_stream())?,
            dead_letters: Encoder::new(schema::dead_letters())?,
        })
    }
}

#[cfg(test)]
mod tests;
