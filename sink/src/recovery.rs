//! What opening a table does before anything is written: it makes the table exactly what its log says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use telemetry::Clock;

use crate::commit::{Committer, Paths};
use crate::config::SinkConfig;
use crate::delta::action::{CommitInfo, Protocol};
use crate::delta::{Add, LOG_DIR, PROTOCOL, Snapshot, application, log, schema};
use crate::durable;
use crate::error::SinkError;
use crate::leftovers::{self, entries, part_files};
use crate::ownership::{self, Namer, Ownership};
use crate::spec::TableSpec;
use crate::{lock, table};

/// What was found and done.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) committer: Committer,
    /// Files of unfinished commits that were deleted.
    pub(crate) deleted: u64,
    /// Versions that others committed first.
    pub(crate) conflicts: u64,
}

/// Opens the table for `partitions`, creating it if it is new.
pub(crate) fn open(
    config: &SinkConfig,
    spec: TableSpec,
    partitions: &[u32],
    clock: Arc<dyn Clock>,
) -> Result<Recovered, SinkError> {
    Opening::begin(config, spec, partitions, clock)?.finish()
}

/// A table that nobody else writes to any more, as far as it is ours. What others left is still there.
#[derive(Debug)]
pub(crate) struct Opening {
    committer: Committer,
    snapshot: Snapshot,
    conflicts: u64,
}

impl Opening {
    /// Takes the lock, and in a shared table the partitions: from then on no former owner commits.
    pub(crate) fn begin(
        config: &SinkConfig,
        spec: TableSpec,
        partitions: &[u32],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SinkError> {
        config.check()?;
        spec.check()?;
        let partitions: BTreeSet<u32> = partitions.iter().copied().collect();
        if partitions.is_empty() {
            return Err(SinkError::Config(format!("the sink of {} has no partition, expected some", spec.name)));
        }
        let paths = directories(config, &spec.name)?;
        let lock = lock::take(config, &paths.table, &spec.name)?;
        let (snapshot, taken) = if config.shared {
            let (snapshot, taken) = take(&paths, &spec, &partitions, clock.as_ref())?;
            (snapshot, Some(taken))
        } else {
            clear_staging(&paths.staging)?;
            ownership::clear_all(&config.shared_staging_of(&spec.name))?;
            (read_or_create(&paths, &spec, clock.as_ref(), &paths.staging)?, None)
        };
        let conflicts = taken.as_ref().map_or(0, |taken| taken.conflicts);
        let committer = Committer {
            version: snapshot.version,
            checkpointed: snapshot.checkpoint.unwrap_or(0),
            checkpoint_commits: config.checkpoint_commits,
            spec,
            paths,
            clock,
            partitions,
            positions: BTreeMap::new(),
            ownership: taken.map(|taken| taken.ownership),
            pending: Vec::new(),
            conflicts: 0,
            trace: None,
            _lock: lock,
        };
        Ok(Self { committer, snapshot, conflicts })
    }

    /// Makes the folders what the log says. In a shared table first no former owner can place files any more, then
    /// what no commit names is deleted.
    pub(crate) fn finish(self) -> Result<Recovered, SinkError> {
        let Self { mut committer, snapshot, conflicts } = self;
        let (paths, spec) = (&committer.paths, &committer.spec);
        if let Some(owned) = &committer.ownership {
            owned.clear_superseded(&paths.staging)?;
        }
        check_metadata(&snapshot, &paths.table, spec)?;
        let alone = committer.ownership.is_none();
        let positions = positions(&snapshot, &paths.table, spec, &committer.partitions, alone)?;
        check_files(&snapshot, &paths.table)?;
        let deleted = leftovers::delete(&snapshot, &paths.table, &positions, committer.ownership.as_ref())?;
        tracing::info!(
            table = %spec.name,
            version = snapshot.version,
            files = snapshot.files.len(),
            deleted,
            shared = !alone,
            "table opened"
        );
        committer.positions = positions;
        Ok(Recovered { committer, deleted, conflicts })
    }
}

/// Takes the partitions from who had them.
fn take(
    paths: &Paths,
    spec: &TableSpec,
    partitions: &BTreeSet<u32>,
    clock: &dyn Clock,
) -> Result<(Snapshot, ownership::Taken), SinkError> {
    let mut snapshot = read_or_create_together(paths, spec, partitions, clock)?;
    // Before the fence: a table that is not ours is left alone.
    check_metadata(&snapshot, &paths.table, spec)?;
    let taken = ownership::take(&spec.name, &paths.staging, &paths.log, partitions, &mut snapshot, clock)?;
    Ok((snapshot, taken))
}

/// Creates and syncs the directories. The sync of the log's directory comes before the log is read: a commit
/// whose writer was killed before that sync must not be believed while a power cut can still take it back.
fn directories(config: &SinkConfig, name: &str) -> Result<Paths, SinkError> {
    let table = config.root.join(name);
    let paths = Paths { log: table.join(LOG_DIR), staging: config.staging_of(name), table };
    durable::create_dirs_synced(&paths.log)?;
    durable::create_dirs_synced(&paths.staging)?;
    let resolve = |path: &Path| path.canonicalize().map_err(SinkError::io("cannot resolve", path));
    if !config.shared && resolve(&paths.staging)?.starts_with(resolve(&config.root)?) {
        return Err(SinkError::Config(format!(
            "sink.staging is {}, expected a directory outside sink.root {}",
            config.staging.display(),
            config.root.display()
        )));
    }
    if device(&paths.staging)? != device(&paths.table)? {
        return Err(SinkError::Config(format!(
            "sink.staging {} is on another file system than table {}",
            paths.staging.display(),
            paths.table.display()
        )));
    }
    Ok(paths)
}

fn device(path: &Path) -> Result<u64, SinkError> {
    fs::metadata(path).map(|metadata| metadata.dev()).map_err(SinkError::io("cannot stat", path))
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

/// The table, or a new one, whose first commit is staged in `staging`.
fn read_or_create(paths: &Paths, spec: &TableSpec, clock: &dyn Clock, staging: &Path) -> Result<Snapshot, SinkError> {
    match Snapshot::read(&paths.log)? {
        Some(snapshot) => Ok(snapshot),
        None => create(paths, spec, clock, &staging.join("commit.staged")),
    }
}

/// As [`read_or_create`], while others may do the same: one of them is first, the others read what it wrote.
fn read_or_create_together(
    paths: &Paths,
    spec: &TableSpec,
    partitions: &BTreeSet<u32>,
    clock: &dyn Clock,
) -> Result<Snapshot, SinkError> {
    if let Some(snapshot) = Snapshot::read(&paths.log)? {
        return Ok(snapshot);
    }
    let nothing = Snapshot::default();
    let area = Ownership::prepare(&spec.name, &paths.staging, partitions, &nothing, &Namer::new(clock))?;
    let created = create(paths, spec, clock, &area.scratch().join("commit.staged"));
    area.abandon();
    match created {
        // Whatever went wrong: who came first may have made the version, its files, or taken our partitions.
        Err(error) => Snapshot::read(&paths.log)?.ok_or(error),
        created => created,
    }
}

/// The first commit of a new table: from then on, files without a log are a damage and not a beginning.
fn create(paths: &Paths, spec: &TableSpec, clock: &dyn Clock, staged: &Path) -> Result<Snapshot, SinkError> {
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
    log::write_commit(&paths.log, 0, &actions, staged)?;
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

/// Where each partition of ours stands. Those of others are in a shared table alone.
fn positions(
    snapshot: &Snapshot,
    table: &Path,
    spec: &TableSpec,
    partitions: &BTreeSet<u32>,
    alone: bool,
) -> Result<BTreeMap<u32, u64>, SinkError> {
    let mut positions = BTreeMap::new();
    for (app_id, txn) in &snapshot.txns {
        let Some(partition) = application::position_of(app_id, &spec.name) else { continue };
        let position = partition.parse::<u32>().ok().zip(u64::try_from(txn.version).ok());
        let (partition, next) = position
            .ok_or_else(|| SinkError::damaged(table, format!("the log has position {} of {app_id}", txn.version)))?;
        if partitions.contains(&partition) {
            positions.insert(partition, next);
        } else if alone {
            return Err(SinkError::incompatible(
                table,
                format!(
                    "the table holds rows of partition {partition}, but the stream has {} partitions",
                    partitions.len()
                ),
            ));
        }
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
