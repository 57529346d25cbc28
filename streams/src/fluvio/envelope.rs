//! What stands before each payload: who wrote it, which of its writer's records it is, and a checksum.
//!
//! ```text
//! 0        1       2         10          18      22             30      34
//! | version | kind | writer   | sequence  | rows  | appended_at  | crc   | payload ...
//! |   1     |  u8  | u64      | u64       | u32   | i64, us      | u32   |
//! ```
//!
//! All little-endian; the CRC32C covers everything but itself.

use bytes::{BufMut, Bytes, BytesMut};
use telemetry::Timestamp;

/// Bytes before the payload.
pub(super) const HEADER: usize = 34;

const VERSION: u8 = 1;
/// Bytes of the header before its checksum.
const CHECKED: usize = HEADER - 4;

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) kind: Kind,
    /// Who wrote it.
    pub(super) writer: u64,
    /// Index among the records that this writer appended to this partition.
    pub(super) sequence: u64,
    /// Rows in the payload.
    pub(super) rows: u32,
    /// By the clock of the writer.
    pub(super) appended_at: Timestamp,
}

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record of a stream.
    Record,
    /// A record that was moved here from other streams: its sequence is its offset.
    Moved,
    /// An offset whose record was lost where it was moved from. Without payload.
    Lost,
    /// No record: it came so that the server shows those before it. Without writer, sequence and payload.
    Nothing,
}

impl Envelope {
    /// Appends the record to `out`.
    pub(super) fn put(&self, payload: &[u8], out: &mut BytesMut) {
        let kind = match self.kind {
            Kind::Record => 0,
            Kind::Moved => 1,
            Kind::Lost => 2,
            Kind::Nothing => 3,
        };
        let mut header = [0; CHECKED];
        let mut fields = &mut header[..];
        fields.put_u8(VERSION);
        fields.put_u8(kind);
        fields.put_u64_le(self.writer);
        fields.put_u64_le(self.sequence);
        fields.put_u32_le(self.rows);
        fields.put_i64_le(self.appended_at.as_micros());
        out.put_slice(&header);
        out.put_u32_le(checksum(&header, payload));
        out.put_slice(payload);
    }

    /// The header and the payload of `record`, if they are whole and of a version known here.
    pub(super) fn open(record: &Bytes) -> Option<(Self, Bytes)> {
        let (header, _) = record.split_first_chunk::<HEADER>()?;
        let (checked, crc) = header.split_first_chunk::<CHECKED>()?;
        let payload = record.slice(HEADER..);
        let crc = u32::from_le_bytes(crc.try_into().ok()?);
        if crc != checksum(checked, &payload) {
            return None;
        }
        let mut fields = &checked[..];
        let kind = match (bytes::Buf::get_u8(&mut fields), bytes::Buf::get_u8(&mut fields)) {
            (VERSION, 0) => Kind::Record,
            (VERSION, 1) => Kind::Moved,
            (VERSION, 2) => Kind::Lost,
            (VERSION, 3) => Kind::Nothing,
            _ => return None,
        };
        let envelope = Self {
            kind,
            writer: bytes::Buf::get_u64_le(&mut fields),
            sequence: bytes::Buf::get_u64_le(&mut fields),
            rows: bytes::Buf::get_u32_le(&mut fields),
            appended_at: Timestamp::from_micros(bytes::Buf::get_i64_le(&mut fields)),
        };
        Some((envelope, payload))
    }
}

fn checksum(header: &[u8; CHECKED], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

#[cfg(test)]
mod tests;
