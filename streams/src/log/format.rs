//! What is in a segment file, format version 1. All numbers little endian.
//!
//! ```text
//!  segment = header group group group ...        one file, appended to, never changed
//!
//!  header   0 magic "WEIRSEG\0"   8 version u32    12 slots u32      16 log id u64
//!          24 segment number u64 32 first group u64
//!          40 next offset u64 x slots  .. crc32c u32 of all before   zero u32
//!
//!  group    0 magic "WGRP"        4 crc32c u32 of 8..48              8 log id u64
//!          16 group number u64   24 bytes u64 of the whole group    32 records u32
//!          36 slots u32          40 crc32c u32 of the tables        44 zero u32
//!          48 next offset u64 x slots, as of before the group; payload length u32 x records; zero to 8
//!             frame frame frame ...; zero to 8
//!
//!  frame    0 crc32c u32 of 4.. and the payload    4 payload length u32
//!           8 stream u32   12 partition u32        16 offset u64
//!          24 appended at i64 (us since 1970)      32 rows u32   36 zero u32   40 payload
//! ```
//!
//! A slot is one partition of one stream, numbered in the order of the manifest. Why each part is there:
//!
//! - A group is what one `fdatasync` made durable. Its number is one more than that of the group before, over
//!   all segments; a group is written only after the one before is durable, so a valid group proves that
//!   what is before it was durable: damage there is damage, not a torn write.
//! - The offsets in front of each group tell exactly what damaged groups before it held.
//! - The payload lengths in front of the frames find each frame though one before it is damaged.
//! - The log id, drawn when the log is created and known to nobody outside, keeps bytes inside a payload from
//!   passing for a group.
//! - The frame's own stream, partition and offset keep a misplaced read from passing for the record asked.

use telemetry::Timestamp;

use crate::faults::{Tooth, tooth};

/// Version of the format this code writes, and the newest it reads.
pub(super) const VERSION: u32 = 1;
/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER_BYTES: usize = 40;
/// Bytes in a group's table for each record.
pub(super) const LENGTH_BYTES: usize = 4;
/// Bytes of a group's header before its tables.
pub(super) const GROUP_HEADER_BYTES: usize = 48;
/// Bytes of a segment's header before its table.
pub(super) const SEGMENT_HEADER_BYTES: usize = 40;

const SEGMENT_MAGIC: &[u8; 8] = b"WEIRSEG\0";
const GROUP_MAGIC: &[u8; 4] = b"WGRP";
const CRC_BYTES: usize = 4;

/// First bytes of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) log_id: u64,
    pub(super) number: u64,
    pub(super) first_group: u64,
    /// Next offset of each slot when the segment began.
    pub(super) starts: Vec<u64>,
}

/// A segment header as far as its length is known.
pub(super) struct SegmentPrefix {
    pub(super) version: u32,
    pub(super) slots: usize,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::bytes(self.starts.len()));
        bytes.extend_from_slice(SEGMENT_MAGIC);
        put_u32(&mut bytes, VERSION);
        put_count(&mut bytes, self.starts.len());
        put_u64(&mut bytes, self.log_id);
        put_u64(&mut bytes, self.number);
        put_u64(&mut bytes, self.first_group);
        self.starts.iter().for_each(|&start| put_u64(&mut bytes, start));
        let crc = crc32c::crc32c(&bytes);
        put_u32(&mut bytes, crc);
        put_u32(&mut bytes, 0);
        bytes
    }

    /// Length of a header with `slots` slots.
    pub(super) fn bytes(slots: usize) -> usize {
        SEGMENT_HEADER_BYTES + slots * 8 + 8
    }

    /// What the first [`SEGMENT_HEADER_BYTES`] say, unchecked; `None` if this is no segment.
    pub(super) fn prefix(bytes: &[u8]) -> Option<SegmentPrefix> {
        let mut fields = Fields(bytes);
        fields.magic(SEGMENT_MAGIC)?;
        Some(SegmentPrefix { version: fields.u32()?, slots: fields.count()? })
    }

    /// Decodes a header of exactly `bytes`; `None` if it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let prefix = Self::prefix(bytes)?;
        let (checked, mut crc) = (bytes.get(..bytes.len().checked_sub(8)?)?, Fields(bytes.get(bytes.len() - 8..)?));
        if crc.u32()? != crc32c::crc32c(checked) || crc.u32()? != 0 {
            return None;
        }
        let mut fields = Fields(checked.get(16..)?);
        let (log_id, number, first_group) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let starts = fields.u64s(prefix.slots)?;
        Some(Self { log_id, number, first_group, starts })
    }
}

/// First bytes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) number: u64,
    /// Of the whole group with its padding.
    pub(super) bytes: u64,
    records: usize,
    slots: usize,
    tables_crc: u32,
}

impl GroupHeader {
    /// Decodes [`GROUP_HEADER_BYTES`]; `None` if they are not the header of a group of this log.
    pub(super) fn decode(bytes: &[u8], log_id: u64) -> Option<Self> {
        let mut fields = Fields(bytes);
        fields.magic(GROUP_MAGIC)?;
        let crc = fields.u32()?;
        if fields.u64()? != log_id || crc != crc32c::crc32c(bytes.get(8..GROUP_HEADER_BYTES)?) {
            return None;
        }
        let (number, group_bytes) = (fields.u64()?, fields.u64()?);
        let (records, slots, tables_crc) = (fields.count()?, fields.count()?, fields.u32()?);
        Some(Self { number, bytes: group_bytes, records, slots, tables_crc })
    }

    /// Bytes of the tables between header and frames.
    pub(super) fn tables_bytes(&self) -> usize {
        tables_bytes(self.slots, self.records)
    }

    /// Decodes the tables: next offset of each slot, and the payload length of each record. `None` if they
    /// are damaged.
    pub(super) fn tables(&self, bytes: &[u8]) -> Option<(Vec<u64>, Vec<u32>)> {
        if crc32c::crc32c(bytes) != self.tables_crc {
            return None;
        }
        let mut fields = Fields(bytes);
        let starts = fields.u64s(self.slots)?;
        let lengths = (0..self.records).map(|_| fields.u32()).collect::<Option<Vec<_>>>()?;
        Some((starts, lengths))
    }
}

/// One record with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) stream: u32,
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) appended_at: Timestamp,
    pub(super) rows: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn encode(&self, to: &mut Vec<u8>) {
        let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
        put_count(&mut header, self.payload.len());
        put_u32(&mut header, self.stream);
        put_u32(&mut header, self.partition);
        put_u64(&mut header, self.offset);
        header.extend_from_slice(&self.appended_at.as_micros().to_le_bytes());
        put_u32(&mut header, self.rows);
        put_u32(&mut header, 0);
        put_u32(to, crc32c::crc32c_append(crc32c::crc32c(&header), self.payload));
        to.extend_from_slice(&header);
        to.extend_from_slice(self.payload);
    }

    /// Decodes exactly one frame; `None` if any bit of it is wrong.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let crc = fields.u32()?;
        if crc != crc32c::crc32c(bytes.get(CRC_BYTES..)?) && !tooth(Tooth::ChecksumSkipped) {
            return None;
        }
        let length = fields.count()?;
        let (stream, partition, offset) = (fields.u32()?, fields.u32()?, fields.u64()?);
        let appended_at = Timestamp::from_micros(fields.i64()?);
        let (rows, _zero) = (fields.u32()?, fields.u32()?);
        (fields.0.len() == length).then_some(Self { stream, partition, offset, appended_at, rows, payload: fields.0 })
    }
}

/// Encodes a group into `to`, which it empties first. Gives where each frame stands in it, and its length.
pub(super) fn encode_group(
    to: &mut Vec<u8>,
    log_id: u64,
    number: u64,
    starts: &[u64],
    frames: &[Frame<'_>],
) -> Vec<(usize, usize)> {
    let tables = encode_tables(starts, frames);
    let payload: usize = frames.iter().map(|frame| FRAME_HEADER_BYTES + frame.payload.len()).sum();
    let total = (GROUP_HEADER_BYTES + tables.len() + payload).next_multiple_of(8);

    let mut checked = Vec::with_capacity(GROUP_HEADER_BYTES);
    put_u64(&mut checked, log_id);
    put_u64(&mut checked, number);
    put_u64(&mut checked, u64::try_from(total).unwrap_or(u64::MAX));
    put_count(&mut checked, frames.len());
    put_count(&mut checked, starts.len());
    put_u32(&mut checked, crc32c::crc32c(&tables));
    put_u32(&mut checked, 0);

    to.clear();
    to.reserve(total);
    to.extend_from_slice(GROUP_MAGIC);
    put_u32(to, crc32c::crc32c(&checked));
    to.extend_from_slice(&checked);
    to.extend_from_slice(&tables);
    let mut places = Vec::with_capacity(frames.len());
    for frame in frames {
        let at = to.len();
        frame.encode(to);
        places.push((at, to.len() - at));
    }
    to.resize(total, 0);
    places
}

fn encode_tables(starts: &[u64], frames: &[Frame<'_>]) -> Vec<u8> {
    let size = tables_bytes(starts.len(), frames.len());
    let mut tables = Vec::with_capacity(size);
    starts.iter().for_each(|&start| put_u64(&mut tables, start));
    frames.iter().for_each(|frame| put_count(&mut tables, frame.payload.len()));
    tables.resize(size, 0);
    tables
}

fn tables_bytes(slots: usize, records: usize) -> usize {
    slots.saturating_mul(8).saturating_add(records.saturating_mul(LENGTH_BYTES)).next_multiple_of(8)
}

pub(super) fn put_u32(to: &mut Vec<u8>, value: u32) {
    to.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(to: &mut Vec<u8>, value: u64) {
    to.extend_from_slice(&value.to_le_bytes());
}

/// A count or length; those of the log are far below 2^32 by its configuration's bounds.
fn put_count(to: &mut Vec<u8>, value: usize) {
    put_u32(to, u32::try_from(value).unwrap_or(u32::MAX));
}

/// Fields taken one after another from the front; `None` where the bytes end.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn magic(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_le_bytes)
    }

    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    pub(super) fn u64s(&mut self, count: usize) -> Option<Vec<u64>> {
        // Checked first: a damaged count must not become an allocation.
        if self.0.len() / 8 < count {
            return None;
        }
        (0..count).map(|_| self.u64()).collect()
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }
}
