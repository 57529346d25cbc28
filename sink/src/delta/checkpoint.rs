//! Checkpoints: one Parquet file that stands for all commits up to its version.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use streams::faults::{Point, point};

use super::action::Action;
use super::log::Snapshot;
use crate::durable;
use crate::error::SinkError;

/// Actions turned into columns at a time.
const BATCH_ACTIONS: usize = 4096;
/// Where readers look for the newest checkpoint first.
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// Path of the checkpoint of `version`.
pub(crate) fn path(log: &Path, version: u64) -> PathBuf {
    log.join(format!("{version:020}.checkpoint.parquet"))
}

/// Writes the checkpoint of `snapshot`, then the pointer to it; both staged as `staged`, synced, and put in
/// place in one step each. If it exists, only the pointer is written.
pub(crate) fn write(log: &Path, snapshot: Snapshot, staged: &Path) -> Result<(), SinkError> {
    let version = snapshot.version;
    let actions = snapshot.into_actions();
    let path = path(log, version);
    let file = durable::create_new(staged)?;
    encode(&file, &actions).map_err(SinkError::columns("cannot write", staged))?;
    file.sync_all().map_err(SinkError::io("cannot sync", staged))?;
    match durable::publish(staged, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(staged).map_err(SinkError::io("cannot remove", staged))?;
        }
        other => other.map_err(SinkError::io("cannot publish", &path))?,
    }
    point(Point::CheckpointNamed);
    durable::sync_dir(log)?;
    // Another writer may have been faster with a later one, while this process stood still.
    if pointed(log).is_some_and(|newer| newer > version && self::path(log, newer).exists()) {
        return Ok(());
    }
    let pointer = serde_json::json!({ "version": version, "size": actions.len() });
    durable::write_new(staged, pointer.to_string().as_bytes())?;
    // Replacing is meant here: the pointer is a hint, and the old one stays valid until then.
    fs::rename(staged, log.join(LAST_CHECKPOINT))
        .map_err(SinkError::io("cannot replace", &log.join(LAST_CHECKPOINT)))?;
    durable::sync_dir(log)
}

/// Version that the pointer names; `None` if there is none, or nothing in it: it is a hint.
fn pointed(log: &Path) -> Option<u64> {
    let pointer: serde_json::Value = serde_json::from_slice(&fs::read(log.join(LAST_CHECKPOINT)).ok()?).ok()?;
    pointer.get("version")?.as_u64()
}

/// The actions of the checkpoint at `path`, of any writer of classic checkpoints.
pub(crate) fn read(path: &Path) -> Result<Vec<Action>, SinkError> {
    let file = File::open(path).map_err(SinkError::io("cannot open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(BATCH_ACTIONS).build())
        .map_err(|error| SinkError::damaged(path, format!("not a checkpoint: {error}")))?;
    let mut actions = Vec::new();
    for batch in reader {
        let lines = batch
            .and_then(|batch| to_lines(&batch))
            .map_err(|error| SinkError::damaged(path, format!("not a checkpoint: {error}")))?;
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action = serde_json::from_slice(line)
                .map_err(|error| SinkError::damaged(path, format!("a row is not an action: {error}")))?;
            actions.push(action);
        }
    }
    Ok(actions)
}

fn to_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn encode(file: &File, actions: &[Action]) -> Result<(), ParquetError> {
    let schema = schema();
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    for actions in actions.chunks(BATCH_ACTIONS) {
        let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(BATCH_ACTIONS).build_decoder()?;
        decoder.serialize(actions)?;
        if let Some(batch) = decoder.flush()? {
            writer.write(&batch)?;
        }
    }
    writer.close()?;
    Ok(())
}

/// Columns of a checkpoint, by the protocol: one per kind of action, of which each row has one.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        group("protocol", vec![integer("minReaderVersion"), integer("minWriterVersion")]),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                group("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                boolean("dataChange"),
                text("stats"),
            ],
        ),
        group("remove", vec![text("path"), long("deletionTimestamp"), boolean("dataChange")]),
    ]))
}

fn group(name: &str, fields: Vec<Field>) -> Field {
    Field::new(name, DataType::Struct(Fields::from(fields)), true)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn integer(name: &str) -> Field {
    Field::new(name, DataType::Int32, true)
}

fn boolean(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

fn list(name: &str) -> Field {
    Field::new_list(name, Field::new("element", DataType::Utf8, true), true)
}

fn map(name: &str) -> Field {
    let (key, value) = (Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true));
    Field::new_map(name, "key_value", key, value, false, true)
}
