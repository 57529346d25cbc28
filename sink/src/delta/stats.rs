//! Statistics of a data file, as the log keeps them so that readers skip files.

use arrow::array::{Array, DictionaryArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::{max, min};
use arrow::datatypes::Int32Type;
use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::spec::TableSpec;

/// Longest text in statistics, in bytes: they are in memory whenever a table is opened.
const LONGEST_TEXT: usize = 64;

/// Statistics of `batch`, sorted by device, as JSON text: its rows, and the range of device, time and, where
/// the table has one, value.
pub(crate) fn of(batch: &RecordBatch, spec: &TableSpec) -> String {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    let device_and_time = [
        (spec.device_id, devices(batch.column(spec.device_id).as_ref())),
        (spec.time, times(batch.column(spec.time).as_ref())),
    ];
    let value = spec.value.map(|column| (column, values(batch.column(column).as_ref())));
    for (column, range) in device_and_time.into_iter().chain(value) {
        nulls.insert(spec.column(column).to_owned(), json!(batch.column(column).null_count()));
        if let Some((low, high)) = range {
            least.insert(spec.column(column).to_owned(), low);
            most.insert(spec.column(column).to_owned(), high);
        }
    }
    json!({ "numRecords": batch.num_rows(), "minValues": least, "maxValues": most, "nullCount": nulls }).to_string()
}

/// Rows of a file, out of its statistics of any writer; `None` if it says nothing.
pub(crate) fn rows(stats: &str) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rows {
        num_records: u64,
    }
    serde_json::from_str::<Rows>(stats).ok().map(|rows| rows.num_records)
}

fn devices(column: &dyn Array) -> Option<(Value, Value)> {
    let column = column.as_any().downcast_ref::<DictionaryArray<Int32Type>>()?;
    let texts = column.values().as_any().downcast_ref::<StringArray>()?;
    let text = |row: usize| Some(texts.value(column.key(row)?)).filter(|text| text.len() <= LONGEST_TEXT);
    Some((json!(text(0)?), json!(text(column.len().checked_sub(1)?)?)))
}

fn times(column: &dyn Array) -> Option<(Value, Value)> {
    let column = column.as_any().downcast_ref::<TimestampMicrosecondArray>()?;
    let text = |micros| Some(DateTime::from_timestamp_micros(micros)?.to_rfc3339_opts(SecondsFormat::Micros, true));
    Some((json!(text(min(column)?)?), json!(text(max(column)?)?)))
}

fn values(column: &dyn Array) -> Option<(Value, Value)> {
    let column = column.as_any().downcast_ref::<Float64Array>()?;
    let (low, high) = (min(column)?, max(column)?);
    // JSON has no infinities, and a NaN has no place in an order: without a range nothing is skipped.
    (low.is_finite() && high.is_finite()).then(|| (json!(low), json!(high)))
}
