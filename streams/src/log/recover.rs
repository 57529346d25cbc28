//! Opening the segments: what is there, what a crash left unfinished, what is damaged.
//!
//! Of the last segment only its end is read, from where its tail stops telling; without a good tail, all of it.
//! The others tell by their indexes where they begin and end; one without a good index is scanned, and its index
//! written again. What is damaged in the parts that are not read is found when it is read.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{self, Disk, DiskFile, STAGED};
use super::format::SegmentHeader;
use super::index;
use super::manifest::Layout;
use super::scan::{self, Scan, ScanError};
use super::segment;
use super::shared::{Paths, TAIL};
use super::tail::{self, Tail};
use super::view::{Active, Sealed, View, at};
use crate::contract::Error;

/// What opening the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments there are, the active one included.
    pub segments: usize,
    /// Bytes cut off the end: written before a crash, never durable as a whole, never acknowledged.
    pub cut_bytes: u64,
    /// Records found damaged or missing, in the parts of segments that had to be read.
    pub quarantined_records: u64,
    /// Bytes of damaged groups in the parts of segments that had to be read; they stay on disk.
    pub damaged_bytes: u64,
    /// Bytes of segments and of the tail that had to be read: about 1 MiB and two groups, however much there is,
    /// unless a tail or an index is missing or damaged.
    pub read_bytes: u64,
    /// Sealed segments whose index was missing or damaged.
    pub rebuilt_indexes: usize,
    /// Files removed that a crash had left unfinished.
    pub removed_files: usize,
    /// Damaged stores of positions that were put aside, now or before, and are still there. While there is one,
    /// nothing is deleted from the log.
    pub damaged_positions: usize,
}

/// The segments as opened.
pub(super) struct Opened {
    pub(super) view: View,
    pub(super) next_group: u64,
    /// Of the active segment.
    pub(super) tail: Tail,
    pub(super) recovery: Recovery,
}

/// Opens the segments in `paths`. `passed` is the highest position committed in each slot: an offset that a
/// consumer passed must not be given to a new record, whatever damage took.
pub(super) fn open(disk: &dyn Disk, paths: &Paths, layout: &Layout, passed: &[Option<u64>]) -> Result<Opened, Error> {
    let mut opening = Opening { disk, paths, layout, recovery: Recovery::default() };
    let mut numbers = opening.tidy()?;
    let number = numbers.pop_last();
    let active = number.map(|number| opening.active(number)).transpose()?.flatten();
    let (mut sealed, last) = opening.sealed(&numbers, active.as_ref().map(|opened| opened.active.starts.to_vec()))?;
    let LastSegment { active, ends, next_group, tail } = match active {
        Some(mut opened) => {
            opening.raise(&mut opened.ends, passed);
            opened
        }
        None => opening.begin(number.unwrap_or(0), last, passed)?,
    };
    sealed.make_contiguous();
    let mut recovery = opening.recovery;
    recovery.segments = sealed.len() + 1;
    Ok(Opened { view: View { sealed, active, ends }, next_group, tail, recovery })
}

/// Numbers of the segment files in a directory.
pub(super) fn numbers(segments: &Path) -> Result<BTreeSet<u64>, Error> {
    Ok(files(segments)?.into_iter().filter(|file| file.kind == "log").map(|file| file.number).collect())
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    paths: &'a Paths,
    layout: &'a Layout,
    recovery: Recovery,
}

/// The segment to write on.
struct LastSegment {
    active: Active,
    /// Next offset of each slot.
    ends: Vec<u64>,
    next_group: u64,
    tail: Tail,
}

/// The chunks of a good tail: their file with its length, and how far in the segment they tell.
struct Chunks {
    file: (DiskFile, u64),
    covered: u64,
}

/// Next offsets and next group after the sealed segments.
type Last = Option<(Vec<u64>, u64)>;

impl Opening<'_> {
    /// Removes what was never finished; gives the numbers of the segments.
    fn tidy(&mut self) -> Result<BTreeSet<u64>, Error> {
        let segments = self.paths.segments();
        let numbers = numbers(&segments)?;
        let last = numbers.last().copied();
        for file in files(&segments)? {
            let is_last = Some(file.number) == last;
            let unfinished = match file.kind.as_str() {
                STAGED => true,
                // The active segment's index is of an earlier, interrupted sealing.
                "idx" => is_last || !numbers.contains(&file.number),
                // And only that segment has a tail.
                TAIL => !is_last,
                _ => false,
            };
            if unfinished {
                self.remove(&segments.join(file.name))?;
            }
        }
        Ok(numbers)
    }

    fn remove(&mut self, path: &Path) -> Result<(), Error> {
        self.recovery.removed_files += 1;
        self.disk.remove(path).map_err(disk::io_error("remove", path))?;
        let segments = self.paths.segments();
        self.disk.sync_dir(&segments).map_err(disk::io_error("sync", &segments))
    }

    /// Opens the last segment for writing on; `None` if nothing in it was ever durable, or can be read.
    fn active(&mut self, number: u64) -> Result<Option<LastSegment>, Error> {
        let path = self.paths.segment(number);
        let file = disk::open(&path).map_err(disk::io_error("open segment", &path))?;
        let length = length(&file)?;
        let (scan, chunks) = self.scan(number, &file)?;
        let Some(starts) = scan.starts.clone() else {
            drop(file);
            return self.put_aside(number, length).map(|()| None);
        };
        self.repair(&file, &scan, length).map_err(disk::io_error("repair segment", &path))?;
        self.recovery.quarantined_records += scan.lost;
        self.recovery.damaged_bytes += scan.damaged_bytes;
        if scan.lost > 0 {
            let (records, bytes) = (scan.lost, scan.damaged_bytes);
            tracing::error!(path = %path.display(), records, bytes, "active segment is damaged, records are lost");
        }
        let (next_group, header) = (scan.next_group(), scan.header_bytes(self.layout));
        let (starts, file) = (starts.into_boxed_slice(), Arc::new(file));
        let active = Active { number, file, starts, slots: scan.slots, bytes: scan.end, newest: scan.newest };
        let tail = self.tail(&active, header, chunks);
        Ok(Some(LastSegment { active, ends: scan.next, next_group, tail }))
    }

    /// Scans the last segment, after what its tail tells of if that is good. Gives that tail too, if it can go on.
    /// One that cannot is removed, and durably: it must not come back once the segment has other groups.
    fn scan(&mut self, number: u64, file: &DiskFile) -> Result<(Scan, Option<Chunks>), Error> {
        let read_error = |error: ScanError| error.at(&file.path);
        let path = self.paths.tail(number);
        let found = tail::read(&path, self.layout.log_id, number, self.layout.slots());
        let is_there = !found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if let Ok(Some(tail::Found { known, chunks, read })) = found {
            self.recovery.read_bytes += read;
            let covered = known.until;
            if let Some(scan) = scan::resume(&file.file, self.layout, known).map_err(read_error)? {
                self.recovery.read_bytes += scan.read;
                if chunks.is_none() {
                    self.remove(&path)?;
                }
                return Ok((scan, chunks.map(|file| Chunks { file, covered })));
            }
        }
        if is_there {
            tracing::warn!(path = %path.display(), "tail of the active segment is damaged, reading all of the segment");
            self.remove(&path)?;
        }
        let scan = scan::scan(&file.file, self.layout).map_err(read_error)?;
        self.recovery.read_bytes += scan.read;
        Ok((scan, None))
    }

    fn tail(&self, active: &Active, header: u64, chunks: Option<Chunks>) -> Tail {
        let (file, covered) = chunks.map_or((None, header), |Chunks { file, covered }| (Some(file), covered));
        Tail::begin(self.paths.tail(active.number), self.layout.log_id, active, covered, file)
    }

    /// Cuts a torn write, and writes the last group once more: had its sync failed before the restart, the
    /// system would show it to us and yet never write it.
    fn repair(&mut self, file: &DiskFile, scan: &Scan, length: u64) -> io::Result<()> {
        if length > scan.end {
            let bytes = length - scan.end;
            tracing::warn!(path = %file.path.display(), bytes, "cut a torn write off the end of the streams");
            self.recovery.cut_bytes += bytes;
            self.disk.truncate(file, scan.end)?;
        }
        let again = scan.last_group.as_ref().map_or(0..scan.end, |(_, place)| place.clone());
        let mut bytes = vec![0; usize::try_from(again.end - again.start).unwrap_or(usize::MAX)];
        std::os::unix::fs::FileExt::read_exact_at(&file.file, &mut bytes, again.start)?;
        self.disk.write_at(file, &bytes, again.start)?;
        self.disk.sync(file)?;
        self.disk.sync_dir(&self.paths.segments())
    }

    /// Takes the last segment out of the way: one whose beginning was interrupted is removed, one that held
    /// more is kept for a person to look at.
    fn put_aside(&mut self, number: u64, length: u64) -> Result<(), Error> {
        let path = self.paths.segment(number);
        let header = u64::try_from(SegmentHeader::bytes(self.layout.slots())).unwrap_or(u64::MAX);
        if length <= header {
            return self.remove(&path);
        }
        tracing::error!(path = %path.display(), bytes = length, "nothing in the last segment can be read, put aside");
        self.recovery.damaged_bytes += length;
        self.disk.rename(&path, &self.paths.damaged(number)).map_err(disk::io_error("put aside", &path))
    }

    /// Opens the sealed segments, the newest first, because each ends where the next begins: the newest at
    /// `ends`, if known.
    fn sealed(
        &mut self,
        numbers: &BTreeSet<u64>,
        mut ends: Option<Vec<u64>>,
    ) -> Result<(VecDeque<Sealed>, Last), Error> {
        let (mut sealed, mut last) = (VecDeque::new(), None);
        for &number in numbers.iter().rev() {
            let (segment, own_ends, next_group) = self.sealed_one(number, ends.as_deref())?;
            if let Some(ends) = &ends {
                self.count_missing(number, &own_ends, ends);
            }
            last.get_or_insert((own_ends, next_group));
            ends = Some(segment.starts.to_vec());
            sealed.push_front(segment);
        }
        Ok((sealed, last))
    }

    fn sealed_one(&mut self, number: u64, ends: Option<&[u64]>) -> Result<(Sealed, Vec<u64>, u64), Error> {
        let (path, index_path) = (self.paths.segment(number), self.paths.index(number));
        let log_id = self.layout.log_id;
        let bytes = fs::metadata(&path).map_err(disk::io_error("open segment", &path))?.len();
        if let Some(head) = index::read_head(&index_path, log_id, number).filter(|head| head.bytes == bytes) {
            let bytes = bytes + fs::metadata(&index_path).map_err(disk::io_error("open index", &index_path))?.len();
            let segment = Sealed { number, bytes, newest: head.newest, starts: head.starts.into_boxed_slice() };
            return Ok((segment, head.ends, head.next_group));
        }
        tracing::warn!(path = %index_path.display(), "index of a segment is missing or damaged, rebuilding it");
        let file = disk::open(&path).map_err(disk::io_error("open segment", &path))?;
        let mut scan = scan::scan(&file.file, self.layout).map_err(|error| error.at(&path))?;
        // What follows the last good group of a sealed segment is damage too: it was durable once.
        self.recovery.damaged_bytes += scan.damaged_bytes + bytes.saturating_sub(scan.end);
        self.recovery.quarantined_records += scan.lost;
        self.recovery.rebuilt_indexes += 1;
        self.recovery.read_bytes += scan.read;
        let lost = ends.filter(|_| scan.starts.is_some()).map_or(0, |ends| scan.advance(ends));
        self.recovery.quarantined_records += lost;
        let own_ends = ends.map_or_else(|| scan.next.clone(), <[u64]>::to_vec);
        let index = scan.into_index(bytes, &own_ends);
        let written = index.write(self.disk, &index_path, log_id, number);
        let index_bytes = written.map_err(disk::io_error("write index", &index_path))?;
        let starts = index.starts.into_boxed_slice();
        let segment = Sealed { number, bytes: bytes + index_bytes, newest: index.newest, starts };
        Ok((segment, index.ends, index.next_group))
    }

    /// Counts what was between the end of a segment and the beginning of the next: segments that are gone.
    fn count_missing(&mut self, number: u64, ends: &[u64], next_starts: &[u64]) {
        let missing = |slot: usize| at(next_starts, slot).saturating_sub(at(ends, slot));
        let records: u64 = (0..next_starts.len()).map(missing).sum();
        if records > 0 {
            tracing::error!(after_segment = number, records, "records between two segments are missing");
            self.recovery.quarantined_records += records;
        }
    }

    /// Begins a segment after all others.
    fn begin(&mut self, number: u64, last: Last, passed: &[Option<u64>]) -> Result<LastSegment, Error> {
        let (mut ends, next_group) = last.unwrap_or_default();
        ends.resize(self.layout.slots(), 0);
        self.raise(&mut ends, passed);
        let (path, log_id) = (self.paths.segment(number), self.layout.log_id);
        let header = SegmentHeader { log_id, number, first_group: next_group, starts: ends.clone() };
        let active = segment::begin(self.disk, self.paths, header).map_err(disk::io_error("begin segment", &path))?;
        let tail = self.tail(&active, active.bytes, None);
        Ok(LastSegment { active, ends, next_group, tail })
    }

    /// Moves next offsets up to the positions committed; what lies between was lost to damage.
    fn raise(&mut self, next: &mut [u64], passed: &[Option<u64>]) {
        for (slot, (next, passed)) in next.iter_mut().zip(passed).enumerate() {
            let lost = passed.unwrap_or(0).saturating_sub(*next);
            if lost > 0 {
                tracing::error!(slot, lost, "records at the end of a partition are lost, consumers had passed them");
                self.recovery.quarantined_records += lost;
                *next += lost;
            }
        }
    }
}

struct Found {
    name: String,
    number: u64,
    kind: String,
}

/// Files named by a segment number.
fn files(segments: &Path) -> Result<Vec<Found>, Error> {
    let list = || -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(segments)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let Some((number, kind)) = name.split_once('.') else { continue };
            if let Ok(number) = number.parse() {
                found.push(Found { number, kind: kind.to_owned(), name });
            }
        }
        Ok(found)
    };
    list().map_err(disk::io_error("list", segments))
}

fn length(file: &DiskFile) -> Result<u64, Error> {
    Ok(file.file.metadata().map_err(disk::io_error("open segment", &file.path))?.len())
}
