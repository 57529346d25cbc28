//! A row of a batch as JSON. Nulls are left out.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use telemetry::Timestamp;

pub(super) fn row(batch: &RecordBatch, row: usize) -> Map<String, Value> {
    let schema = batch.schema_ref();
    let fields = schema.fields().iter().zip(batch.columns());
    fields.filter_map(|(field, column)| Some((field.name().clone(), value(column.as_ref(), row)?))).collect()
}

fn value(column: &dyn Array, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Binary => bytes(column.as_binary::<i32>().value(row)),
        DataType::Timestamp(_, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            crate::dlq::view::time(Timestamp::from_micros(micros)).into()
        }
        DataType::Dictionary(_, _) => {
            let column = column.as_dictionary::<Int32Type>();
            return value(column.values().as_ref(), column.key(row)?);
        }
        other => format!("{other} cannot be shown").into(),
    })
}

/// Text where it is, else Base64 with a mark.
fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)).into(),
    }
}
