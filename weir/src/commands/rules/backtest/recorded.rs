//! A table of readings, read back as the records of the stream they came from.
//!
//! One batch of rows is in memory at a time, and the rows of one message that a batch cuts.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use sink::Table;
use telemetry::Timestamp;
use telemetry::schema::{self, reading};

use super::messages::Messages;

/// Rows evaluated at once: columns of this length stay in the cache of a core, and the fixed cost of an evaluation
/// vanishes.
const BATCH_ROWS: usize = 8_192;
/// The same where rows of messages are brought together: several times the most readings of a message, so that few
/// messages are cut by the border of a batch.
const BATCH_ROWS_OF_MESSAGES: usize = 65_536;

/// Which readings are looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selection {
    /// From this time on, by the device's clock.
    pub(super) from: Option<Timestamp>,
    /// Before this time.
    pub(super) to: Option<Timestamp>,
    /// Only of these devices; all if there is none.
    pub(super) devices: Vec<String>,
    /// Whether the rows of a message must be brought together: rules over messages ask for it.
    pub(super) messages: bool,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) files: usize,
    pub(super) rows: u64,
}

/// Gives each batch of the table in `directory` to `take`, in the stream schema of readings, in order of the path of
/// the files.
///
/// # Errors
/// If the table cannot be read, or what `take` returns.
pub(super) fn each(
    directory: &Path,
    selection: &Selection,
    mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<Read> {
    let table = Table::open_read(directory).with_context(|| format!("table {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = table.files().iter().map(|file| file.path.clone()).collect();
    paths.sort();
    let mut read = Read { files: paths.len(), rows: 0 };
    let mut small = Small::default();
    for path in paths {
        let mut counted = |batch: RecordBatch| {
            read.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
            small.push(batch, &mut take)
        };
        file(&path, selection, &mut counted).with_context(|| path.display().to_string())?;
    }
    small.flush(&mut take)?;
    Ok(read)
}

/// Batches too small to be evaluated alone: a table of many hours has many files of few rows.
#[derive(Default)]
struct Small {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Small {
    fn push(
        &mut self,
        batch: RecordBatch,
        take: &mut impl FnMut(&RecordBatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.rows += batch.num_rows();
        self.batches.push(batch);
        if self.rows >= BATCH_ROWS { self.flush(take) } else { Ok(()) }
    }

    fn flush(&mut self, take: &mut impl FnMut(&RecordBatch) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.rows = 0;
        let batches = std::mem::take(&mut self.batches);
        match batches.as_slice() {
            [] => Ok(()),
            [batch] => take(batch),
            batches => take(&concat_batches(&schema::readings_stream(), batches).context("joined batches")?),
        }
    }
}

fn file(
    path: &Path,
    selection: &Selection,
    take: &mut impl FnMut(RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let metadata = builder.metadata().clone();
    let wanted = (0..metadata.num_row_groups()).filter(|at| selection.may_have(metadata.row_group(*at))).collect();
    let table = schema::readings();
    let names = table.fields().iter().map(|field| field.name().as_str());
    let columns = ProjectionMask::columns(builder.parquet_schema(), names);
    let rows = if selection.messages { BATCH_ROWS_OF_MESSAGES } else { BATCH_ROWS };
    let reader = builder.with_row_groups(wanted).with_projection(columns).with_batch_size(rows).build()?;
    let mut messages = Messages::new(selection.messages);
    for batch in reader {
        let batch = selection.rows_of(table_columns(&batch?)?)?;
        if let Some(batch) = messages.push(batch)? {
            take(batch)?;
        }
    }
    // No message is in two files, but for the hours: see docs/rules.md.
    if let Some(batch) = messages.finish()? {
        take(batch)?;
    }
    Ok(())
}

/// The columns of readings, as the table's schema has them, whatever the file made of them. A column that a file lacks
/// is NULL.
fn table_columns(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let schema = schema::readings();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()).with_context(|| format!("column {}", field.name()))?,
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => anyhow::bail!("no column {}: is it a table of readings?", field.name()),
        });
    }
    RecordBatch::try_new(schema, columns).context("columns of readings")
}

impl Selection {
    /// Whether a row group can hold a time that is wanted; so it seems if it does not say.
    fn may_have(&self, group: &RowGroupMetaData) -> bool {
        let times = group.columns().iter().find(|column| column.column_path().string() == "time");
        let Some(Statistics::Int64(times)) = times.and_then(|times| times.statistics()) else { return true };
        let too_early = self.from.zip(times.max_opt()).is_some_and(|(from, last)| *last < from.as_micros());
        let too_late = self.to.zip(times.min_opt()).is_some_and(|(to, first)| *first >= to.as_micros());
        !too_early && !too_late
    }

    /// The wanted rows of `batch`.
    fn rows_of(&self, batch: RecordBatch) -> anyhow::Result<RecordBatch> {
        if self.from.is_none() && self.to.is_none() && self.devices.is_empty() {
            return Ok(batch);
        }
        let (first, end) =
            (self.from.map_or(i64::MIN, Timestamp::as_micros), self.to.map_or(i64::MAX, Timestamp::as_micros));
        let times = batch.column(reading::TIME).as_primitive::<TimestampMicrosecondType>();
        let devices = batch.column(reading::DEVICE_ID).as_dictionary::<Int32Type>();
        let names: &StringArray = devices.values().as_string();
        let named = |row: usize| devices.key(row).map(|key| names.value(key)).unwrap_or_default();
        let wanted = |(row, time): (usize, &i64)| {
            (first..end).contains(time)
                && (self.devices.is_empty() || self.devices.iter().any(|device| device == named(row)))
        };
        let mask: BooleanArray = times.values().iter().enumerate().map(|at| Some(wanted(at))).collect();
        filter_record_batch(&batch, &mask).context("rows of the selection")
    }
}
