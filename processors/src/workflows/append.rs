//! What workflows append to streams: events, and dead letters. Many rows become one group of records.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Builder, RecordBatch, StringArray, StringDictionaryBuilder,
    TimestampMicrosecondBuilder, new_null_array,
};
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use streams::faults::{Point, point};
use streams::{Append, AppendError, Partition, StreamName, Streams};
use telemetry::trace::{MOST_CONTEXTS, RowContext, Tracing};
use telemetry::{Timestamp, ipc, schema};

use super::body;
use super::limits;
use super::target::Attempt;
use crate::firing::Firing;

/// A row to append.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) from: From,
    pub(super) content: Content,
}

/// Whose row it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The step `emit` of the run of this number.
    Step(u64),
    /// The run of this number gives up its step.
    GivenUp(u64),
    /// A firing that is not run.
    Firing(u128),
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Event { stream: StreamName, attempt: Attempt },
    Letter(Letter),
}

/// A dead letter.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) reason: &'static str,
    pub(super) detail: String,
    pub(super) topic: String,
    pub(super) firing: Arc<Firing>,
    pub(super) payload: Payload,
}

#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// The body of the step; the firing's data if it cannot be rendered.
    Body(Attempt),
    Bytes(Bytes),
}

/// What became of a row.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) from: From,
    /// Where it is; or why it can never be appended.
    pub(super) at: Result<(Partition, u64), String>,
}

/// Why rows cannot be appended at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAppended {
    #[error("appending events of workflows: {0}")]
    Streams(#[from] AppendError),
    #[error("encoding events of workflows: {0}")]
    Encoding(#[from] ArrowError),
}

/// Appends `rows`, in their order within a partition; returns when all are durable. Dropped halfway, some are.
pub(super) async fn append(
    streams: Arc<dyn Streams>,
    tracing: Tracing,
    rows: Vec<Row>,
) -> Result<Vec<Written>, NotAppended> {
    let mut written = Vec::with_capacity(rows.len());
    let mut group = Group::default();
    for row in rows {
        match Rendered::of(&row, streams.as_ref()) {
            Err(why) => written.push(Written { from: row.from, at: Err(why) }),
            Ok(rendered) => {
                if !group.is_empty() && group.bytes + rendered.bytes() > limits::APPEND_BYTES / 2 {
                    written.append(&mut std::mem::take(&mut group).append(streams.as_ref(), &tracing).await?);
                }
                group.push(row.from, rendered);
            }
        }
    }
    written.append(&mut group.append(streams.as_ref(), &tracing).await?);
    Ok(written)
}

/// A row, and the partition it goes to.
struct Rendered {
    to: Partition,
    key: String,
    firing: Arc<Firing>,
    /// Reason and detail of a letter.
    letter: Option<(&'static str, String)>,
    payload: Vec<u8>,
}

impl Rendered {
    fn of(row: &Row, streams: &dyn Streams) -> Result<Self, String> {
        match &row.content {
            Content::Event { stream, attempt } => {
                let partitions = streams.specs().iter().find(|spec| spec.name == *stream).map(|spec| spec.partitions);
                let Some(partitions) = partitions.filter(|_| !stream.is_reserved()) else {
                    return Err(format!("stream `{stream}` is not one of `streams.emit`"));
                };
                let index = telemetry::partition::of_device(&attempt.firing.device_id, partitions);
                let body = body::render(attempt)?;
                Ok(Self {
                    to: Partition::new(stream.clone(), index),
                    key: attempt.key.to_string(),
                    firing: attempt.firing.clone(),
                    letter: None,
                    payload: body.text.into_bytes(),
                })
            }
            Content::Letter(letter) => Ok(Self {
                to: Partition::new(StreamName::workflow_dead_letters(), 0),
                key: letter.topic.clone(),
                firing: letter.firing.clone(),
                letter: Some((letter.reason, letter.detail.clone())),
                payload: letter.payload.bytes(),
            }),
        }
    }

    fn bytes(&self) -> usize {
        // Beside the payload: message, data and names of a firing, which are bounded, and the columns.
        self.payload.len() + self.firing.message.len() + self.key.len() + 512
    }
}

impl Payload {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = match self {
            Self::Body(attempt) => match body::render(attempt) {
                Ok(body) => body.text.into_bytes(),
                Err(_) => attempt.firing.data.clone().into_bytes(),
            },
            Self::Bytes(bytes) => bytes.to_vec(),
        };
        bytes.truncate(limits::LETTER_BYTES);
        bytes
    }
}

/// Rows of one append, by partition.
#[derive(Default)]
struct Group {
    rows: BTreeMap<Partition, Vec<(From, Rendered)>>,
    bytes: usize,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn push(&mut self, from: From, row: Rendered) {
        self.bytes += row.bytes();
        self.rows.entry(row.to.clone()).or_default().push((from, row));
    }

    async fn append(self, streams: &dyn Streams, tracing: &Tracing) -> Result<Vec<Written>, NotAppended> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut appends = Vec::with_capacity(self.rows.len());
        for (to, rows) in &self.rows {
            let batch = match rows.first() {
                Some((_, Rendered { letter: Some(_), .. })) => letters(rows)?,
                _ => events(rows)?,
            };
            let contexts = contexts(tracing, rows);
            let mut encoder = ipc::Encoder::new(schema::of_stream(to.stream.as_str()))?;
            let payload = encoder.encode_traced(&batch, &contexts)?;
            appends.push(Append::new(to.clone(), u32::try_from(rows.len()).unwrap_or(u32::MAX), payload));
        }
        let offsets = submit(streams, appends).await?;
        point(Point::EventAppended);
        let mut written = Vec::new();
        for ((to, rows), offset) in self.rows.into_iter().zip(offsets) {
            written.extend(rows.into_iter().map(|(from, _)| Written { from, at: Ok((to.clone(), offset)) }));
        }
        Ok(written)
    }
}

/// The contexts of the firings that `rows` are of. Those that have no room in a record are counted.
fn contexts(tracing: &Tracing, rows: &[(From, Rendered)]) -> Vec<RowContext> {
    if !tracing.is_on() {
        return Vec::new();
    }
    let context =
        |(row, (_, rendered)): (u32, &(From, Rendered))| Some(RowContext { row, context: rendered.firing.trace? });
    let mut contexts: Vec<RowContext> = (0..).zip(rows).filter_map(context).collect();
    tracing.contexts_left_out(contexts.len().saturating_sub(MOST_CONTEXTS));
    contexts.truncate(MOST_CONTEXTS);
    contexts
}

async fn submit(streams: &dyn Streams, appends: Vec<Append>) -> Result<Vec<u64>, AppendError> {
    loop {
        let result = match streams.submit(appends.clone()).await {
            Ok(ticket) => ticket.await,
            Err(error) => Err(error),
        };
        match result {
            Err(AppendError::Full { used, quota }) => {
                tracing::warn!(used, quota, "streams are full, events of workflows wait");
                tokio::time::sleep(limits::FULL_PAUSE).await;
            }
            result => return result,
        }
    }
}

fn events(rows: &[(From, Rendered)]) -> Result<RecordBatch, ArrowError> {
    let firings = || rows.iter().map(|(_, row)| &*row.firing);
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|(_, row)| &*row.key)),
        names(firings().map(|firing| Some(&*firing.rule_id))),
        names(firings().map(|firing| Some(firing.severity.as_str()))),
        texts(firings().map(|firing| &*firing.message)),
        names(firings().map(|firing| Some(&*firing.device_id))),
        names(firings().map(|firing| firing.site.as_deref())),
        times(firings().map(|firing| firing.time)),
        times(firings().map(|firing| firing.received_at)),
        numbers(firings().map(|firing| firing.boot)),
        numbers(firings().map(|firing| firing.seq)),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, row)| String::from_utf8_lossy(&row.payload)))),
    ];
    RecordBatch::try_new(schema::events(), columns)
}

fn letters(rows: &[(From, Rendered)]) -> Result<RecordBatch, ArrowError> {
    let schema = schema::dead_letters();
    let firings = || rows.iter().map(|(_, row)| &*row.firing);
    let letters = || rows.iter().filter_map(|(_, row)| row.letter.as_ref());
    let mut payloads = BinaryBuilder::new();
    rows.iter().for_each(|(_, row)| payloads.append_value(&row.payload));
    let mut columns: BTreeMap<&str, ArrayRef> = BTreeMap::from([
        ("received_at", times(firings().map(|firing| firing.received_at))),
        ("reason", names(letters().map(|(reason, _)| Some(*reason)))),
        ("detail", texts(letters().map(|(_, detail)| &**detail))),
        ("topic", texts(rows.iter().map(|(_, row)| &*row.key))),
        ("client_id", texts(firings().map(|firing| &*firing.rule_id))),
        ("payload", Arc::new(payloads.finish()) as ArrayRef),
        ("boot", numbers(firings().map(|firing| firing.boot))),
        ("seq", numbers(firings().map(|firing| firing.seq))),
    ]);
    in_order(&schema, rows.len(), &mut columns)
}

/// The columns in the order of `schema`; those that are not given are NULL.
fn in_order(
    schema: &SchemaRef,
    rows: usize,
    columns: &mut BTreeMap<&str, ArrayRef>,
) -> Result<RecordBatch, ArrowError> {
    let mut column = |name: &str| columns.remove(name);
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(field.name()).unwrap_or_else(|| new_null_array(field.data_type(), rows)));
    RecordBatch::try_new(schema.clone(), columns.collect())
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn names<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn times(values: impl Iterator<Item = Timestamp>) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    values.for_each(|value| builder.append_value(value.as_micros()));
    Arc::new(builder.finish())
}

fn numbers(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}
