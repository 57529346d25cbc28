//! Columns to bytes and back: a stream record is one Arrow IPC record batch.
//!
//! ```text
//! | "WR" | version u16 LE | zero u32 | dictionary messages | record batch message |
//! ```
//!
//! The Arrow schema itself (1.3 KiB for readings) is not repeated in each record: a record names the version
//! of the layout, and reader and writer know the schema of the stream. Messages are padded to 8 bytes.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use bytes::Bytes;

/// Layout written by this version.
const VERSION: u16 = 1;
const MAGIC: [u8; 2] = *b"WR";
const HEADER_BYTES: usize = 8;
const ALIGNMENT: usize = 8;

fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
}

/// Encodes batches of one schema.
pub struct Encoder {
    schema: SchemaRef,
    options: IpcWriteOptions,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder of batches of `schema`, a stream schema of [`crate::schema`].
    ///
    /// # Errors
    /// Never for the schemas of this crate.
    pub fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self {
            schema,
            options: options()?,
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
        })
    }

    /// The record of `batch`.
    ///
    /// # Errors
    /// If the batch has another schema.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        if batch.schema_ref() != &self.schema {
            return Err(ArrowError::SchemaError(format!(
                "batch has schema {}, expected {}",
                batch.schema_ref(),
                self.schema
            )));
        }
        // Each record stands alone: it carries all its dictionaries.
        self.dictionaries.clear();
        for field in self.schema.fields() {
            if matches!(field.data_type(), DataType::Dictionary(_, _)) {
                self.dictionaries.next_dict_id();
            }
        }
        let (dictionaries, rows) =
            IpcDataGenerator::default().encode(batch, &mut self.dictionaries, &self.options, &mut self.context)?;
        let mut record = Vec::with_capacity(HEADER_BYTES + 1024 + rows.arrow_data.len());
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&VERSION.to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        for dictionary in dictionaries {
            write_message(&mut record, dictionary, &self.options)?;
        }
        write_message(&mut record, rows, &self.options)?;
        Ok(Bytes::from(record))
    }
}

/// Decodes records of one schema.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    stream: StreamDecoder,
}

impl Decoder {
    /// A decoder of records written with `schema`.
    ///
    /// # Errors
    /// Never for the schemas of this crate.
    pub fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let mut tracker = DictionaryTracker::new(false);
        let options = options()?;
        let message =
            IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(&schema, &mut tracker, &options);
        let mut preamble = Vec::new();
        write_message(&mut preamble, message, &options)?;
        let mut stream = StreamDecoder::new();
        stream.decode(&mut Buffer::from_vec(preamble))?;
        Ok(Self { schema, stream })
    }

    /// The batch of `record`; its columns point into `record` where its alignment allows.
    ///
    /// # Errors
    /// If the bytes are not a record of this schema, or of a version this program does not know. The decoder
    /// must not be used again afterwards.
    pub fn decode(&mut self, record: Bytes) -> Result<RecordBatch, ArrowError> {
        let version = match record.first_chunk::<HEADER_BYTES>() {
            Some([m0, m1, v0, v1, 0, 0, 0, 0]) if [*m0, *m1] == MAGIC => u16::from_le_bytes([*v0, *v1]),
            _ => return Err(ArrowError::ParseError("record does not begin with `WR`".to_owned())),
        };
        if version != VERSION {
            return Err(ArrowError::ParseError(format!("record has layout version {version}, expected {VERSION}")));
        }
        let mut rest = Buffer::from(record.slice(HEADER_BYTES..));
        let batch = self.stream.decode(&mut rest)?.filter(|_| rest.is_empty()).ok_or_else(|| {
            ArrowError::ParseError(format!("record is not one batch: {} bytes are left over", rest.len()))
        })?;
        // The decoder's schema lacks nothing but has other metadata; the stream's schema is the shared one.
        RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::batch::ReadingsBuilder;
    use crate::message::{Identity, Message, Reading, Value};
    use crate::{Timestamp, schema};

    fn batch(devices: &[&str]) -> RecordBatch {
        let mut builder = ReadingsBuilder::default();
        for (seq, device) in (0..).zip(devices) {
            let reading = |metric: &'static str, value| Reading {
                metric: Cow::Borrowed(metric),
                time: Timestamp::from_micros(1_700_000_000_000_000 + seq),
                value,
                unit: Some(Cow::Borrowed("Cel")),
            };
            let message = Message {
                device_id: Cow::Borrowed(device),
                site: None,
                identity: Some(Identity { boot: 1, seq }),
                readings: vec![
                    reading("temperature", Value::Number(0.1 + 0.2)),
                    reading("door", Value::Bool(true)),
                    reading("state", Value::Text(Cow::Borrowed("läuft"))),
                ],
                ignored_fields: 0,
            };
            builder.push(&message, Timestamp::from_micros(1));
        }
        builder.finish()
    }

    #[test]
    fn records_of_one_stream_decode_one_after_the_other() {
        let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
        let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
        for devices in [&["a", "b", "a"][..], &["c"], &["a"], &["x", "y", "z", "a"]] {
            let written = batch(devices);
            let record = encoder.encode(&written).unwrap();
            assert_eq!(record.len() % ALIGNMENT, 0);
            assert_eq!(decoder.decode(record).unwrap(), written);
        }
    }

    #[test]
    fn a_record_of_no_dictionary_entries_decodes_after_one_that_had_some() {
        let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
        let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
        decoder.decode(encoder.encode(&batch(&["a"])).unwrap()).unwrap();
        let empty = batch(&[]);
        assert_eq!(decoder.decode(encoder.encode(&empty).unwrap()).unwrap().num_rows(), 0);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let record = Encoder::new(schema::readings_stream()).unwrap().encode(&batch(&["a"])).unwrap();
        for length in 0..record.len() {
            let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
            assert!(decoder.decode(record.slice(..length)).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn another_version_and_another_schema_are_named() {
        let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
        let mut record = encoder.encode(&batch(&["a"])).unwrap().to_vec();
        record[2] = 9;
        let error = Decoder::new(schema::readings_stream()).unwrap().decode(record.into()).unwrap_err();
        assert!(error.to_string().contains("version 9, expected 1"), "{error}");
        assert!(Encoder::new(schema::dead_letters()).unwrap().encode(&batch(&["a"])).is_err());
    }
}
