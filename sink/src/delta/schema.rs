//! The columns of a table in the words of the protocol.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use serde_json::{Value, json};

use super::action::{Format, Metadata};
use crate::layout::PARTITION_COLUMNS;
use crate::spec::TableSpec;

/// The metadata of a new table, created at `micros` since the Unix epoch. `None` if a column has a type
/// the protocol does not know.
pub(crate) fn metadata(spec: &TableSpec, micros: i64, process: u32) -> Option<Metadata> {
    Some(Metadata {
        id: table_id(&spec.name, micros, process),
        name: Some(spec.name.to_string()),
        description: None,
        format: Format { provider: "parquet".to_owned(), options: Default::default() },
        schema_string: schema_json(&spec.schema)?.to_string(),
        partition_columns: PARTITION_COLUMNS.map(str::to_owned).to_vec(),
        configuration: Default::default(),
        created_time: Some(micros / 1000),
    })
}

/// Whether `metadata` describes the table that `spec` wants: the same columns in the same order.
pub(crate) fn matches(metadata: &Metadata, spec: &TableSpec) -> bool {
    let stored = serde_json::from_str::<Value>(&metadata.schema_string).ok();
    stored.is_some() && stored == schema_json(&spec.schema) && metadata.partition_columns == PARTITION_COLUMNS
}

fn schema_json(schema: &Schema) -> Option<Value> {
    let mut fields = Vec::new();
    for field in schema.fields() {
        fields.push(column(field.name(), type_name(field.data_type())?, field.is_nullable()));
    }
    let [date, hour] = PARTITION_COLUMNS;
    fields.push(column(date, "date", true));
    fields.push(column(hour, "integer", true));
    Some(json!({ "type": "struct", "fields": fields }))
}

fn column(name: &str, type_name: &str, nullable: bool) -> Value {
    json!({ "name": name, "type": type_name, "nullable": nullable, "metadata": {} })
}

fn type_name(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Utf8 => Some("string"),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::Float64 => Some("double"),
        DataType::Boolean => Some("boolean"),
        DataType::Int64 => Some("long"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Some("timestamp"),
        _ => None,
    }
}

/// A UUID of version 8 (RFC 9562: the maker's own bits), because nothing here draws random numbers: the
/// time of creation, the process, and the name.
fn table_id(name: &str, micros: i64, process: u32) -> String {
    let named = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let micros = micros.unsigned_abs();
    format!(
        "{:08x}-{:04x}-8{:03x}-a{:03x}-{process:08x}{:04x}",
        (micros >> 28) & 0xffff_ffff,
        (micros >> 12) & 0xffff,
        micros & 0xfff,
        (named >> 16) & 0xfff,
        named & 0xffff
    )
}
