//! The log that is damaged, and what was written to it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use telemetry::batch::ReadingsBuilder;
use telemetry::{Identity, Message, Reading, Timestamp, Value};

use crate::contract::{GroupName, Position};
use crate::dedupe::{Dedupe, Devices};
use crate::log::disk::{Disk, DiskFile, RealDisk};
use crate::log::model::draw::Draw;
use crate::log::model::promise::Held;
use crate::log::model::seen::{GROUPS, Opener, held, partitions, text};
use crate::log::{EmbeddedLog, LogConfig};

/// Bytes of the full segment.
const SEGMENT_BYTES: u64 = 1024 * 1024;
/// Groups in the active segment.
const ACTIVE_GROUPS: usize = 36;

/// A closed log in a directory, and a copy of its files.
pub(super) struct Fixture {
    pub(super) opener: Opener,
    pub(super) config: LogConfig,
    disk: Arc<Noted>,
    /// Relative paths and contents.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// Payloads by slot and offset.
    pub(super) records: Vec<Vec<Bytes>>,
    /// Next offset of each slot after each group of the active segment; the first is where that segment begins.
    pub(super) groups: Vec<Vec<u64>>,
    /// The store of positions of a process that was killed.
    pub(super) unclosed: Vec<u8>,
    /// Positions after each commit, by group of [`GROUPS`].
    pub(super) commits: Vec<Vec<Held>>,
}

impl Fixture {
    /// Makes it in `home`, which must not exist.
    pub(super) fn make(home: &Path, seed: u64) -> Result<Self, String> {
        fs::create_dir_all(home).map_err(text)?;
        let dir = home.join("log");
        let config = LogConfig { dir, segment_bytes: SEGMENT_BYTES, ..LogConfig::default() };
        let mut fixture = Self {
            opener: Opener::new()?,
            config,
            disk: Arc::default(),
            files: Vec::new(),
            records: vec![Vec::new(); partitions().len()],
            groups: Vec::new(),
            unclosed: Vec::new(),
            commits: Vec::new(),
        };
        let log = fixture.open()?;
        let mut draw = Draw::new(seed);
        while log.status().segments < 2 {
            fixture.append(&log, &mut draw, 4000)?;
        }
        for _ in 0..ACTIVE_GROUPS {
            fixture.groups.push(fixture.records.iter().map(|slot| wide(slot.len())).collect());
            fixture.append(&log, &mut draw, 200)?;
        }
        fixture.groups.push(fixture.records.iter().map(|slot| wide(slot.len())).collect());
        for nth in 1..=3 {
            fixture.commit(&log, nth)?;
        }
        fixture.unclosed = fs::read(fixture.config.dir.join("positions.redb")).map_err(text)?;
        drop(log);
        fixture.files = copy(&fixture.config.dir, Path::new(""))?;
        fixture.disk.changed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(fixture)
    }

    /// Opens the log as it is in the directory.
    pub(super) fn open(&self) -> Result<Arc<EmbeddedLog>, String> {
        self.opener.open(self.disk.clone(), self.config.clone())
    }

    /// Puts every file back that was changed since, and `damaged`; takes away what was not there. The store of
    /// positions stays: each start writes in it, and it says the same.
    pub(super) fn restore(&self, damaged: &Path) -> Result<(), String> {
        let mut changed = std::mem::take(&mut *self.disk.changed.lock().unwrap_or_else(PoisonError::into_inner));
        changed.insert(self.config.dir.join(damaged));
        changed.insert(self.config.dir.join(damaged).with_extension("idx"));
        for path in changed.iter().filter(|path| path.extension().is_none_or(|extension| extension != "redb")) {
            let known = self.files.iter().find(|(known, _)| self.config.dir.join(known) == *path);
            match known {
                Some((_, whole)) => fs::write(path, whole).map_err(text)?,
                None if path.is_file() => fs::remove_file(path).map_err(text)?,
                None => {}
            }
        }
        Ok(())
    }

    /// The highest position in a slot.
    pub(super) fn passed(&self, slot: usize) -> u64 {
        let held = self.commits.last().into_iter().flatten();
        held.filter_map(|held| held.get(&slot)).map(|(offset, _)| *offset).max().unwrap_or(0)
    }

    /// The first or the last file with this extension.
    pub(super) fn file(&self, kind: &str, last: bool) -> Result<&(PathBuf, Vec<u8>), String> {
        let mut found =
            self.files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == kind));
        let found = if last { found.next_back() } else { found.next() };
        found.ok_or_else(|| format!("the fixture has no file .{kind}"))
    }

    fn append(&mut self, log: &EmbeddedLog, draw: &mut Draw, bytes: usize) -> Result<(), String> {
        let mut group = Vec::new();
        for _ in 0..draw.size(1, 5) {
            let (slot, length) = (draw.size(0, self.records.len() - 1), draw.size(1, bytes));
            group.push((slot, draw.bytes(length)));
        }
        for (slot, payload) in &group {
            self.records.get_mut(*slot).into_iter().for_each(|known| known.push(payload.clone().into()));
        }
        self.opener.append(log, None, group)?;
        // A full segment is sealed after the answer: who looks before would take the next group for one of it.
        if self.opener.settle(log) { Ok(()) } else { Err("the log of the fixture fails".to_owned()) }
    }

    /// Commits a position of every group, the `nth`, with the state that deduplication has by then.
    fn commit(&mut self, log: &EmbeddedLog, nth: u64) -> Result<(), String> {
        for (at, (name, stream)) in GROUPS.iter().enumerate() {
            let mut placed = Vec::new();
            for (slot, of) in partitions().into_iter().enumerate().filter(|(_, of)| of.stream.as_str() == *stream) {
                let records = self.records.get(slot).map_or(0, Vec::len);
                let place = log.shared.layout.find(&of).ok_or("no place")?;
                let state = snapshot(i64::try_from(nth).unwrap_or(0) * 100 + i64::try_from(at).unwrap_or(0))?;
                placed.push((place, of, Position { offset: wide(records) * nth / 4, state }));
            }
            let bounds = |slot| log.shared.view().bounds(slot);
            log.shared.positions.commit(&GroupName::from(*name), &placed, bounds).map_err(text)?;
            let all = GROUPS.iter().map(|(name, _)| held(log, name)).collect::<Result<Vec<Held>, String>>()?;
            self.commits.push(all);
        }
        Ok(())
    }
}

/// Deduplication of readings after some messages of 10 devices, with gaps.
fn snapshot(messages: i64) -> Result<Bytes, String> {
    let mut dedupe = Dedupe::Devices(Devices::default());
    let mut builder = ReadingsBuilder::default();
    for seq in (0..messages / 10).map(|seq| seq * 3 / 2) {
        for device in 0..10 {
            let reading = Reading {
                metric: Cow::Borrowed("temperature"),
                time: Timestamp::from_micros(seq),
                value: Value::Number(1.0),
                unit: None,
            };
            let message = Message {
                device_id: Cow::Owned(format!("device-{device}")),
                site: None,
                identity: Some(Identity { boot: 1, seq }),
                readings: vec![reading],
                ignored_fields: 0,
            };
            builder.push(&message, Timestamp::from_micros(0));
        }
    }
    dedupe.check(&builder.finish()).map_err(text)?;
    Ok(dedupe.snapshot())
}

/// A disk whose syncs cost nothing, and which knows what was changed.
#[derive(Debug, Default)]
pub(super) struct Noted {
    changed: Mutex<BTreeSet<PathBuf>>,
}

impl Noted {
    fn note(&self, path: &Path) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }
}

impl Disk for Noted {
    fn create(&self, path: &Path) -> io::Result<DiskFile> {
        self.note(path);
        RealDisk.create(path)
    }

    fn write_at(&self, file: &DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        self.note(&file.path);
        RealDisk.write_at(file, bytes, at)
    }

    fn sync(&self, _: &DiskFile) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, file: &DiskFile, len: u64) -> io::Result<()> {
        self.note(&file.path);
        RealDisk.truncate(file, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(from);
        self.note(to);
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(path);
        RealDisk.remove(path)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Files below `dir`, by path.
fn copy(dir: &Path, below: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir.join(below)).map_err(text)? {
        let entry = entry.map_err(text)?;
        let path = below.join(entry.file_name());
        if entry.file_type().map_err(text)?.is_dir() {
            files.extend(copy(dir, &path)?);
        } else {
            files.push((path, fs::read(entry.path()).map_err(text)?));
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
