//! What waits for the next group commit: rows in columns already, a lane for each partition.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use bytes::Bytes;
use streams::{Append, Partition, StreamName};
use telemetry::batch::{DeadLetter, DeadLettersBuilder, ReadingsBuilder};
use telemetry::ipc::Encoder;
use telemetry::schema::{self, reading};
use telemetry::{Message, Timestamp};

use crate::live::{LiveReading, READINGS_PER_GROUP};

/// Size, estimated, at which a record is closed and the next begun: a stream bounds its records. One message
/// is never split, so a record is at most this and one message.
const RECORD_BYTES: usize = 4 * 1024 * 1024;

/// The open group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) number: u64,
    /// Estimate of the memory it takes.
    pub(crate) bytes: usize,
    pub(crate) tally: Tally,
    pub(crate) live: Vec<LiveReading>,
    pub(crate) live_dropped: usize,
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

/// Rows of one partition: closed records, and the one being filled.
#[derive(Debug, Default)]
struct Lane<B> {
    closed: Vec<RecordBatch>,
    open: B,
}

impl Group {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            number: 0,
            bytes: 0,
            tally: Tally::default(),
            live: Vec::new(),
            live_dropped: 0,
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
            lane.closed.push(lane.open.finish());
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
            self.dead_letters.closed.push(self.dead_letters.open.finish());
        }
        self.tally.messages += 1;
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
                lane.closed.push(lane.open.finish());
            }
            for batch in lane.closed.drain(..) {
                let payload = encoders.readings.encode(&batch)?;
                encoded.messages += messages(&batch);
                encoded.readings += batch.num_rows() as u64;
                appends.push(append(Partition::new(StreamName::readings(), index), &batch, payload));
            }
        }
        if !self.dead_letters.open.is_empty() {
            self.dead_letters.closed.push(self.dead_letters.open.finish());
        }
        for batch in self.dead_letters.closed.drain(..) {
            let payload = encoders.dead_letters.encode(&batch)?;
            encoded.dead_letters += batch.num_rows() as u64;
            appends.push(append(Partition::new(StreamName::dead_letters(), 0), &batch, payload));
        }
        self.bytes = 0;
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
    Append { to, rows: u32::try_from(batch.num_rows()).unwrap_or(u32::MAX), payload }
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
mod tests {
    use std::borrow::Cow;

    use telemetry::{Reading, Reason, Value};

    use super::*;

    fn message(text: &str, readings: usize) -> Message<'_> {
        let reading = Reading {
            metric: Cow::Borrowed("note"),
            time: Timestamp::from_micros(1),
            value: Value::Text(Cow::Borrowed(text)),
            unit: None,
        };
        Message {
            device_id: Cow::Borrowed("pump-1"),
            site: None,
            identity: None,
            readings: vec![reading; readings],
            ignored_fields: 2,
        }
    }

    #[test]
    fn a_group_becomes_one_record_for_each_partition_used() {
        let mut group = Group::new(4);
        assert!(group.is_empty());
        group.push(&message("a", 3), 2, 100, Timestamp::from_micros(1));
        group.push(&message("b", 1), 0, 100, Timestamp::from_micros(1));
        let letter = DeadLetter {
            received_at: Timestamp::from_micros(1),
            reason: Reason::Undecodable.as_str(),
            detail: "no format",
            topic: "t",
            client_id: "c",
            payload: b"x",
            identity: None,
        };
        group.push_dead_letter(&letter);
        assert_eq!(group.tally, Tally { messages: 3, readings: 4, ignored_fields: 4 });
        assert!(group.bytes > 200);
        let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
        let places: Vec<_> = appends.iter().map(|append| (append.to.to_string(), append.rows)).collect();
        assert_eq!(places, [("readings/0".into(), 1), ("readings/2".into(), 3), ("dead_letters/0".into(), 1)]);
        assert_eq!(group.encoded, Encoded { messages: 2, readings: 4, dead_letters: 1 });
        assert!(group.is_empty() && group.bytes == 0);
        assert_eq!(group.encode(&mut Encoders::new().unwrap()).unwrap(), []);
    }

    #[test]
    fn records_are_bounded_and_messages_stay_whole() {
        let text = "x".repeat(8 * 1024);
        let (readings, messages) = (100, 12);
        let mut group = Group::new(1);
        for _ in 0..messages {
            group.push(&message(&text, readings), 0, text.len() * readings, Timestamp::from_micros(1));
        }
        let appends = group.encode(&mut Encoders::new().unwrap()).unwrap();
        assert!(appends.len() > 1);
        let most = RECORD_BYTES + 2 * readings * text.len();
        assert!(appends.iter().all(|append| append.payload.len() <= most));
        assert!(appends.iter().all(|append| usize::try_from(append.rows).unwrap().is_multiple_of(readings)));
        let rows: u32 = appends.iter().map(|append| append.rows).sum();
        assert_eq!(usize::try_from(rows).unwrap(), readings * messages);
    }
}
