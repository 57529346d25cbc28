//! What the index of the active segment would hold so far: the file `<segment>.tail`, so that a start reads the
//! end of that segment and not all of it.
//!
//! ```text
//!  tail  = chunk chunk ...      appended to while the segment grows, removed when it is sealed
//!
//!  chunk    0 magic "WTAI"    4 crc32c u32 of 8.. to the end of the chunk
//!           8 log id u64     16 segment number u64    24 from byte u64 of the segment    32 until byte u64
//!          40 next group u64 48 newest appended-at i64 (us since 1970)
//!          56 slots u32      60 zero u32
//!          64 (next offset u64, entries u32, zero u32) x slots
//!             entries of slot 0, of slot 1, ...: (offset u64, position u32, frame length u32)
//! ```
//!
//! It is a hint, never synced, and a start believes it only this far:
//!
//! - The first chunk begins where the segment's header ends, each other one where the chunk before ends. What
//!   follows the last good chunk in the segment is scanned.
//! - A chunk is written when the group after it is durable, so that group is whole in the segment, at `until`.
//!   If it is not, the segment was damaged or cut, and is scanned in full.
//! - A tail that is not good to its end, or does not fit, is removed for good before anything is appended.
//!   So whatever a power cut leaves or brings back of a tail is true of its segment: what chunks tell of is
//!   never written again.

use std::io;
use std::path::{Path, PathBuf};

use telemetry::Timestamp;

use super::disk::{self, Disk, DiskFile};
use super::format::{Fields, put_u32, put_u64};
use super::index::{ENTRY_BYTES, Entry};
use super::scan::Window;
use super::view::Active;

/// Most bytes of a segment that gather, besides two groups, before a chunk tells of them.
const TAIL_BYTES: u64 = 512 * 1024;
/// And at most this part of a segment, so that one of 64 KiB has a tail too.
const PART: u64 = 128;

const MAGIC: &[u8; 4] = b"WTAI";
const FIXED_BYTES: usize = 64;
const SLOT_BYTES: usize = 16;

/// The tail of the active segment, as its writer goes on with it.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    log_id: u64,
    number: u64,
    /// Made with the first chunk.
    file: Option<DiskFile>,
    /// Of the file.
    length: u64,
    /// Bytes of the segment that chunks tell of.
    covered: u64,
    /// What no chunk tells of yet, by slot.
    waiting: Vec<Vec<Entry>>,
    /// Newest appended-at of the segment.
    newest: Timestamp,
    /// A chunk could not be written: no more of them for this segment.
    given_up: bool,
}

/// A durable group.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) number: u64,
    /// Where it begins in the segment.
    pub(super) at: u64,
    /// Next offset of each slot before it.
    pub(super) starts: &'a [u64],
    pub(super) appended_at: Timestamp,
    /// Its records with their slots.
    pub(super) records: &'a [(usize, Entry)],
}

/// What the chunks of a tail say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) from: u64,
    pub(super) until: u64,
    /// Number of the group at `until`.
    pub(super) next_group: u64,
    pub(super) newest: Timestamp,
    /// Next offset of each slot at `until`.
    pub(super) next: Vec<u64>,
    pub(super) slots: Vec<Vec<Entry>>,
}

/// A tail as found on disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) known: Known,
    /// Open for more chunks, with its length, if all of it is good.
    pub(super) chunks: Option<(DiskFile, u64)>,
    /// Bytes read.
    pub(super) read: u64,
}

/// Bytes of a segment from one chunk to the next.
pub(super) fn interval(segment_bytes: u64) -> u64 {
    TAIL_BYTES.min(segment_bytes / PART)
}

impl Tail {
    /// The tail of `active`, in which chunks tell of what is before `covered`: those in `chunks`, a file with its
    /// length. Without any, `covered` is where the segment's header ends.
    pub(super) fn begin(
        path: PathBuf,
        log_id: u64,
        active: &Active,
        covered: u64,
        chunks: Option<(DiskFile, u64)>,
    ) -> Self {
        let known = |entry: &Entry| u64::from(entry.position) < covered;
        let waiting = |slot: &Vec<Entry>| slot.get(slot.partition_point(known)..).unwrap_or_default().to_vec();
        let waiting = active.slots.iter().map(waiting).collect();
        let (file, length) = chunks.map_or((None, 0), |(file, length)| (Some(file), length));
        let (number, newest) = (active.number, active.newest);
        Self { path, log_id, number, file, length, covered, waiting, newest, given_up: false }
    }

    /// Takes in a group that is durable, which proves that all before it is. Writes a chunk about what is before
    /// it, if that is `every` bytes.
    pub(super) fn add(&mut self, disk: &dyn Disk, every: u64, group: &Group<'_>) {
        if self.given_up {
            return;
        }
        if group.at.saturating_sub(self.covered) >= every.max(1)
            && let Err(error) = self.write(disk, group)
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot write the tail of a segment, a restart will read more of it");
            (self.given_up, self.waiting) = (true, Vec::new());
            return;
        }
        self.newest = self.newest.max(group.appended_at);
        for (slot, entry) in group.records {
            if let Some(entries) = self.waiting.get_mut(*slot) {
                entries.push(*entry);
            }
        }
    }

    /// Removes the file, now that the segment has an index. What a failure leaves, the next start removes.
    pub(super) fn remove(self, disk: &dyn Disk) {
        if self.file.is_some()
            && let Err(error) = disk.remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot delete tail, the next start removes it");
        }
    }

    fn write(&mut self, disk: &dyn Disk, next: &Group<'_>) -> io::Result<()> {
        let chunk = self.encode(next);
        let file = match self.file.take() {
            Some(file) => file,
            None => disk.create(&self.path)?,
        };
        let file = self.file.insert(file);
        disk.write_at(file, &chunk, self.length)?;
        self.length += widen(chunk.len());
        self.covered = next.at;
        self.waiting.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    fn encode(&self, next: &Group<'_>) -> Vec<u8> {
        let mut checked = Vec::new();
        put_u64(&mut checked, self.log_id);
        put_u64(&mut checked, self.number);
        put_u64(&mut checked, self.covered);
        put_u64(&mut checked, next.at);
        put_u64(&mut checked, next.number);
        checked.extend_from_slice(&self.newest.as_micros().to_le_bytes());
        put_u32(&mut checked, u32::try_from(next.starts.len()).unwrap_or(u32::MAX));
        put_u32(&mut checked, 0);
        for (slot, &offset) in next.starts.iter().enumerate() {
            put_u64(&mut checked, offset);
            let entries = self.waiting.get(slot).map_or(0, Vec::len);
            put_u32(&mut checked, u32::try_from(entries).unwrap_or(u32::MAX));
            put_u32(&mut checked, 0);
        }
        self.waiting.iter().flatten().for_each(|entry| entry.encode(&mut checked));
        let mut chunk = Vec::with_capacity(8 + checked.len());
        chunk.extend_from_slice(MAGIC);
        put_u32(&mut chunk, crc32c::crc32c(&checked));
        chunk.extend_from_slice(&checked);
        chunk
    }
}

/// Reads the tail at `path` of segment `number`, of a log with `slots` slots; `None` if there is no good chunk.
///
/// # Errors
/// If the file cannot be read; it is a hint all the same.
pub(super) fn read(path: &Path, log_id: u64, number: u64, slots: usize) -> io::Result<Option<Found>> {
    let file = disk::open(path)?;
    let mut window = Window::new(&file.file)?;
    let (mut known, mut at) = (None::<Known>, 0);
    while let Some((chunk, length)) = chunk(&mut window, at, (log_id, number), slots)? {
        match &mut known {
            None => known = Some(chunk),
            Some(known) if known.until == chunk.from => known.extend(chunk),
            Some(_) => break,
        }
        at += length;
    }
    let (whole, read) = (at == window.length, window.read);
    Ok(known.map(|known| Found { known, chunks: whole.then_some((file, at)), read }))
}

/// The chunk at `at`, and its length; `None` if there is none, or it is damaged, or of something else.
fn chunk(window: &mut Window<'_>, at: u64, of: (u64, u64), slots: usize) -> io::Result<Option<(Known, u64)>> {
    let Some(tables) = window.get(at, FIXED_BYTES)?.and_then(|fixed| tables_bytes(fixed, slots)) else {
        return Ok(None);
    };
    let Some(entries) = window.get(at, tables)?.and_then(entries_bytes) else { return Ok(None) };
    let length = tables.saturating_add(entries);
    let known = window.get(at, length)?.and_then(|bytes| decode(bytes, of));
    Ok(known.map(|known| (with_slots(known, slots), widen(length))))
}

/// Bytes of a chunk without its entries, as its first bytes say, unchecked.
fn tables_bytes(fixed: &[u8], most_slots: usize) -> Option<usize> {
    let mut fields = Fields(fixed);
    fields.magic(MAGIC)?;
    let slots = Fields(fixed.get(56..)?).count().filter(|slots| *slots <= most_slots)?;
    Some(FIXED_BYTES + slots * SLOT_BYTES)
}

/// Bytes of the entries of a chunk, as its tables say, unchecked.
fn entries_bytes(tables: &[u8]) -> Option<usize> {
    let slots = tables.get(FIXED_BYTES..)?.chunks_exact(SLOT_BYTES);
    let entries = slots.map(|slot| Fields(slot.get(8..)?).count()).sum::<Option<usize>>()?;
    entries.checked_mul(ENTRY_BYTES)
}

/// Decodes exactly one chunk; `None` if any bit of it is wrong.
fn decode(bytes: &[u8], of: (u64, u64)) -> Option<Known> {
    let checked = bytes.get(8..)?;
    if Fields(bytes.get(4..8)?).u32()? != crc32c::crc32c(checked) {
        return None;
    }
    let mut fields = Fields(checked);
    if (fields.u64()?, fields.u64()?) != of {
        return None;
    }
    let (from, until, next_group) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let newest = Timestamp::from_micros(fields.i64()?);
    let (slots, _zero) = (fields.count()?, fields.u32()?);
    let mut known = Known { from, until, next_group, newest, next: Vec::new(), slots: Vec::new() };
    let mut counts = Vec::with_capacity(slots);
    for _ in 0..slots {
        known.next.push(fields.u64()?);
        counts.push(fields.count()?);
        fields.u32()?;
    }
    for count in counts {
        known.slots.push((0..count).map(|_| Entry::decode(&mut fields)).collect::<Option<_>>()?);
    }
    Some(known)
}

/// A slot newer than the chunk has nothing.
fn with_slots(mut known: Known, slots: usize) -> Known {
    known.next.resize(slots, 0);
    known.slots.resize(slots, Vec::new());
    known
}

impl Known {
    /// Takes in the chunk that follows.
    fn extend(&mut self, chunk: Self) {
        let Self { from: _, until, next_group, newest, next, slots } = chunk;
        (self.until, self.next_group, self.newest, self.next) = (until, next_group, newest, next);
        self.slots.iter_mut().zip(slots).for_each(|(slot, more)| slot.extend(more));
    }
}

fn widen(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
