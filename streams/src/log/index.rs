//! Where the records of a sealed segment are: the file `<segment>.idx`, so that a start need not scan sealed
//! segments. It can always be rebuilt by a scan.
//!
//! ```text
//!  0 magic "WEIRIDX\0"    8 version u32    12 slots u32    16 log id u64    24 segment number u64
//! 32 bytes u64 of the segment              40 newest appended-at i64 (us since 1970)
//! 48 next group u64
//! 56 (first offset u64, end offset u64, entries u32, crc32c u32 of the entries) x slots
//!    crc32c u32 of all before, zero u32
//!    entries of slot 0, of slot 1, ...: (offset u64, position u32, frame length u32)
//! ```
//!
//! Offsets between a slot's first and end offset without an entry were lost to damage.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use telemetry::Timestamp;

use super::config::PARTITIONS;
use super::disk::{self, Disk};
use super::format::{Fields, VERSION, put_u32, put_u64};

const MAGIC: &[u8; 8] = b"WEIRIDX\0";
const FIXED_BYTES: usize = 56;
const SLOT_BYTES: usize = 24;
/// Bytes of an entry on disk.
pub(super) const ENTRY_BYTES: usize = 16;

/// Where one record's frame is in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) position: u32,
    /// Of the frame, with its header.
    pub(super) length: u32,
}

/// Where all records of a segment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// Of the segment file.
    pub(super) bytes: u64,
    pub(super) newest: Timestamp,
    /// Number of the first group after the segment.
    pub(super) next_group: u64,
    /// Next offset of each slot at the segment's beginning.
    pub(super) starts: Vec<u64>,
    /// And at its end.
    pub(super) ends: Vec<u64>,
    /// Of each slot, in order of offset.
    pub(super) slots: Vec<Vec<Entry>>,
}

/// An index file without its entries.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) bytes: u64,
    pub(super) newest: Timestamp,
    pub(super) next_group: u64,
    pub(super) starts: Vec<u64>,
    pub(super) ends: Vec<u64>,
    places: Vec<SlotPlace>,
}

/// Where a slot's entries are in the index file.
#[derive(Debug)]
struct SlotPlace {
    at: u64,
    entries: usize,
    crc: u32,
}

impl Index {
    /// Writes the index file; gives its length.
    pub(super) fn write(&self, disk: &dyn Disk, path: &Path, log_id: u64, number: u64) -> io::Result<u64> {
        let bytes = self.encode(log_id, number);
        disk::replace(disk, path, &bytes)?;
        Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }

    fn encode(&self, log_id: u64, number: u64) -> Vec<u8> {
        let mut head = Vec::with_capacity(head_bytes(self.slots.len()));
        let mut entries = Vec::new();
        head.extend_from_slice(MAGIC);
        put_u32(&mut head, VERSION);
        put_u32(&mut head, u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        put_u64(&mut head, log_id);
        put_u64(&mut head, number);
        put_u64(&mut head, self.bytes);
        head.extend_from_slice(&self.newest.as_micros().to_le_bytes());
        put_u64(&mut head, self.next_group);
        for ((slot, &start), &end) in self.slots.iter().zip(&self.starts).zip(&self.ends) {
            let at = entries.len();
            slot.iter().for_each(|entry| entry.encode(&mut entries));
            put_u64(&mut head, start);
            put_u64(&mut head, end);
            put_u32(&mut head, u32::try_from(slot.len()).unwrap_or(u32::MAX));
            put_u32(&mut head, crc32c::crc32c(entries.get(at..).unwrap_or_default()));
        }
        let crc = crc32c::crc32c(&head);
        put_u32(&mut head, crc);
        put_u32(&mut head, 0);
        head.extend_from_slice(&entries);
        head
    }
}

impl Entry {
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        put_u64(to, self.offset);
        put_u32(to, self.position);
        put_u32(to, self.length);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { offset: fields.u64()?, position: fields.u32()?, length: fields.u32()? })
    }
}

/// Reads the head of an index file; `None` if it is missing, damaged, or of another log or segment.
pub(super) fn read_head(path: &Path, log_id: u64, number: u64) -> Option<Head> {
    head_of(&File::open(path).ok()?, log_id, number)
}

/// Reads the entries of one slot; `None` if the file is missing or damaged. A slot newer than the segment has
/// none.
pub(super) fn read_slot(path: &Path, log_id: u64, number: u64, slot: usize) -> Option<Vec<Entry>> {
    let file = File::open(path).ok()?;
    let head = head_of(&file, log_id, number)?;
    let Some(place) = head.places.get(slot) else { return Some(Vec::new()) };
    let bytes = read(&file, place.at, place.entries.checked_mul(ENTRY_BYTES)?)?;
    if crc32c::crc32c(&bytes) != place.crc {
        return None;
    }
    let mut fields = Fields(&bytes);
    (0..place.entries).map(|_| Entry::decode(&mut fields)).collect()
}

fn head_of(file: &File, log_id: u64, number: u64) -> Option<Head> {
    let fixed = read(file, 0, FIXED_BYTES)?;
    let mut fields = Fields(&fixed);
    fields.magic(MAGIC)?;
    let (version, slots) = (fields.u32()?, fields.count()?);
    if version != VERSION || slots > PARTITIONS || fields.u64()? != log_id || fields.u64()? != number {
        return None;
    }
    let (bytes, newest, next_group) = (fields.u64()?, Timestamp::from_micros(fields.i64()?), fields.u64()?);
    let head = read(file, 0, head_bytes(slots))?;
    let (checked, mut crc) = (head.get(..head.len() - 8)?, Fields(head.get(head.len() - 8..)?));
    if crc.u32()? != crc32c::crc32c(checked) {
        return None;
    }
    let empty = Head { bytes, newest, next_group, starts: Vec::new(), ends: Vec::new(), places: Vec::new() };
    decode_slots(Fields(checked.get(FIXED_BYTES..)?), slots, empty)
}

fn decode_slots(mut fields: Fields<'_>, slots: usize, mut head: Head) -> Option<Head> {
    let mut at = u64::try_from(head_bytes(slots)).ok()?;
    for _ in 0..slots {
        head.starts.push(fields.u64()?);
        head.ends.push(fields.u64()?);
        let (entries, crc) = (fields.count()?, fields.u32()?);
        head.places.push(SlotPlace { at, entries, crc });
        at += u64::try_from(entries.checked_mul(ENTRY_BYTES)?).ok()?;
    }
    Some(head)
}

fn head_bytes(slots: usize) -> usize {
    FIXED_BYTES + slots * SLOT_BYTES + 8
}

/// `None` also if the file ends early: a damaged count must not become an allocation.
fn read(file: &File, at: u64, length: usize) -> Option<Vec<u8>> {
    let end = at.checked_add(u64::try_from(length).ok()?)?;
    if file.metadata().ok()?.len() < end {
        return None;
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}
