//! Counts the rows of a table, message by message.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sink::Table;

use super::Run;

const BATCH_ROWS: usize = 65_536;
const COLUMNS: [&str; 3] = ["device_id", "boot", "seq"];

/// Rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableCounts {
    /// All rows.
    pub(crate) rows: u64,
    /// Rows of messages with an identity, by run and sequence number.
    pub(crate) runs: BTreeMap<Run, BTreeMap<i64, u64>>,
}

/// Counts the table in `directory`. Its log and its folder must name the same files: a reader may use either.
pub(super) fn count(directory: &Path) -> anyhow::Result<TableCounts> {
    let table = Table::open_read(directory)?;
    let by_log: BTreeSet<PathBuf> = table.files().iter().map(|file| file.path.clone()).collect();
    let mut by_folder = BTreeSet::new();
    parquet_files(directory, &mut by_folder)?;
    if let Some(file) = by_folder.difference(&by_log).next() {
        bail!(
            "{}: not in the table's log: weir is running, or was killed and removes it at its next start; verify after a stop",
            file.display()
        );
    }
    if let Some(file) = by_log.difference(&by_folder).next() {
        bail!("{}: in the table's log and not in its folder: somebody deleted it", file.display());
    }
    let mut counts = TableCounts::default();
    for file in &by_log {
        counts.add_file(file).with_context(|| file.display().to_string())?;
    }
    Ok(counts)
}

/// Rows of the table in `directory`, by its log.
pub(crate) fn rows(directory: &Path) -> anyhow::Result<u64> {
    Ok(Table::open_read(directory)?.files().iter().filter_map(|file| file.rows).sum())
}

fn parquet_files(directory: &Path, files: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        // The log's own checkpoints are Parquet too.
        if entry.file_type()?.is_dir() && entry.file_name() != "_delta_log" {
            parquet_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.insert(path);
        }
    }
    Ok(())
}

impl TableCounts {
    fn add_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let columns = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
        for batch in builder.with_projection(columns).with_batch_size(BATCH_ROWS).build()? {
            self.add_batch(&batch?)?;
        }
        Ok(())
    }

    fn add_batch(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let column = |name: &str, kind: &DataType| {
            let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
            cast(column, kind).with_context(|| format!("column {name}"))
        };
        let devices = column("device_id", &DataType::Utf8)?;
        let devices: &StringArray = devices.as_string();
        let (boots, seqs) = (column("boot", &DataType::Int64)?, column("seq", &DataType::Int64)?);
        let (boots, seqs) = (boots.as_primitive::<Int64Type>(), seqs.as_primitive::<Int64Type>());
        self.rows += batch.num_rows() as u64;
        // Files are sorted by device: the run seldom changes from row to row.
        let mut row = 0;
        while row < batch.num_rows() {
            let (device, boot) = (devices.value(row), boots.value(row));
            let same = |at: &usize| devices.value(*at) == device && boots.value(*at) == boot;
            let end = (row..batch.num_rows()).find(|at| !same(at)).unwrap_or(batch.num_rows());
            let run = Run { device: device.to_owned(), boot };
            let stored = self.runs.entry(run).or_default();
            for at in (row..end).filter(|at| boots.is_valid(*at) && seqs.is_valid(*at)) {
                *stored.entry(seqs.value(at)).or_default() += 1;
            }
            row = end;
        }
        Ok(())
    }
}
