//! A disk that makes each change in a real directory and writes it down, with the moments at which something
//! was promised in between. Its syncs cost nothing: what they mean is for the simulated disk.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;

use super::machine::Change;
use super::promise::Mark;
use crate::contract::Ticket;
use crate::log::disk::{Disk, DiskFile, RealDisk};

/// What happened, in order.
#[derive(Clone, Debug)]
pub(in crate::log) enum Event {
    Change(Change),
    Mark(Mark),
}

/// A change that fails once; `left` counts those of its kind before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Fault {
    pub(super) of: Kind,
    pub(super) left: u64,
}

/// Changes that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Kind {
    Any,
    SegmentWrite,
    SegmentSync,
    /// Of the store of positions.
    StoreSync,
}

#[derive(Debug)]
pub(in crate::log) struct Recorder {
    root: PathBuf,
    tape: Mutex<Tape>,
}

#[derive(Default)]
pub(in crate::log) struct Tape {
    events: Vec<Event>,
    fault: Option<Fault>,
    ticket: Option<Ticket>,
    /// Numbers of files by inode.
    numbers: HashMap<u64, usize>,
    next: usize,
}

impl Recorder {
    /// Records what happens under `root`. The files of `known` are there already, with these numbers.
    pub(super) fn new(root: &Path, known: &[String], fault: Option<Fault>) -> io::Result<Self> {
        let mut tape = Tape { fault, next: known.len(), ..Tape::default() };
        for (number, path) in known.iter().enumerate() {
            tape.numbers.insert(root.join(path).metadata()?.ino(), number);
        }
        Ok(Self { root: root.to_owned(), tape: Mutex::new(tape) })
    }

    /// Holds every change back for as long as the guard lives.
    pub(super) fn pause(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mark(&self, mark: Mark) {
        self.pause().events.push(Event::Mark(mark));
    }

    /// What happened so far.
    pub(super) fn take(&self) -> Vec<Event> {
        let mut tape = self.pause();
        tape.look();
        std::mem::take(&mut tape.events)
    }

    fn relative(&self, path: &Path) -> Option<String> {
        Some(path.strip_prefix(&self.root).ok()?.to_str()?.to_owned())
    }

    /// Writes the change down, or fails it.
    fn change(&self, tape: &mut Tape, kind: Kind, change: Change) -> io::Result<()> {
        tape.look();
        let fails = tape.fails(kind);
        match change {
            Change::Sync { file, .. } => tape.events.push(Event::Change(Change::Sync { file, failed: fails })),
            Change::SyncDir { dir, .. } => tape.events.push(Event::Change(Change::SyncDir { dir, failed: fails })),
            _ if fails => {}
            change => tape.events.push(Event::Change(change)),
        }
        if fails { Err(refused()) } else { Ok(()) }
    }
}

impl Tape {
    /// Waits for `ticket` to be answered: that is told before the next change.
    pub(super) fn watch(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        self.events.push(Event::Mark(mark));
    }

    fn look(&mut self) {
        match self.ticket.as_mut().and_then(FutureExt::now_or_never) {
            None => {}
            Some(answer) => {
                self.ticket = None;
                if answer.is_ok() {
                    self.events.push(Event::Mark(Mark::Acknowledged));
                }
            }
        }
    }

    fn fails(&mut self, kind: Kind) -> bool {
        match &mut self.fault {
            Some(fault) if fault.of != Kind::Any && fault.of != kind => false,
            Some(Fault { left: 0, .. }) => {
                self.fault = None;
                true
            }
            Some(fault) => {
                fault.left -= 1;
                false
            }
            None => false,
        }
    }

    fn number(&self, file: &DiskFile) -> io::Result<usize> {
        let known = self.numbers.get(&file.file.metadata()?.ino());
        known.copied().ok_or_else(|| io::Error::other(format!("{}: not recorded", file.path.display())))
    }
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

impl Disk for Recorder {
    fn create(&self, path: &Path) -> io::Result<DiskFile> {
        let mut tape = self.pause();
        let Some(relative) = self.relative(path) else { return RealDisk.create(path) };
        let known = path.metadata().ok().and_then(|found| tape.numbers.get(&found.ino()).copied());
        let file = known.unwrap_or(tape.next);
        let change = match known {
            Some(file) => Change::Truncate { file, length: 0 },
            None => Change::Create { path: relative, file },
        };
        self.change(&mut tape, Kind::Any, change)?;
        let created = RealDisk.create(path)?;
        tape.numbers.insert(created.file.metadata()?.ino(), file);
        tape.next = tape.next.max(file + 1);
        Ok(created)
    }

    fn write_at(&self, file: &DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut tape = self.pause();
        let number = tape.number(file)?;
        let start = usize::try_from(at).map_err(io::Error::other)?;
        let change = Change::Write { file: number, at: start, bytes: bytes.to_vec() };
        if let Err(error) = self.change(&mut tape, kind_of(file, Kind::SegmentWrite), change) {
            // A disk that is full takes a part.
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            tape.events.push(Event::Change(Change::Write { file: number, at: start, bytes: half.to_vec() }));
            RealDisk.write_at(file, half, at)?;
            return Err(error);
        }
        RealDisk.write_at(file, bytes, at)
    }

    fn sync(&self, file: &DiskFile) -> io::Result<()> {
        let mut tape = self.pause();
        let number = tape.number(file)?;
        let change = Change::Sync { file: number, failed: false };
        self.change(&mut tape, kind_of(file, Kind::SegmentSync), change)
    }

    fn truncate(&self, file: &DiskFile, len: u64) -> io::Result<()> {
        let mut tape = self.pause();
        let length = usize::try_from(len).map_err(io::Error::other)?;
        let number = tape.number(file)?;
        self.change(&mut tape, Kind::Any, Change::Truncate { file: number, length })?;
        RealDisk.truncate(file, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tape = self.pause();
        if let (Some(from), Some(to)) = (self.relative(from), self.relative(to)) {
            self.change(&mut tape, Kind::Any, Change::Rename { from, to })?;
        }
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut tape = self.pause();
        if let Some(path) = self.relative(path) {
            self.change(&mut tape, Kind::Any, Change::Remove { path })?;
        }
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut tape = self.pause();
        let Some(dir) = self.relative(path) else { return Ok(()) };
        self.change(&mut tape, Kind::Any, Change::SyncDir { dir, failed: false })
    }
}

fn kind_of(file: &DiskFile, of_segment: Kind) -> Kind {
    match file.path.extension().and_then(|extension| extension.to_str()) {
        Some("log") => of_segment,
        Some("redb") if of_segment == Kind::SegmentSync => Kind::StoreSync,
        _ => Kind::Any,
    }
}

fn refused() -> io::Error {
    io::Error::other("the disk of the model refuses")
}
