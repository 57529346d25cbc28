//! The columns of everything Weir stores. One row of `readings` is one measurement.
//!
//! A *stream* schema is its *table* schema plus trailing columns that only consumers need: the table
//! columns are a prefix, so that the sink drops the rest without a copy.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Names and positions of the columns of a reading.
pub mod reading {
    /// Who measured: dictionary of text.
    pub const DEVICE_ID: usize = 0;
    /// What was measured: dictionary of text.
    pub const METRIC: usize = 1;
    /// When, by the device's clock: microseconds, UTC.
    pub const TIME: usize = 2;
    /// A number.
    pub const VALUE: usize = 3;
    /// A boolean value.
    pub const VALUE_BOOL: usize = 4;
    /// A text value.
    pub const VALUE_TEXT: usize = 5;
    /// SenML unit: dictionary of text.
    pub const UNIT: usize = 6;
    /// Where: dictionary of text.
    pub const SITE: usize = 7;
    /// Restart counter of the device.
    pub const BOOT: usize = 8;
    /// Message number since that restart.
    pub const SEQ: usize = 9;
    /// When Weir received it: microseconds, UTC.
    pub const RECEIVED_AT: usize = 10;
    /// Stream only: index of the reading in its message; 0 begins a message.
    pub const ROW: usize = 11;
    /// Number of columns of the table.
    pub const TABLE_COLUMNS: usize = 11;
}

/// Positions of the columns of a dead letter.
pub mod dead_letter {
    /// When Weir received it: microseconds, UTC.
    pub const RECEIVED_AT: usize = 0;
    /// The kind of refusal: dictionary of text.
    pub const REASON: usize = 1;
    /// What exactly, for a person.
    pub const DETAIL: usize = 2;
    /// Topic it was published to.
    pub const TOPIC: usize = 3;
    /// MQTT client that published it.
    pub const CLIENT_ID: usize = 4;
    /// The payload, whole: binary.
    pub const PAYLOAD: usize = 5;
    /// Restart counter that the transport gave, nullable. Not in records before layout version 2.
    pub const BOOT: usize = 6;
    /// Message number that the transport gave, nullable. Not in records before layout version 2.
    pub const SEQ: usize = 7;
}

/// Positions of the columns of an alert.
pub mod alert {
    /// Deterministic id: 32 hex digits.
    pub const ALERT_ID: usize = 0;
    /// The rule that fired: dictionary of text.
    pub const RULE_ID: usize = 1;
    /// Severity of the rule: dictionary of text.
    pub const SEVERITY: usize = 2;
    /// The rule's message, its places filled in.
    pub const MESSAGE: usize = 3;
    /// First of the columns taken over from the reading, in the order of the reading's table schema.
    pub const FIRST_READING_COLUMN: usize = 4;
    /// Who measured.
    pub const DEVICE_ID: usize = 4;
    /// When, by the device's clock.
    pub const TIME: usize = 6;
    /// Stream only: partition of `readings` that the reading came from.
    pub const SOURCE_PARTITION: usize = 15;
    /// Stream only: offset in that partition.
    pub const SOURCE_OFFSET: usize = 16;
    /// Stream only: index of the alert among all alerts of that record of readings, by reading, then by rule,
    /// from 0.
    pub const SOURCE_INDEX: usize = 17;
    /// Number of columns of the table.
    pub const TABLE_COLUMNS: usize = 15;
}

/// Positions of the columns of a firing: a rule that starts a workflow.
pub mod firing {
    /// Deterministic id of the run, and of the alert: 32 hex digits.
    pub const RUN_ID: usize = 0;
    /// The rule that fired: dictionary of text.
    pub const RULE_ID: usize = 1;
    /// Version of the rule.
    pub const RULE_VERSION: usize = 2;
    /// Severity of the rule: dictionary of text.
    pub const SEVERITY: usize = 3;
    /// The rule's message, its places filled in.
    pub const MESSAGE: usize = 4;
    /// Who measured: dictionary of text.
    pub const DEVICE_ID: usize = 5;
    /// Where: dictionary of text.
    pub const SITE: usize = 6;
    /// When, by the device's clock.
    pub const TIME: usize = 7;
    /// When Weir received it.
    pub const RECEIVED_AT: usize = 8;
    /// Restart counter of the device.
    pub const BOOT: usize = 9;
    /// Message number since that restart.
    pub const SEQ: usize = 10;
    /// JSON object: what was measured.
    pub const DATA: usize = 11;
    /// JSON object: labels and steps of the rule, as they were when it fired. Dictionary of text.
    pub const PLAN: usize = 12;
    /// Partition of `readings` that the reading came from.
    pub const SOURCE_PARTITION: usize = 13;
    /// Offset in that partition.
    pub const SOURCE_OFFSET: usize = 14;
    /// Index of the firing among all firings of that record of readings, from 0.
    pub const SOURCE_INDEX: usize = 15;
}

/// Positions of the columns of an event that a workflow emitted. Its stream and its table are the same.
pub mod event {
    /// Idempotency key of the step that emitted it: run id, `-`, index of the step.
    pub const EVENT_ID: usize = 0;
    /// The rule that fired: dictionary of text.
    pub const RULE_ID: usize = 1;
    /// Severity of the rule: dictionary of text.
    pub const SEVERITY: usize = 2;
    /// The rule's message, its places filled in.
    pub const MESSAGE: usize = 3;
    /// Who measured: dictionary of text.
    pub const DEVICE_ID: usize = 4;
    /// Where: dictionary of text.
    pub const SITE: usize = 5;
    /// When, by the device's clock.
    pub const TIME: usize = 6;
    /// When Weir received the reading.
    pub const RECEIVED_AT: usize = 7;
    /// Restart counter of the device.
    pub const BOOT: usize = 8;
    /// Message number since that restart.
    pub const SEQ: usize = 9;
    /// The body of the step: a CloudEvent, or what its template gave.
    pub const DATA: usize = 10;
}

/// Microseconds, UTC: nanoseconds break Spark.
#[must_use]
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Text with few distinct values.
#[must_use]
pub fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn reading_fields() -> Vec<Field> {
    vec![
        Field::new("device_id", dictionary_type(), false),
        Field::new("metric", dictionary_type(), false),
        Field::new("time", timestamp_type(), false),
        Field::new("value", DataType::Float64, true),
        Field::new("value_bool", DataType::Boolean, true),
        Field::new("value_text", DataType::Utf8, true),
        Field::new("unit", dictionary_type(), true),
        Field::new("site", dictionary_type(), true),
        Field::new("boot", DataType::Int64, true),
        Field::new("seq", DataType::Int64, true),
        Field::new("received_at", timestamp_type(), false),
    ]
}

fn alert_fields() -> Vec<Field> {
    let mut fields = vec![
        Field::new("alert_id", DataType::Utf8, false),
        Field::new("rule_id", dictionary_type(), false),
        Field::new("severity", dictionary_type(), false),
        Field::new("message", DataType::Utf8, false),
    ];
    fields.extend(reading_fields());
    fields
}

fn with(mut fields: Vec<Field>, more: impl IntoIterator<Item = Field>) -> SchemaRef {
    fields.extend(more);
    Arc::new(Schema::new(fields))
}

static READINGS: LazyLock<SchemaRef> = LazyLock::new(|| with(reading_fields(), []));
static READINGS_STREAM: LazyLock<SchemaRef> =
    LazyLock::new(|| with(reading_fields(), [Field::new("row", DataType::Int32, false)]));
static ALERTS: LazyLock<SchemaRef> = LazyLock::new(|| with(alert_fields(), []));
static ALERTS_STREAM: LazyLock<SchemaRef> = LazyLock::new(|| {
    with(
        alert_fields(),
        [
            Field::new("source_partition", DataType::Int32, false),
            Field::new("source_offset", DataType::Int64, false),
            Field::new("source_index", DataType::Int32, false),
        ],
    )
});
static WORKFLOWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    with(
        vec![],
        [
            Field::new("run_id", DataType::Utf8, false),
            Field::new("rule_id", dictionary_type(), false),
            Field::new("rule_version", DataType::Int64, false),
            Field::new("severity", dictionary_type(), false),
            Field::new("message", DataType::Utf8, false),
            Field::new("device_id", dictionary_type(), false),
            Field::new("site", dictionary_type(), true),
            Field::new("time", timestamp_type(), false),
            Field::new("received_at", timestamp_type(), false),
            Field::new("boot", DataType::Int64, true),
            Field::new("seq", DataType::Int64, true),
            Field::new("data", DataType::Utf8, false),
            Field::new("plan", dictionary_type(), false),
            Field::new("source_partition", DataType::Int32, false),
            Field::new("source_offset", DataType::Int64, false),
            Field::new("source_index", DataType::Int32, false),
        ],
    )
});
static EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    with(
        vec![],
        [
            Field::new("event_id", DataType::Utf8, false),
            Field::new("rule_id", dictionary_type(), false),
            Field::new("severity", dictionary_type(), false),
            Field::new("message", DataType::Utf8, false),
            Field::new("device_id", dictionary_type(), false),
            Field::new("site", dictionary_type(), true),
            Field::new("time", timestamp_type(), false),
            Field::new("received_at", timestamp_type(), false),
            Field::new("boot", DataType::Int64, true),
            Field::new("seq", DataType::Int64, true),
            Field::new("data", DataType::Utf8, false),
        ],
    )
});
static DEAD_LETTERS: LazyLock<SchemaRef> = LazyLock::new(|| {
    with(
        vec![],
        [
            Field::new("received_at", timestamp_type(), false),
            Field::new("reason", dictionary_type(), false),
            Field::new("detail", DataType::Utf8, false),
            Field::new("topic", DataType::Utf8, false),
            Field::new("client_id", DataType::Utf8, false),
            Field::new("payload", DataType::Binary, false),
            Field::new("boot", DataType::Int64, true),
            Field::new("seq", DataType::Int64, true),
        ],
    )
});

/// Columns of the table `readings`.
#[must_use]
pub fn readings() -> SchemaRef {
    READINGS.clone()
}

/// Columns of the stream `readings`: the table's, then `row`.
#[must_use]
pub fn readings_stream() -> SchemaRef {
    READINGS_STREAM.clone()
}

/// Columns of the table `alerts`: the rule, then the reading it fired on.
#[must_use]
pub fn alerts() -> SchemaRef {
    ALERTS.clone()
}

/// Columns of the stream `alerts`: the table's, then where the reading came from.
#[must_use]
pub fn alerts_stream() -> SchemaRef {
    ALERTS_STREAM.clone()
}

/// Columns of the streams of dead letters: the payload as it came, why it was refused, and the identity that the
/// transport gave it, if any. See [`dead_letter`] for their places.
#[must_use]
pub fn dead_letters() -> SchemaRef {
    DEAD_LETTERS.clone()
}

/// How many of the first columns of `schema` its records had in layout version 1 of [`crate::ipc`]; the others are
/// nullable and read as null. `None`: the schema is as it was.
pub(crate) fn columns_in_version_1(schema: &SchemaRef) -> Option<usize> {
    (*schema == *DEAD_LETTERS).then_some(dead_letter::BOOT)
}

/// Columns of the stream `workflows`: what fired, what is to be done about it, and where the reading came from.
#[must_use]
pub fn workflows() -> SchemaRef {
    WORKFLOWS.clone()
}

/// Columns of every stream and table that workflows emit to.
#[must_use]
pub fn events() -> SchemaRef {
    EVENTS.clone()
}

/// Columns of the stream called `stream`; a name that is not Weir's own is a stream that workflows emit to.
#[must_use]
pub fn of_stream(stream: &str) -> SchemaRef {
    match stream {
        "readings" => readings_stream(),
        "alerts" => alerts_stream(),
        "workflows" => workflows(),
        "dead_letters" | "workflow_dead_letters" => dead_letters(),
        _ => events(),
    }
}
