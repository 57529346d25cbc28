//! Reading a segment: at a start the active one, from where its tail ends, and in full a sealed one whose index
//! is missing. Tells a torn write from damage, and counts what damage took.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use telemetry::Timestamp;

use super::config::PARTITIONS;
use super::disk;
use super::format::{
    FRAME_HEADER_BYTES, Frame, GROUP_HEADER_BYTES, GroupHeader, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION,
};
use super::index::{Entry, Index};
use super::manifest::Layout;
use super::tail::Known;
use crate::contract::Error;

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// If it is not damaged.
    pub(super) header: Option<SegmentHeader>,
    /// Number and place of the last group; `None` if there is no group.
    pub(super) last_group: Option<(u64, Range<u64>)>,
    /// Where the last group ends, or the header. What follows was never durable.
    pub(super) end: u64,
    /// Next offset of each slot at the beginning, as the header or else the first whole group tells.
    pub(super) starts: Option<Vec<u64>>,
    /// And at the end.
    pub(super) next: Vec<u64>,
    pub(super) slots: Vec<Vec<Entry>>,
    pub(super) newest: Timestamp,
    /// Records damaged, counted by the offsets of what follows them.
    pub(super) lost: u64,
    /// Bytes of damaged groups and between groups.
    pub(super) damaged_bytes: u64,
    /// Bytes read.
    pub(super) read: u64,
}

/// Why a segment cannot be scanned.
#[derive(Debug)]
pub(super) enum ScanError {
    Io(io::Error),
    /// The header is of this newer format version.
    Newer(u32),
}

impl ScanError {
    /// The error for a caller, about the segment at `path`.
    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(error) => disk::io_error("read segment", path)(error),
            Self::Newer(version) => Error::Incompatible(format!(
                "{}: written in format {version}; this program reads format {VERSION}",
                path.display()
            )),
        }
    }
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Scans the segment in `file`.
pub(super) fn scan(file: &File, layout: &Layout) -> Result<Scan, ScanError> {
    let mut scanner = Scanner::new(file, layout)?;
    let at = scanner.header()?;
    Ok(scanner.groups(at)?)
}

/// Scans the segment in `file` from where `known` ends; what is before is not looked at. `None` if the segment is
/// not the one that `known` tells of, or does not go on with the group it names.
pub(super) fn resume(file: &File, layout: &Layout, known: Known) -> Result<Option<Scan>, ScanError> {
    let mut scanner = Scanner::new(file, layout)?;
    let from = scanner.header()?;
    if scanner.found.header.is_none() || known.from != from || !scanner.is_whole(known.until, known.next_group)? {
        return Ok(None);
    }
    let at = known.until;
    scanner.found.learn(known);
    Ok(Some(scanner.groups(at)?))
}

impl Scan {
    fn empty(slots: usize) -> Self {
        Self {
            header: None,
            last_group: None,
            end: 0,
            starts: None,
            next: vec![0; slots],
            slots: vec![Vec::new(); slots],
            newest: Timestamp::from_micros(i64::MIN),
            lost: 0,
            damaged_bytes: 0,
            read: 0,
        }
    }

    /// Takes over what need not be scanned.
    fn learn(&mut self, known: Known) {
        let Known { until, next_group, newest, next, slots, .. } = known;
        (self.end, self.newest, self.next, self.slots) = (until, newest, next, slots);
        // Where it is does not matter: another one follows.
        self.last_group = next_group.checked_sub(1).map(|last| (last, until..until));
    }

    /// Moves the next offsets up to `to`, where they are below; what lies between was lost.
    pub(super) fn advance(&mut self, to: &[u64]) -> u64 {
        let mut lost = 0;
        for (next, &to) in self.next.iter_mut().zip(to) {
            lost += to.saturating_sub(*next);
            *next = to.max(*next);
        }
        self.lost += lost;
        lost
    }

    /// Number of the first group after what was found.
    pub(super) fn next_group(&self) -> u64 {
        let first = self.header.as_ref().map_or(0, |header| header.first_group);
        self.last_group.as_ref().map_or(first, |(last, _)| last + 1)
    }

    /// Where groups begin.
    pub(super) fn header_bytes(&self, layout: &Layout) -> u64 {
        let slots = self.header.as_ref().map_or(layout.slots(), |header| header.starts.len());
        widen(SegmentHeader::bytes(slots))
    }

    /// The index of a sealed segment of `bytes`; `ends` are the offsets its successor begins with.
    pub(super) fn into_index(mut self, bytes: u64, ends: &[u64]) -> Index {
        self.begin(ends);
        self.advance(ends);
        let (newest, next_group) = (self.newest, self.next_group());
        let starts = self.starts.unwrap_or_default();
        Index { bytes, newest, next_group, starts, ends: self.next, slots: self.slots }
    }

    /// The first offsets known, of header or group, are where the segment begins.
    fn begin(&mut self, starts: &[u64]) {
        if self.starts.is_none() {
            let mut padded = starts.to_vec();
            padded.resize(self.next.len(), 0);
            self.next.clone_from(&padded);
            self.starts = Some(padded);
        }
    }

    fn record(&mut self, slot: usize, entry: Entry) {
        let (Some(next), Some(entries)) = (self.next.get_mut(slot), self.slots.get_mut(slot)) else { return };
        // An offset twice cannot be told apart by what is on disk; the first one was read by consumers.
        if entry.offset >= *next {
            self.lost += entry.offset - *next;
            *next = entry.offset + 1;
            entries.push(entry);
        }
    }
}

/// A group as it was found.
struct Group {
    /// Next offsets before it, unless its tables are damaged.
    starts: Option<Vec<u64>>,
    records: Vec<(usize, Entry, Timestamp)>,
    whole: bool,
}

struct Scanner<'a> {
    window: Window<'a>,
    layout: &'a Layout,
    found: Scan,
}

impl<'a> Scanner<'a> {
    fn new(file: &'a File, layout: &'a Layout) -> io::Result<Self> {
        Ok(Self { window: Window::new(file)?, layout, found: Scan::empty(layout.slots()) })
    }

    /// Scans from `at`, where a group begins, to the end.
    fn groups(mut self, mut at: u64) -> io::Result<Scan> {
        self.found.end = at;
        while let Some((from, header)) = self.next_group(at)? {
            let until = from.saturating_add(header.bytes);
            let group = self.group(from, &header)?;
            // It was synced before a later group was written; without one, it is a torn write.
            if !group.whole && self.next_group(until)?.is_none() {
                break;
            }
            self.found.damaged_bytes += from - at;
            self.take(group, &header, from..until);
            at = until;
        }
        self.found.read = self.window.read;
        Ok(self.found)
    }

    /// Whether the group of this number begins at `at`, with no bit of it wrong.
    fn is_whole(&mut self, at: u64, number: u64) -> io::Result<bool> {
        let log_id = self.layout.log_id;
        let header = self.window.get(at, GROUP_HEADER_BYTES)?.and_then(|bytes| GroupHeader::decode(bytes, log_id));
        match header.filter(|header| header.number == number) {
            Some(header) => Ok(self.group(at, &header)?.whole),
            None => Ok(false),
        }
    }

    /// Reads the segment's header; gives where groups begin.
    fn header(&mut self) -> Result<u64, ScanError> {
        let Some(header) = header(&mut self.window, self.layout.log_id)? else { return Ok(0) };
        self.found.begin(&header.starts);
        let end = SegmentHeader::bytes(header.starts.len());
        self.found.header = Some(header);
        Ok(widen(end))
    }

    /// The next group of this log at or after `at` that is newer than the last one, and where it begins.
    fn next_group(&mut self, at: u64) -> io::Result<Option<(u64, GroupHeader)>> {
        let mut at = at.next_multiple_of(8);
        while let Some(bytes) = self.window.get(at, GROUP_HEADER_BYTES)? {
            if let Some(header) = GroupHeader::decode(bytes, self.layout.log_id)
                && self.found.last_group.as_ref().is_none_or(|(last, _)| header.number > *last)
            {
                return Ok(Some((at, header)));
            }
            at += 8;
        }
        Ok(None)
    }

    fn group(&mut self, at: u64, header: &GroupHeader) -> io::Result<Group> {
        let mut group = Group { starts: None, records: Vec::new(), whole: false };
        let tables_at = at + widen(GROUP_HEADER_BYTES);
        let tables = self.window.get(tables_at, header.tables_bytes())?.and_then(|bytes| header.tables(bytes));
        let Some((starts, lengths)) = tables else { return Ok(group) };
        group.whole = at + header.bytes <= self.window.length;
        group.starts = Some(starts);
        let mut position = tables_at + widen(header.tables_bytes());
        for payload in lengths {
            let length = widen(FRAME_HEADER_BYTES) + u64::from(payload);
            match self.record(position, length)? {
                Some(record) => group.records.push(record),
                None => group.whole = false,
            }
            position += length;
        }
        Ok(group)
    }

    /// The record whose frame is at `at`; `None` if it is damaged.
    fn record(&mut self, at: u64, length: u64) -> io::Result<Option<(usize, Entry, Timestamp)>> {
        let (Ok(position), Ok(length)) = (u32::try_from(at), u32::try_from(length)) else { return Ok(None) };
        let Ok(bytes) = usize::try_from(length) else { return Ok(None) };
        let Some(frame) = self.window.get(at, bytes)?.and_then(Frame::decode) else { return Ok(None) };
        let slot = self.layout.slot(frame.stream, frame.partition);
        Ok(slot.map(|slot| (slot, Entry { offset: frame.offset, position, length }, frame.appended_at)))
    }

    fn take(&mut self, group: Group, header: &GroupHeader, place: Range<u64>) {
        if let Some(starts) = &group.starts {
            self.found.begin(starts);
            self.found.advance(starts);
        }
        if !group.whole {
            self.found.damaged_bytes += header.bytes;
        }
        self.found.end = place.end;
        self.found.last_group = Some((header.number, place));
        for (slot, entry, appended_at) in group.records {
            self.found.newest = self.found.newest.max(appended_at);
            self.found.record(slot, entry);
        }
    }
}

fn header(window: &mut Window<'_>, log_id: u64) -> Result<Option<SegmentHeader>, ScanError> {
    let prefix = window.get(0, SEGMENT_HEADER_BYTES)?.and_then(SegmentHeader::prefix);
    let Some(prefix) = prefix.filter(|prefix| prefix.slots <= PARTITIONS) else { return Ok(None) };
    let header = window.get(0, SegmentHeader::bytes(prefix.slots))?.and_then(SegmentHeader::decode);
    match header {
        Some(_) if prefix.version > VERSION => Err(ScanError::Newer(prefix.version)),
        header => Ok(header.filter(|header| header.log_id == log_id)),
    }
}

/// A file read in steps, so that a segment never is in memory as a whole.
pub(super) struct Window<'a> {
    file: &'a File,
    /// Of the file.
    pub(super) length: u64,
    at: u64,
    bytes: Vec<u8>,
    /// Bytes read of the file.
    pub(super) read: u64,
    /// Bytes to read next: more each time, because a header alone needs little and a segment much.
    step: usize,
}

const FIRST_STEP: usize = 64 * 1024;
const LAST_STEP: usize = 1024 * 1024;

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, length: file.metadata()?.len(), at: 0, bytes: Vec::new(), read: 0, step: FIRST_STEP })
    }

    /// The `count` bytes at `at`; `None` if the file ends before.
    pub(super) fn get(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let rest = self.length.saturating_sub(at);
        if rest < widen(count) {
            return Ok(None);
        }
        let inside = at.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok());
        let skip = match inside.filter(|skip| skip.saturating_add(count) <= self.bytes.len()) {
            Some(skip) => skip,
            None => {
                let length = usize::try_from(rest).unwrap_or(usize::MAX).min(self.step.max(count));
                self.step = LAST_STEP.min(self.step * 2);
                self.bytes.clear();
                self.bytes.resize(length, 0);
                self.file.read_exact_at(&mut self.bytes, at)?;
                self.at = at;
                self.read += widen(length);
                0
            }
        };
        Ok(self.bytes.get(skip..skip + count))
    }
}

fn widen(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
