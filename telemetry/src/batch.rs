//! Messages to columns.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
    StringBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::Int32Type;

use crate::clock::Timestamp;
use crate::message::{Identity, Message, Value};
use crate::schema;

/// Collects messages into one batch of the stream schema of readings.
pub struct ReadingsBuilder {
    device_id: StringDictionaryBuilder<Int32Type>,
    metric: StringDictionaryBuilder<Int32Type>,
    time: TimestampMicrosecondBuilder,
    value: Float64Builder,
    value_bool: BooleanBuilder,
    value_text: StringBuilder,
    unit: StringDictionaryBuilder<Int32Type>,
    site: StringDictionaryBuilder<Int32Type>,
    boot: Int64Builder,
    seq: Int64Builder,
    received_at: TimestampMicrosecondBuilder,
    row: Int32Builder,
    text_bytes: usize,
}

/// Bytes of the fixed-width columns of a row, for estimates of memory.
const ROW_BYTES: usize = 72;

impl Default for ReadingsBuilder {
    fn default() -> Self {
        Self {
            device_id: StringDictionaryBuilder::new(),
            metric: StringDictionaryBuilder::new(),
            time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            value: Float64Builder::new(),
            value_bool: BooleanBuilder::new(),
            value_text: StringBuilder::new(),
            unit: StringDictionaryBuilder::new(),
            site: StringDictionaryBuilder::new(),
            boot: Int64Builder::new(),
            seq: Int64Builder::new(),
            received_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            row: Int32Builder::new(),
            text_bytes: 0,
        }
    }
}

impl fmt::Debug for ReadingsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadingsBuilder").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl ReadingsBuilder {
    /// Adds all readings of `message`, in their order.
    pub fn push(&mut self, message: &Message<'_>, received_at: Timestamp) {
        let (boot, seq) = message.identity.map_or((None, None), |identity| (Some(identity.boot), Some(identity.seq)));
        for (row, reading) in (0_i32..).zip(&message.readings) {
            self.device_id.append_value(&message.device_id);
            self.metric.append_value(&reading.metric);
            self.time.append_value(reading.time.as_micros());
            let (mut number, mut truth, mut text) = (None, None, None);
            match &reading.value {
                Value::Number(value) => number = Some(*value),
                Value::Bool(value) => truth = Some(*value),
                Value::Text(value) => {
                    self.text_bytes += value.len();
                    text = Some(value);
                }
            }
            self.value.append_option(number);
            self.value_bool.append_option(truth);
            self.value_text.append_option(text);
            self.unit.append_option(reading.unit.as_deref());
            self.site.append_option(message.site.as_deref());
            self.boot.append_option(boot);
            self.seq.append_option(seq);
            self.received_at.append_value(received_at.as_micros());
            self.row.append_value(row);
        }
    }

    /// Rows collected so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.row.len()
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// Memory the rows take, estimated, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows() * ROW_BYTES + self.text_bytes
    }

    /// The batch, in the stream schema; the builder is empty afterwards.
    ///
    /// # Panics
    /// Never: the columns are made for the schema.
    pub fn finish(&mut self) -> RecordBatch {
        self.text_bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.device_id.finish()),
            Arc::new(self.metric.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.value_bool.finish()),
            Arc::new(self.value_text.finish()),
            Arc::new(self.unit.finish()),
            Arc::new(self.site.finish()),
            Arc::new(self.boot.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.received_at.finish()),
            Arc::new(self.row.finish()),
        ];
        RecordBatch::try_new(schema::readings_stream(), columns).expect("columns are made for the schema")
    }
}

/// Something that was given up, as it goes to a dead-letter stream: a payload that was refused, or work that a
/// payload led to.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// When Weir received it, or gave it up.
    pub received_at: Timestamp,
    /// The kind of refusal, from a closed set: [`crate::Reason::as_str`] of a payload.
    pub reason: &'a str,
    /// What exactly, for a person.
    pub detail: &'a str,
    /// Topic it was published to.
    pub topic: &'a str,
    /// MQTT client that published it.
    pub client_id: &'a str,
    /// The payload, whole.
    pub payload: &'a [u8],
    /// What the transport said beside the payload: without it, a payload put back would lose its identity.
    pub identity: Option<Identity>,
}

/// Collects dead letters into one batch.
pub struct DeadLettersBuilder {
    received_at: TimestampMicrosecondBuilder,
    reason: StringDictionaryBuilder<Int32Type>,
    detail: StringBuilder,
    topic: StringBuilder,
    client_id: StringBuilder,
    payload: BinaryBuilder,
    boot: Int64Builder,
    seq: Int64Builder,
    bytes: usize,
}

impl Default for DeadLettersBuilder {
    fn default() -> Self {
        Self {
            received_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            reason: StringDictionaryBuilder::new(),
            detail: StringBuilder::new(),
            topic: StringBuilder::new(),
            client_id: StringBuilder::new(),
            payload: BinaryBuilder::new(),
            boot: Int64Builder::new(),
            seq: Int64Builder::new(),
            bytes: 0,
        }
    }
}

impl fmt::Debug for DeadLettersBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLettersBuilder").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl DeadLettersBuilder {
    /// Adds one letter.
    pub fn push(&mut self, letter: &DeadLetter<'_>) {
        self.received_at.append_value(letter.received_at.as_micros());
        self.reason.append_value(letter.reason);
        self.detail.append_value(letter.detail);
        self.topic.append_value(letter.topic);
        self.client_id.append_value(letter.client_id);
        self.payload.append_value(letter.payload);
        self.boot.append_option(letter.identity.map(|identity| identity.boot));
        self.seq.append_option(letter.identity.map(|identity| identity.seq));
        self.bytes +=
            letter.detail.len() + letter.topic.len() + letter.client_id.len() + letter.payload.len() + ROW_BYTES;
    }

    /// Letters collected so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.received_at.len()
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received_at.is_empty()
    }

    /// Memory the letters take, estimated, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batch; the builder is empty afterwards.
    ///
    /// # Panics
    /// Never: the columns are made for the schema.
    pub fn finish(&mut self) -> RecordBatch {
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.received_at.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.client_id.finish()),
            Arc::new(self.payload.finish()),
            Arc::new(self.boot.finish()),
            Arc::new(self.seq.finish()),
        ];
        RecordBatch::try_new(schema::dead_letters(), columns).expect("columns are made for the schema")
    }
}
