//! Data files that no commit names: what an unfinished commit left.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use streams::faults::{Tooth, tooth};

use crate::delta::Snapshot;
use crate::durable;
use crate::error::SinkError;
use crate::layout::PartName;
use crate::ownership::Ownership;

/// Deletes data files that no commit names and whose rows are still in the stream, because the position of
/// their partition is before them. Anything else without a commit is left alone: it cannot be made again.
///
/// In a shared table only files of partitions that are ours and of former owners: if we were superseded without
/// knowing it, `snapshot` does not name what the next owner committed.
pub(crate) fn delete(
    snapshot: &Snapshot,
    table: &Path,
    positions: &BTreeMap<u32, u64>,
    ownership: Option<&Ownership>,
) -> Result<u64, SinkError> {
    let ours = |part: &PartName| match ownership {
        None => true,
        Some(owned) => owned.epoch(part.partition).is_some_and(|own| part.epoch.is_none_or(|epoch| epoch < own)),
    };
    let named = |path: &Path| {
        let relative = path.strip_prefix(table).ok().and_then(Path::to_str);
        relative.is_some_and(|path| snapshot.files.contains_key(path) || snapshot.removed.contains_key(path))
    };
    let mut deleted = 0;
    for (path, part) in part_files(table)?.into_iter().filter(|(path, part)| ours(part) && !named(path)) {
        if part.first < positions.get(&part.partition).copied().unwrap_or(0) {
            tracing::warn!(path = %path.display(), "data file that no commit names left alone: its rows were committed");
            continue;
        }
        if tooth(Tooth::LeftoversKept) {
            continue;
        }
        match fs::remove_file(&path) {
            // Its writer, superseded, deleted it itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(SinkError::io("cannot remove", &path))?,
        }
        // Before the next commit: the file must not come back when its rows are in another.
        path.parent().map_or(Ok(()), durable::sync_dir)?;
        tracing::warn!(path = %path.display(), "data file of an unfinished commit deleted");
        deleted += 1;
    }
    Ok(deleted)
}

/// Data files below `table` with names this sink makes, in folders it makes; no link is followed.
pub(crate) fn part_files(table: &Path) -> Result<Vec<(PathBuf, PartName)>, SinkError> {
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
pub(crate) fn entries(dir: &Path, wanted: fn(&fs::FileType) -> bool) -> Result<Vec<(String, PathBuf)>, SinkError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(SinkError::io("cannot list", dir))? {
        let entry = entry.map_err(SinkError::io("cannot list", dir))?;
        let file_type = match entry.file_type() {
            // Somebody who shares the table removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(SinkError::io("cannot stat", &entry.path()))?,
        };
        if let (true, Ok(name)) = (wanted(&file_type), entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
