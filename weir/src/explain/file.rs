//! Rows of a message in one Parquet file: row groups by their statistics and the bloom filter on devices, then three
//! columns, then the rows.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use telemetry::Timestamp;

use super::columns::{Rows, places};
use super::limits::BATCH_ROWS;
use super::view::{Reading, Who};

const IDENTITY: [&str; 3] = ["device_id", "boot", "seq"];

/// A row, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) row_group: usize,
    /// In the row group.
    pub(super) row: usize,
    pub(super) file_row: usize,
    pub(super) reading: Reading,
    pub(super) received_at: Timestamp,
    pub(super) alert_id: Option<String>,
}

/// The rows of `who` in the file at `path`.
pub(super) fn rows(path: &Path, who: &Who) -> anyhow::Result<Vec<Row>> {
    let file = File::open(path)?;
    let metadata = ArrowReaderMetadata::load(&file, Default::default())?;
    let device = metadata.parquet_schema().columns().iter().position(|column| column.name() == "device_id");
    let device = device.context("no column device_id")?;
    let (mut rows, mut first) = (Vec::new(), 0);
    for (index, group) in metadata.metadata().row_groups().iter().enumerate() {
        let length = usize::try_from(group.num_rows())?;
        if may_hold(group, who) {
            let open =
                || anyhow::Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, metadata.clone()));
            let bloom = open()?.get_row_group_column_bloom_filter(index, device)?;
            if bloom.is_none_or(|bloom| bloom.check(who.device.as_str())) {
                rows.extend(of_group(&open, (index, first, length), who)?);
            }
        }
        first += length;
    }
    Ok(rows)
}

/// Whether the statistics of a row group leave it possible that it holds the message. Long texts are cut in them, downwards
/// and upwards, so a range stays one.
fn may_hold(group: &RowGroupMetaData, who: &Who) -> bool {
    let number = |statistics: &Statistics, number: i64| match statistics {
        Statistics::Int64(range) => {
            range.min_opt().is_none_or(|least| *least <= number) && range.max_opt().is_none_or(|most| *most >= number)
        }
        _ => true,
    };
    group.columns().iter().all(|column| match (column.column_descr().name(), column.statistics()) {
        ("device_id", Some(range)) => {
            let device = who.device.as_bytes();
            range.min_bytes_opt().is_none_or(|least| least <= device)
                && range.max_bytes_opt().is_none_or(|most| most >= device)
        }
        ("boot", Some(range)) => number(range, who.boot),
        ("seq", Some(range)) => number(range, who.seq),
        _ => true,
    })
}

fn of_group(
    open: &impl Fn() -> anyhow::Result<ParquetRecordBatchReaderBuilder<File>>,
    (index, first, length): (usize, usize, usize),
    who: &Who,
) -> anyhow::Result<Vec<Row>> {
    let builder = open()?.with_row_groups(vec![index]).with_batch_size(BATCH_ROWS);
    let identity = ProjectionMask::columns(builder.parquet_schema(), IDENTITY);
    let (mut found, mut before) = (Vec::new(), 0);
    for batch in builder.with_projection(identity).build()? {
        let batch = batch?;
        for place in places(&batch, who)? {
            found.push(before + usize::try_from(place)?);
        }
        before += batch.num_rows();
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let builder = open()?.with_row_groups(vec![index]).with_row_selection(selection(&found, length));
    let (mut rows, mut left) = (Vec::new(), found.into_iter());
    for batch in builder.build()? {
        let batch: RecordBatch = batch?;
        let shown = Rows::of(&batch, (0..u32::try_from(batch.num_rows())?).collect())?;
        for (at, row) in (0..shown.len()).zip(left.by_ref()) {
            rows.push(Row {
                row_group: index,
                row,
                file_row: first + row,
                reading: shown.reading(at),
                received_at: shown.time("received_at", at),
                alert_id: shown.text("alert_id", at).map(str::to_owned),
            });
        }
    }
    Ok(rows)
}

/// The rows `chosen`, ascending, of a row group of `length` rows.
fn selection(chosen: &[usize], length: usize) -> RowSelection {
    let (mut selectors, mut next) = (Vec::new(), 0);
    for row in chosen {
        selectors.push(RowSelector::skip(row - next));
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    selectors.push(RowSelector::skip(length.saturating_sub(next)));
    selectors.retain(|selector| selector.row_count > 0);
    selectors.into()
}
