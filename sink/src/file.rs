//! One Parquet file of one hour.

use std::sync::Arc;

use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::arrange::HourRows;
use crate::spec::TableSpec;

/// Rows of a row group at most: what a reader decodes at once, and what the writer holds encoded.
const ROW_GROUP_ROWS: usize = 1024 * 1024;
/// Share of false positives of the bloom filter.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Level of zstd: higher ones cost more time than they save bytes on telemetry.
const ZSTD_LEVEL: i32 = 3;

/// The bytes of a file with `rows`.
///
/// # Errors
/// If the rows have not the columns of `spec`.
pub(crate) fn encode(rows: &HourRows, spec: &TableSpec) -> Result<Vec<u8>, ParquetError> {
    let options = ArrowWriterOptions::new()
        .with_properties(properties(rows, spec)?)
        // Without the embedded Arrow schema every reader sees plain text, not dictionaries.
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&spec.schema), options)?;
    writer.write(&rows.batch)?;
    writer.into_inner()
}

fn properties(rows: &HourRows, spec: &TableSpec) -> Result<WriterProperties, ParquetError> {
    let device_id = ColumnPath::from(spec.column(spec.device_id));
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_sorting_columns(Some(vec![sorting(spec.device_id)?, sorting(spec.time)?]))
        .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_column_bloom_filter_enabled(device_id.clone(), true)
        .set_column_bloom_filter_fpp(device_id.clone(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(device_id, u64::from(rows.devices));
    for (index, field) in spec.schema.fields().iter().enumerate() {
        builder = encoded(builder, field.name(), field.data_type(), spec.unique == Some(index));
    }
    Ok(builder.build())
}

fn encoded(
    builder: WriterPropertiesBuilder,
    name: &str,
    data_type: &DataType,
    unique: bool,
) -> WriterPropertiesBuilder {
    let column = ColumnPath::from(name);
    match data_type {
        // Neighbours in the sort order differ by little.
        DataType::Timestamp(_, _) | DataType::Int64 => builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
        DataType::Float64 => builder.set_column_dictionary_enabled(column, false),
        _ if unique => builder.set_column_dictionary_enabled(column, false),
        _ => builder,
    }
}

fn sorting(column: usize) -> Result<SortingColumn, ParquetError> {
    let column_idx = i32::try_from(column).map_err(|error| ParquetError::External(Box::new(error)))?;
    Ok(SortingColumn { column_idx, descending: false, nulls_first: false })
}
