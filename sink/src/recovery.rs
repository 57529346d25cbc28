//! What opening a table does before anything is written: it makes the table exactly what its log says.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streams::faults::{Tooth, tooth};
use telemetry::Clock;

use crate::commit::{Committer, Paths, app_id};
use crate::config::SinkConfig;
use crate::delta::action::{CommitInfo, Protocol};
use crate::delta::{Add, LOG_DIR, PROTOCOL, Snapshot, log, schema};
use crate::durable;
use crate::error::SinkError;
use crate::layout::PartName;
use crate::spec::TableSpec;
use crate::table;

/// What was found and done.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) committer: Committer,
    /// Files of unfinished commits that were deleted.
    pub(crate) deleted: u64,
}

/// Opens the table, creating it if it is new.
pub(crate) fn open(
    config: &SinkConfig,
    spec: TableSpec,
    partitions: u32,
    clock: Arc<dyn Clock>,
) -> Result<Recovered, SinkError> {
    config.check()?;
    spec.check()?;
    let paths = directories(config, &spec.name)?;
    let lock = lock(config, &paths.table, &spec.name)?;
    clear_staging(&paths.staging)?;
    let snapshot = match Snapshot::read(&paths.log)? {
        Some(snapshot) => snapshot,
        None => create(&paths, &spec, clock.as_ref())?,
    };
    check_metadata(&snapshot, &paths.table, &spec)?;
    let positions = positions(&snapshot, &paths.table, &spec, partitions)?;
    check_files(&snapshot, &paths.table)?;
    let deleted = delete_leftovers(&snapshot, &paths.table, &positions)?;
    tracing::info!(
        table = %spec.name,
        version = snapshot.version,
        files = snapshot.files.len(),
        deleted,
        "table opened"
    );
    let committer = Committer {
        version: snapshot.version,
        checkpointed: snapshot.checkpoint.unwrap_or(0),
        checkpoint_commits: config.checkpoint_commits,
        spec,
        paths,
        clock,
        positions,
        _lock: lock,
    };
    Ok(Recovered { committer, deleted })
}

/// Creates and syncs the directories. The sync of the log's directory comes before the log is read: a commit
/// whose writer was killed before that sync must not be believed while a power cut can still take it back.
fn directories(config: &SinkConfig, name: &str) -> Result<Paths, SinkError> {
    let table = config.root.join(name);
    let paths = Paths { log: table.join(LOG_DIR), staging: config.staging.join(name), table };
    durable::create_dirs_synced(&paths.log)?;
    durable::create_dirs_synced(&paths.staging)?;
    let resolve = |path: &Path| path.canonicalize().map_err(SinkError::io("cannot resolve", path));
    if resolve(&paths.staging)?.starts_with(resolve(&config.root)?) {
        return Err(SinkError::Config(format!(
            "sink.staging is {}, expected a directory outside sink.root {}",
            config.staging.display(),
            config.root.display()
        )));
    }
    if device(&paths.staging)? != device(&paths.table)? {
        return Err(SinkError::Config(format!(
            "sink.staging {} is on another file system than sink.root {}",
            config.staging.display(),
            config.root.display()
        )));
    }
    Ok(paths)
}

fn device(path: &Path) -> Result<u64, SinkError> {
    fs::metadata(path).map(|metadata| metadata.dev()).map_err(SinkError::io("cannot stat", path))
}

fn lock(config: &SinkConfig, table: &Path, name: &str) -> Result<File, SinkError> {
    let path = config.root.join(format!(".{name}.lock"));
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(SinkError::io("cannot open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SinkError::Locked { table: table.to_owned(), lock: path }),
        Err(TryLockError::Error(error)) => Err(SinkError::io("cannot lock", &path)(error)),
    }
}

/// Deletes what an earlier process staged: its rows are still in the stream.
fn clear_staging(staging: &Path) -> Result<(), SinkError> {
    for (name, path) in entries(staging, fs::FileType::is_file)? {
        if name.ends_with(".staged") {
            fs::remove_file(&path).map_err(SinkError::io("cannot remove", &path))?;
            tracing::info!(path = %path.display(), "staged file of an unfinished commit deleted");
        }
    }
    Ok(())
}

/// The first commit of a new table: from then on, files without a log are a damage and not a beginning.
fn create(paths: &Paths, spec: &TableSpec, clock: &dyn Clock) -> Result<Snapshot, SinkError> {
    if let Some((path, _)) = part_files(&paths.table)?.first() {
        return Err(SinkError::damaged(
            &paths.log,
            format!("the log is empty, but {} is there: restore the log, or move the table away", path.display()),
        ));
    }
    let micros = clock.now().as_micros();
    let metadata = schema::metadata(spec, micros, std::process::id())
        .ok_or_else(|| SinkError::incompatible(&paths.table, "a column has a type without a name in the protocol"))?;
    let protocol = Protocol { min_reader_version: PROTOCOL.0, min_writer_version: PROTOCOL.1 };
    let actions = [protocol.clone().into(), metadata.clone().into(), CommitInfo::of(micros / 1000, "CREATE TABLE")];
    log::write_commit(&paths.log, 0, &actions, &paths.staging.join("commit.staged"))?;
    Ok(Snapshot { protocol: Some(protocol), metadata: Some(metadata), ..Snapshot::default() })
}

fn check_metadata(snapshot: &Snapshot, table: &Path, spec: &TableSpec) -> Result<(), SinkError> {
    match &snapshot.metadata {
        None => Err(SinkError::damaged(table, "no commit names the columns")),
        Some(metadata) if !schema::matches(metadata, spec) => Err(SinkError::incompatible(
            table,
            format!("the table has columns {}, which are not those of {}", metadata.schema_string, spec.name),
        )),
        Some(_) => Ok(()),
    }
}

fn positions(
    snapshot: &Snapshot,
    table: &Path,
    spec: &TableSpec,
    partitions: u32,
) -> Result<BTreeMap<u32, u64>, SinkError> {
    let prefix = app_id(&spec.name, 0);
    let prefix = prefix.trim_end_matches('0');
    let mut positions = BTreeMap::new();
    for (app_id, txn) in &snapshot.txns {
        let Some(partition) = app_id.strip_prefix(prefix) else { continue };
        let position = partition.parse::<u32>().ok().zip(u64::try_from(txn.version).ok());
        let (partition, next) = position
            .ok_or_else(|| SinkError::damaged(table, format!("the log has position {} of {app_id}", txn.version)))?;
        if partition >= partitions {
            return Err(SinkError::incompatible(
                table,
                format!("the table holds rows of partition {partition}, but the stream has {partitions} partitions"),
            ));
        }
        positions.insert(partition, next);
    }
    Ok(positions)
}

/// Every file of the table is there and has its size: one `stat` each.
fn check_files(snapshot: &Snapshot, table: &Path) -> Result<(), SinkError> {
    for Add { path, size, .. } in snapshot.files.values() {
        let path = table::resolve(table, path)?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == *size => {}
            Ok(metadata) => {
                let detail = format!("the file has {} bytes, but was committed with {size}", metadata.len());
                return Err(SinkError::damaged(&path, detail));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SinkError::damaged(&path, "the file was committed, and is missing"));
            }
            Err(error) => return Err(SinkError::io("cannot stat", &path)(error)),
        }
    }
    Ok(())
}

/// Deletes data files that no commit names and whose rows are still in the stream, because the position of
/// their partition is before them. Anything else without a commit is left alone: it cannot be made again.
fn delete_leftovers(snapshot: &Snapshot, table: &Path, positions: &BTreeMap<u32, u64>) -> Result<u64, SinkError> {
    let named = |path: &Path| {
        let relative = path.strip_prefix(table).ok().and_then(Path::to_str);
        relative.is_some_and(|path| snapshot.files.contains_key(path) || snapshot.removed.contains_key(path))
    };
    let mut deleted = 0;
    for (path, part) in part_files(table)?.into_iter().filter(|(path, _)| !named(path)) {
        if part.first < positions.get(&part.partition).copied().unwrap_or(0) {
            tracing::warn!(path = %path.display(), "data file that no commit names left alone: its rows were committed");
            continue;
        }
        if tooth(Tooth::LeftoversKept) {
            continue;
        }
        fs::remove_file(&path).map_err(SinkError::io("cannot remove", &path))?;
        // Before the next commit: the file must not come back when its rows are in another.
        path.parent().map_or(Ok(()), durable::sync_dir)?;
        tracing::warn!(path = %path.display(), "data file of an unfinished commit deleted");
        deleted += 1;
    }
    Ok(deleted)
}

/// Data files below `table` with names this sink makes, in folders it makes; no link is followed.
fn part_files(table: &Path) -> Result<Vec<(PathBuf, PartName)>, SinkError> {
    let mut files = Vec::new();
    for (_, date) in entries(table, fs::FileType::is_dir)?.into_iter().filter(|(name, _)| name.starts_with("date=")) {
        for (_, hour) in entries(&date, fs::FileType::is_dir)?.into_iter().filter(|(name, _)| name.starts_with("hour="))
        {
            for (name, path) in entries(&hour, fs::FileType::is_file)? {
                files.extend(PartName::parse(&name).map(|part| (path, part)));
            }
        }
    }
    Ok(files)
}

/// Names and paths in `dir` of the type wanted, in order of name. Names that are not text are none of ours.
fn entries(dir: &Path, wanted: fn(&fs::FileType) -> bool) -> Result<Vec<(String, PathBuf)>, SinkError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(SinkError::io("cannot list", dir))? {
        let entry = entry.map_err(SinkError::io("cannot list", dir))?;
        let file_type = entry.file_type().map_err(SinkError::io("cannot stat", &entry.path()))?;
        if let (true, Ok(name)) = (wanted(&file_type), entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
