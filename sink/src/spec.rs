//! Which tables there are, and the role of their columns.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use streams::StreamName;
use telemetry::schema::{self, alert, event, reading};

use crate::error::SinkError;

/// A table: its name, its columns, and which of them it is sorted and partitioned by.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Name of the directory, of the stream, and of metric labels: `readings`, `alerts`, or the name of a stream
    /// of events.
    pub name: Arc<str>,
    /// Columns of the data files. The batches of the stream begin with them.
    pub schema: SchemaRef,
    /// Dictionary of text: first column of the sort order, with a bloom filter.
    pub(crate) device_id: usize,
    /// Timestamp: second column of the sort order; its UTC date and hour are the partition columns.
    pub(crate) time: usize,
    /// The number measured, for statistics in the log; not all tables have one.
    pub(crate) value: Option<usize>,
    /// Text that is different in each row, so that a dictionary would only cost.
    pub(crate) unique: Option<usize>,
}

impl TableSpec {
    /// The table of measurements.
    #[must_use]
    pub fn readings() -> Self {
        Self {
            name: "readings".into(),
            schema: schema::readings(),
            device_id: reading::DEVICE_ID,
            time: reading::TIME,
            value: Some(reading::VALUE),
            unique: None,
        }
    }

    /// The table of what rules fired.
    #[must_use]
    pub fn alerts() -> Self {
        Self {
            name: "alerts".into(),
            schema: schema::alerts(),
            device_id: alert::DEVICE_ID,
            time: alert::TIME,
            value: Some(alert::FIRST_READING_COLUMN + reading::VALUE),
            unique: Some(alert::ALERT_ID),
        }
    }

    /// The table of a stream of events that workflows emit to. `name` is the stream's.
    #[must_use]
    pub fn events(name: &str) -> Self {
        Self {
            name: name.into(),
            schema: schema::events(),
            device_id: event::DEVICE_ID,
            time: event::TIME,
            value: None,
            unique: Some(event::EVENT_ID),
        }
    }

    /// Whether the name is that of a stream: then it has no path separator, no dot and no upper case, and is a
    /// directory of its own below every root.
    ///
    /// # Errors
    /// [`SinkError::Config`].
    pub(crate) fn check(&self) -> Result<(), SinkError> {
        let name = self.name.as_ref();
        if StreamName::new(name).is_some() {
            return Ok(());
        }
        Err(SinkError::Config(format!(
            "table name is {name:?}, expected 1 to 64 lower case letters, digits, `_` or `-`"
        )))
    }

    /// The table's columns of `batch`, without a copy: they are the first ones of the stream's.
    pub(crate) fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, SinkError> {
        let columns = batch.columns().iter().take(self.schema.fields().len()).cloned().collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| SinkError::Columns {
            context: format!("the stream's columns are not those of table {}", self.name),
            source: error.into(),
        })
    }

    /// Name of column `index`.
    pub(crate) fn column(&self, index: usize) -> &str {
        self.schema.field(index).name()
    }
}
