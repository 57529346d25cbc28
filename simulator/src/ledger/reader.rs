//! Reads a ledger.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::ByteRecord;
use telemetry::Timestamp;

use super::{Entry, Error, HEADER};
use crate::lines;

/// Reads the ledger at `path`, entry by entry, in the order of the file. A torn last line is ignored.
///
/// # Errors
/// If the file cannot be opened or is no ledger.
pub fn read(path: impl AsRef<Path>) -> Result<Reader, Error> {
    Reader::open(path.as_ref())
}

/// The entries of a ledger.
pub struct Reader {
    path: PathBuf,
    lines: csv::Reader<Take<File>>,
    record: ByteRecord,
    devices: HashSet<Arc<str>>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let length = lines::check(&mut file, path, &HEADER.join(","))?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let lines = csv::ReaderBuilder::new().buffer_capacity(64 * 1024).from_reader(file.take(length));
        Ok(Self { path: path.to_owned(), lines, record: ByteRecord::new(), devices: HashSet::new() })
    }

    fn entry(&mut self) -> Result<Option<Entry>, Error> {
        match self.lines.read_byte_record(&mut self.record) {
            Ok(false) => return Ok(None),
            Ok(true) => (),
            Err(error) => return Err(self.damaged(error.position().map_or(0, csv::Position::line), error.to_string())),
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        self.decode().map(Some).map_err(|detail| self.damaged(line, detail))
    }

    fn decode(&mut self) -> Result<Entry, String> {
        let device = text(&self.record, 0)?;
        let boot = number(&self.record, 1)?;
        let seq = number(&self.record, 2)?;
        let readings = number(&self.record, 3)?;
        let readings = u32::try_from(readings).map_err(|_| format!("readings: {readings} is no count"))?;
        let acknowledged_at = match text(&self.record, 4)? {
            "" => None,
            _ => Some(Timestamp::from_micros(number(&self.record, 4)?)),
        };
        let device = match self.devices.get(device) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = device.into();
                self.devices.insert(Arc::clone(&new));
                new
            }
        };
        Ok(Entry { device, boot, seq, readings, acknowledged_at })
    }

    fn damaged(&self, line: u64, detail: String) -> Error {
        Error::Damaged { path: self.path.clone(), line, detail }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry().transpose()
    }
}

fn text(record: &ByteRecord, column: usize) -> Result<&str, String> {
    let name = HEADER.get(column).copied().unwrap_or_default();
    let field = record.get(column).ok_or_else(|| format!("{name}: missing"))?;
    std::str::from_utf8(field).map_err(|_| format!("{name}: not UTF-8"))
}

fn number(record: &ByteRecord, column: usize) -> Result<i64, String> {
    let text = text(record, column)?;
    let name = HEADER.get(column).copied().unwrap_or_default();
    text.parse().map_err(|_| format!("{name}: `{text}` is no whole number"))
}
