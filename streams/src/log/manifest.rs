//! Which streams the log holds: their names, ids and partition counts, in a small text file.
//!
//! ```text
//! weir streams 1          version of the format
//! log 6c0f3a9d81b2e475    the log's id
//! stream 8 readings       partitions and name; the id is the line's place among the streams
//! stream 4 alerts
//! check 1a2b3c4d          crc32c of all before
//! ```

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use telemetry::Timestamp;

use super::config::PARTITIONS;
use super::disk::{self, Disk};
use super::format::VERSION;
use crate::contract::{Error, Partition, StreamName, StreamSpec};

/// The streams on disk and where each partition stands among all partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) log_id: u64,
    /// In order of stream id.
    streams: Vec<Stored>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    spec: StreamSpec,
    /// Slot of its first partition.
    base: usize,
    /// Whether it is among the streams opened; one that no longer is keeps its id and its data.
    open: bool,
}

/// Where a partition is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stream: u32,
    pub(super) partition: u32,
    /// Index among all partitions of all streams.
    pub(super) slot: usize,
}

impl Layout {
    /// Number of partitions of all streams.
    pub(super) fn slots(&self) -> usize {
        self.streams.last().map_or(0, |last| last.base + partitions(&last.spec))
    }

    /// Names of all streams, in order of stream id.
    pub(super) fn names(&self) -> impl Iterator<Item = &StreamName> {
        self.streams.iter().map(|stored| &stored.spec.name)
    }

    /// The place of an open stream's partition.
    pub(super) fn find(&self, of: &Partition) -> Option<Place> {
        let id = self.streams.iter().position(|stored| stored.open && stored.spec.name == of.stream)?;
        let stream = u32::try_from(id).ok()?;
        Some(Place { stream, partition: of.index, slot: self.slot(stream, of.index)? })
    }

    /// The open stream's partition at a slot, with its place.
    pub(super) fn partition(&self, slot: usize) -> Option<(Place, Partition)> {
        let stored = self.streams.iter().rev().find(|stored| stored.base <= slot)?;
        let of = Partition::new(stored.spec.name.clone(), u32::try_from(slot - stored.base).ok()?);
        Some((self.find(&of)?, of))
    }

    /// The slot of a frame's stream and partition.
    pub(super) fn slot(&self, stream: u32, partition: u32) -> Option<usize> {
        let stored = self.streams.get(usize::try_from(stream).ok()?)?;
        (partition < stored.spec.partitions).then_some(stored.base + usize::try_from(partition).ok()?)
    }

    /// The layout on disk together with `specs`, written if that adds streams. `fresh` says that the directory
    /// holds no segments, so that a missing manifest is no loss.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        specs: &[StreamSpec],
        fresh: bool,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let stored = match fs::read_to_string(path) {
            Ok(text) => Some(parse(&text).map_err(|why| incompatible(path, &why))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound && fresh => None,
            Err(error) => return Err(disk::io_error("read manifest", path)(error)),
        };
        let is_new = stored.is_none();
        // Not a random number anybody computes with: see the log id in `format`.
        let mut layout = stored
            .unwrap_or_else(|| Self { log_id: RandomState::new().hash_one(now.as_micros()), streams: Vec::new() });
        let added = layout.add(specs).map_err(|why| incompatible(path, &why))?;
        if is_new || added {
            disk::replace(disk, path, layout.encode().as_bytes()).map_err(disk::io_error("write manifest", path))?;
        }
        Ok(layout)
    }

    /// Marks `specs` as open, adding those not stored; whether any was added.
    fn add(&mut self, specs: &[StreamSpec]) -> Result<bool, String> {
        let before = self.streams.len();
        for spec in specs {
            match self.streams.iter_mut().find(|stored| stored.spec.name == spec.name) {
                Some(stored) if stored.spec.partitions == spec.partitions => stored.open = true,
                Some(stored) => {
                    let (name, on_disk, asked) = (&spec.name, stored.spec.partitions, spec.partitions);
                    return Err(format!(
                        "stream {name} has {on_disk} partitions on disk and {asked} were asked for; \
                         the number is fixed when a stream is created"
                    ));
                }
                None => self.push(spec.clone(), true)?,
            }
        }
        Ok(self.streams.len() > before)
    }

    fn push(&mut self, spec: StreamSpec, open: bool) -> Result<(), String> {
        let base = self.slots();
        if spec.partitions == 0 || base.saturating_add(partitions(&spec)) > PARTITIONS {
            return Err(format!(
                "stream {} must have 1 to {} partitions",
                spec.name,
                PARTITIONS - base.min(PARTITIONS)
            ));
        }
        self.streams.push(Stored { spec, base, open });
        Ok(())
    }

    fn encode(&self) -> String {
        let mut text = format!("weir streams {VERSION}\nlog {:016x}\n", self.log_id);
        for stored in &self.streams {
            text.push_str(&format!("stream {} {}\n", stored.spec.partitions, stored.spec.name));
        }
        let check = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("check {check:08x}\n"));
        text
    }
}

fn partitions(spec: &StreamSpec) -> usize {
    usize::try_from(spec.partitions).unwrap_or(usize::MAX)
}

fn incompatible(path: &Path, why: &str) -> Error {
    Error::Incompatible(format!("{}: {why}", path.display()))
}

fn parse(text: &str) -> Result<Layout, String> {
    let damaged = || "the manifest of the streams is damaged".to_owned();
    let version = text.lines().next().and_then(|line| line.strip_prefix("weir streams ")).ok_or_else(damaged)?;
    if version != VERSION.to_string() {
        return Err(format!("written in format {version}; this program reads format {VERSION}"));
    }
    let at = text.rfind("check ").ok_or_else(damaged)?;
    let (body, check) = text.split_at(at);
    if check != format!("check {:08x}\n", crc32c::crc32c(body.as_bytes())) {
        return Err(damaged());
    }
    let mut lines = body.lines().skip(1);
    let id = lines.next().and_then(|line| line.strip_prefix("log ")).ok_or_else(damaged)?;
    let mut layout = Layout { log_id: u64::from_str_radix(id, 16).map_err(|_| damaged())?, streams: Vec::new() };
    for line in lines {
        let (count, name) = line.strip_prefix("stream ").and_then(|rest| rest.split_once(' ')).ok_or_else(damaged)?;
        let name = StreamName::new(name).ok_or_else(damaged)?;
        layout.push(StreamSpec { name, partitions: count.parse().map_err(|_| damaged())? }, false)?;
    }
    Ok(layout)
}
