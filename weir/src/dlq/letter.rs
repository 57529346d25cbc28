//! A row of the streams of dead letters.

use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use telemetry::{Identity, Timestamp};

use super::view::{LetterId, Source};

/// One letter. Its payload has at most `mqtt.max_payload_bytes`, or is the body of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: LetterId,
    pub(super) received_at: Timestamp,
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) topic: String,
    pub(super) client_id: String,
    pub(super) payload: Vec<u8>,
    /// What the transport said. Letters of versions before do not have it.
    pub(super) identity: Option<Identity>,
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepName {
    /// Id of the run: 32 hex digits.
    pub(crate) run: String,
    /// Index of the step.
    pub(crate) step: usize,
    /// Offset of the letter that the run waits with; an older letter of the same run is not it.
    pub(crate) letter: u64,
}

impl Letter {
    /// The step that was given up, if the letter is about one.
    pub(super) fn step(&self) -> Option<StepName> {
        let (run, step) = self.run()?;
        Some(StepName { run: run.to_owned(), step: step.parse().ok()?, letter: self.id.offset })
    }

    /// Run and last part of the topic `workflows/RUN/…`.
    pub(super) fn run(&self) -> Option<(&str, &str)> {
        if self.id.source != Source::Workflows {
            return None;
        }
        self.topic.strip_prefix("workflows/")?.split_once('/')
    }
}

/// The letters of `batch`, the record `offset` of the stream of `source`.
pub(super) fn letters(source: Source, offset: u64, batch: &RecordBatch) -> anyhow::Result<Vec<Letter>> {
    let received_at = column(batch, "received_at")?.as_primitive_opt::<TimestampMicrosecondType>();
    let received_at = received_at.context("column received_at is not of its type")?;
    let reason = column(batch, "reason")?.as_dictionary_opt::<Int32Type>();
    let reason = reason.and_then(|reason| reason.downcast_dict::<StringArray>());
    let reason = reason.context("column reason is not of its type")?;
    let text = |name| column(batch, name)?.as_string_opt::<i32>().with_context(|| format!("column {name} is no text"));
    let (detail, topic, client_id) = (text("detail")?, text("topic")?, text("client_id")?);
    let payload = column(batch, "payload")?.as_binary_opt::<i32>().context("column payload is not of its type")?;
    let number = |name| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (boot, seq) = (number("boot"), number("seq"));

    let letters = (0_u32..).zip(0..batch.num_rows()).zip(reason).map(|((row, at), reason)| Letter {
        id: LetterId { source, offset, row },
        received_at: Timestamp::from_micros(received_at.value(at)),
        reason: reason.unwrap_or_default().to_owned(),
        detail: detail.value(at).to_owned(),
        topic: topic.value(at).to_owned(),
        client_id: client_id.value(at).to_owned(),
        payload: payload.value(at).to_owned(),
        identity: boot
            .zip(seq)
            .filter(|(boot, seq)| boot.is_valid(at) && seq.is_valid(at))
            .map(|(boot, seq)| Identity { boot: boot.value(at), seq: seq.value(at) }),
    });
    Ok(letters.collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a dyn Array> {
    batch.column_by_name(name).map(AsRef::as_ref).with_context(|| format!("a record without column {name}"))
}
