//! Which tables there are, and the role of their columns.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use telemetry::schema::{self, alert, reading};

use crate::error::SinkError;

/// A table: its name, its columns, and which of them it is sorted and partitioned by.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// `readings` or `alerts`: name of the directory, of the stream, and of metric labels.
    pub name: &'static str,
    /// Columns of the data files. The batches of the stream begin with them.
    pub schema: SchemaRef,
    /// Dictionary of text: first column of the sort order, with a bloom filter.
    pub(crate) device_id: usize,
    /// Timestamp: second column of the sort order; its UTC date and hour are the partition columns.
    pub(crate) time: usize,
    /// The number measured, for statistics in the log.
    pub(crate) value: usize,
    /// Text that is different in each row, so that a dictionary would only cost.
    pub(crate) unique: Option<usize>,
}

impl TableSpec {
    /// The table of measurements.
    #[must_use]
    pub fn readings() -> Self {
        Self {
            name: "readings",
            schema: schema::readings(),
            device_id: reading::DEVICE_ID,
            time: reading::TIME,
            value: reading::VALUE,
            unique: None,
        }
    }

    /// The table of what rules fired.
    #[must_use]
    pub fn alerts() -> Self {
        Self {
            name: "alerts",
            schema: schema::alerts(),
            device_id: alert::DEVICE_ID,
            time: alert::TIME,
            value: alert::FIRST_READING_COLUMN + reading::VALUE,
            unique: Some(alert::ALERT_ID),
        }
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
