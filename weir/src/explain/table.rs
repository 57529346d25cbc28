//! The message in a table: which files can hold it, by their names, and where in them it is. Blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sink::Table;
use sink::table::{DataFile, Origin};
use telemetry::{Clock, Timestamp};

use super::file::{self, Row};
use super::view::{Stored, StoredRow, Who};
use crate::dlq::view::time;

/// What is searched for in one table.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Directory of the table.
    pub(super) dir: PathBuf,
    /// Name of the table, and of its stream.
    pub(super) name: &'static str,
    pub(super) who: Who,
    pub(super) partition: u32,
    /// Only files that can hold rows of these records; empty: of any.
    pub(super) offsets: Vec<u64>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) until: Duration,
}

impl Wanted {
    /// Searches on a thread for what blocks.
    pub(super) async fn search(self) -> anyhow::Result<Stored> {
        Ok(tokio::task::spawn_blocking(move || self.look()).await?)
    }

    /// What cannot be read is told, and hides nothing else.
    fn look(&self) -> Stored {
        let mut stored = Stored { table: self.dir.display().to_string(), ..Stored::default() };
        if !self.dir.join("_delta_log").is_dir() {
            stored.problem = Some("there is no table here".to_owned());
            return stored;
        }
        match Table::open_read(&self.dir) {
            Ok(table) => self.look_into(&table, &mut stored),
            Err(error) => stored.problem = Some(error.to_string()),
        }
        stored
    }

    fn look_into(&self, table: &Table, stored: &mut Stored) {
        (stored.version, stored.position) = (Some(table.version()), table.position(self.name, self.partition));
        let files = self.candidates(table);
        for (at, (data, origin)) in files.iter().enumerate() {
            if self.clock.monotonic() >= self.until {
                stored.files_left = files.len() - at;
                break;
            }
            stored.files += 1;
            match file::rows(&data.path, &self.who) {
                Ok(rows) if rows.is_empty() => {}
                Ok(rows) => self.tell(table, data, *origin, rows, stored),
                Err(error) => stored.problem = Some(format!("{}: {error:#}", data.path.display())),
            }
        }
    }

    /// Files that can hold the message, newest first; those of other programs, which may hold anything, last.
    fn candidates<'t>(&self, table: &'t Table) -> Vec<(&'t DataFile, Option<Origin>)> {
        let may_hold = |origin: &Origin| {
            let has = |offset: &u64| (origin.first..=origin.last).contains(offset);
            origin.partition == self.partition && (self.offsets.is_empty() || self.offsets.iter().any(has))
        };
        let files = table.files().iter().map(|file| (file, file.origin()));
        let mut files: Vec<_> = files.filter(|(_, origin)| origin.as_ref().is_none_or(may_hold)).collect();
        files.sort_by_key(|(_, origin)| std::cmp::Reverse(origin.map(|origin| origin.last)));
        files
    }

    fn tell(&self, table: &Table, file: &DataFile, origin: Option<Origin>, rows: Vec<Row>, stored: &mut Stored) {
        let commit = table.commit_of(&self.dir, file).unwrap_or_else(|error| {
            stored.problem = Some(error.to_string());
            None
        });
        let millis = commit.and_then(|commit| commit.millis);
        let below = file.path.strip_prefix(&self.dir).unwrap_or(Path::new(&file.path)).display().to_string();
        stored.rows.extend(rows.into_iter().map(|row| StoredRow {
            file: below.clone(),
            offsets: origin.map(|origin| (origin.first, origin.last)),
            row_group: row.row_group,
            row: row.row,
            file_row: row.file_row,
            version: commit.map(|commit| commit.version),
            committed_at: millis.map(|millis| time(Timestamp::from_micros(millis.saturating_mul(1000)))),
            reading: row.reading,
            received_at: time(row.received_at),
            alert_id: row.alert_id,
        }));
    }
}
