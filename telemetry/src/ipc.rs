//! Columns to bytes and back: a stream record is one Arrow IPC record batch.
//!
//! ```text
//! | "WR" | version u16 LE | bytes of contexts u32 LE | contexts | dictionary messages | record batch message |
//! each context: row u32 LE | flags u8 = 1 | zero x 3 | trace id x 16 | span id x 8
//! ```
//!
//! The Arrow schema itself (1.3 KiB for readings) is not repeated in each record: a record names the version
//! of the layout, and reader and writer know the schema of the stream. Messages are padded to 8 bytes.
//!
//! | version | columns |
//! |---|---|
//! | 1 | all of the schema; of dead letters only those before `boot` |
//! | 2 | all of the schema |
//!
//! A record is written in the oldest version that can hold it, so that a stream whose columns never changed can be
//! read by older programs; a decoder reads all versions, and columns that a record lacks are null.
//!
//! Contexts are those of the sampled messages that begin in the record ([`crate::trace`]). A record without them is
//! what it was before there were any; one with them is refused by programs that do not know them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use bytes::Bytes;

use crate::schema;
use crate::trace::{Context, MOST_CONTEXTS, RowContext, SpanId, TraceId};

/// The layout in which every column of `schema` is.
fn version(schema: &SchemaRef) -> u16 {
    if schema::columns_in_version_1(schema).is_some() { 2 } else { 1 }
}

const MAGIC: [u8; 2] = *b"WR";
const HEADER_BYTES: usize = 8;
const ALIGNMENT: usize = 8;
const CONTEXT_BYTES: usize = 32;
/// Flag of a context whose trace is sampled: no others are carried.
const SAMPLED: u8 = 1;

fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
}

/// Encodes batches of one schema.
pub struct Encoder {
    schema: SchemaRef,
    version: u16,
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
            version: version(&schema),
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
        self.encode_traced(batch, &[])
    }

    /// The record of `batch` with the first [`MOST_CONTEXTS`] of `contexts`.
    ///
    /// # Errors
    /// If the batch has another schema.
    pub fn encode_traced(&mut self, batch: &RecordBatch, contexts: &[RowContext]) -> Result<Bytes, ArrowError> {
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
        let contexts = contexts.get(..MOST_CONTEXTS).unwrap_or(contexts);
        let block = CONTEXT_BYTES * contexts.len();
        let mut record = Vec::with_capacity(HEADER_BYTES + block + 1024 + rows.arrow_data.len());
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&self.version.to_le_bytes());
        record.extend_from_slice(&u32::try_from(block).unwrap_or(0).to_le_bytes());
        for RowContext { row, context } in contexts {
            record.extend_from_slice(&row.to_le_bytes());
            record.extend_from_slice(&[SAMPLED, 0, 0, 0]);
            record.extend_from_slice(&context.trace.0.to_be_bytes());
            record.extend_from_slice(&context.span.0.to_be_bytes());
        }
        for dictionary in dictionaries {
            write_message(&mut record, dictionary, &self.options)?;
        }
        write_message(&mut record, rows, &self.options)?;
        Ok(Bytes::from(record))
    }
}

/// Decodes records of one schema, in any layout version that it had.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    version: u16,
    stream: StreamDecoder,
    /// For records of version 1, where that had fewer columns.
    version_1: Option<StreamDecoder>,
}

impl Decoder {
    /// A decoder of records written with `schema`, or with what it was in older layout versions.
    ///
    /// # Errors
    /// Never for the schemas of this crate.
    pub fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let version_1 = schema::columns_in_version_1(&schema).map(|columns| first_columns(&schema, columns));
        Ok(Self {
            version: version(&schema),
            stream: stream(&schema)?,
            version_1: version_1.as_ref().map(stream).transpose()?,
            schema,
        })
    }

    /// The batch of `record`; its columns point into `record` where its alignment allows.
    ///
    /// # Errors
    /// If the bytes are not a record of this schema, or of a version this program does not know. The decoder
    /// must not be used again afterwards.
    pub fn decode(&mut self, record: Bytes) -> Result<RecordBatch, ArrowError> {
        let (version, block) = header(&record)
            .ok_or_else(|| ArrowError::ParseError("record does not begin with `WR` and its contexts".to_owned()))?;
        let stream = match &mut self.version_1 {
            Some(version_1) if version == 1 => version_1,
            _ if version == self.version => &mut self.stream,
            version_1 => {
                let expected = if version_1.is_some() { "1 or 2" } else { "1" };
                return Err(ArrowError::ParseError(format!(
                    "record has layout version {version}, expected {expected}"
                )));
            }
        };
        let mut rest = Buffer::from(record.slice(HEADER_BYTES + block.len()..));
        let batch = stream.decode(&mut rest)?.filter(|_| rest.is_empty()).ok_or_else(|| {
            ArrowError::ParseError(format!("record is not one batch: {} bytes are left over", rest.len()))
        })?;
        // The decoder's schema lacks nothing but has other metadata; the stream's schema is the shared one.
        RecordBatch::try_new(self.schema.clone(), self.completed(&batch))
    }

    /// The columns of `batch`, and nulls for those that its version lacked.
    fn completed(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        let mut columns = batch.columns().to_vec();
        let lacking = self.schema.fields().iter().skip(columns.len());
        columns.extend(lacking.map(|field| new_null_array(field.data_type(), batch.num_rows())));
        columns
    }
}

/// The contexts of the messages that begin in `record`, in the order of their rows. What is no context is passed
/// over: a record is not lost for the sake of its traces.
#[must_use]
pub fn contexts(record: &[u8]) -> Vec<RowContext> {
    let (_, block) = header(record).unwrap_or_default();
    block.as_chunks().0.iter().filter_map(context).collect()
}

fn context(bytes: &[u8; CONTEXT_BYTES]) -> Option<RowContext> {
    let (row, rest) = bytes.split_first_chunk()?;
    let ([flags, _, _, _], rest) = rest.split_first_chunk()?;
    let (trace, rest) = rest.split_first_chunk()?;
    let (trace, span) = (u128::from_be_bytes(*trace), u64::from_be_bytes(*rest.first_chunk()?));
    let context = Context { trace: TraceId(trace), span: SpanId(span) };
    let valid = flags & SAMPLED == SAMPLED && trace != 0 && span != 0;
    valid.then_some(RowContext { row: u32::from_le_bytes(*row), context })
}

/// Version and contexts of `record`.
fn header(record: &[u8]) -> Option<(u16, &[u8])> {
    let ([m0, m1, v0, v1, block @ ..], rest) = record.split_first_chunk::<HEADER_BYTES>()?;
    let block = usize::try_from(u32::from_le_bytes(*block)).ok()?;
    let whole = block.is_multiple_of(CONTEXT_BYTES) && block <= CONTEXT_BYTES * MOST_CONTEXTS;
    let block = rest.get(..block).filter(|_| whole && [*m0, *m1] == MAGIC)?;
    Some((u16::from_le_bytes([*v0, *v1]), block))
}

fn first_columns(schema: &SchemaRef, columns: usize) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().take(columns).cloned().collect::<Fields>()))
}

/// A decoder that knows `schema` already: records come without it.
fn stream(schema: &SchemaRef) -> Result<StreamDecoder, ArrowError> {
    let mut tracker = DictionaryTracker::new(false);
    let options = options()?;
    let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options);
    let mut preamble = Vec::new();
    write_message(&mut preamble, message, &options)?;
    let mut stream = StreamDecoder::new();
    stream.decode(&mut Buffer::from_vec(preamble))?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
