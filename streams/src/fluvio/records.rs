//! Batches of Fluvio: how records lie in them, and whether a batch arrived whole.
//!
//! Written and read here and not by the client's types, because those decode a batch that was cut off without an error,
//! with fewer records, and encode byte by byte.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fluvio::dataplane::record::{BATCH_HEADER_SIZE, Batch, ProducerBatchHeader, RawRecords, RecordSet};
use telemetry::Timestamp;

/// Values of records on their way into one batch.
#[derive(Debug, Default)]
pub(super) struct Packer {
    records: BytesMut,
    count: u32,
}

impl Packer {
    /// Adds a record whose value has `len` bytes, which `write` appends.
    pub(super) fn add(&mut self, len: usize, write: impl FnOnce(&mut BytesMut)) {
        // Attributes, difference of time, index in the batch, no key; behind the value the number of headers, 0.
        let index = u64::from(self.count);
        let inner = 1 + 1 + varint_len(index) + 1 + varint_len(wide(len)) + len + 1;
        self.records.reserve(inner + 10);
        put_varint(&mut self.records, wide(inner));
        self.records.put_slice(&[0, 0]);
        put_varint(&mut self.records, index);
        self.records.put_u8(0);
        put_varint(&mut self.records, wide(len));
        write(&mut self.records);
        self.records.put_u8(0);
        self.count += 1;
    }

    /// The batch, for a request made at `now`: what retention by age goes by.
    pub(super) fn batch(self, now: Timestamp) -> Batch<RawRecords> {
        let mut raw = BytesMut::with_capacity(4 + self.records.len());
        raw.put_u32(self.count);
        raw.put_slice(&self.records);
        let mut batch = Batch::<RawRecords>::default();
        batch.header.last_offset_delta = i32::try_from(self.count).unwrap_or(i32::MAX) - 1;
        batch.header.set_first_timestamp(now.as_micros() / 1000);
        batch.header.set_max_time_stamp(now.as_micros() / 1000);
        *batch.mut_records() = RawRecords(raw.freeze());
        batch
    }
}

/// What is at an offset of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) offset: u64,
    /// `None`: its bytes are damaged.
    pub(super) value: Option<Bytes>,
}

/// What a reply to a fetch holds from an offset on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// In order, without a gap, from the offset asked for.
    pub(super) slots: Vec<Slot>,
    /// What ended it before its end.
    pub(super) ended: Option<Ended>,
}

/// Why a reply ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// A batch was cut off; it has this many bytes.
    Cut(usize),
    /// The next batch begins at this offset only.
    Hole(u64),
}

/// The records of `reply` from offset `from` on, up to the first batch that is not whole.
pub(super) fn unpack(reply: RecordSet<RawRecords>, from: u64) -> Unpacked {
    let mut unpacked = Unpacked::default();
    let mut next = from;
    for batch in reply.batches {
        let whole = usize::try_from(batch.batch_len()).ok().and_then(|len| len.checked_sub(BATCH_HEADER_SIZE));
        let Some(whole) = whole else {
            unpacked.ended = Some(Ended::Cut(0));
            break;
        };
        if batch.records().0.len() < whole {
            unpacked.ended = Some(Ended::Cut(whole + BATCH_HEADER_SIZE));
            break;
        }
        let base = u64::try_from(batch.base_offset).unwrap_or(0);
        if base > next {
            unpacked.ended = Some(Ended::Hole(base));
            break;
        }
        let count = u64::try_from(batch.last_offset_delta()).map_or(0, |last| last + 1);
        let values = open(batch.records().0.clone(), count);
        for (offset, index) in (base..base + count).zip(0..) {
            if offset >= next {
                let value = values.as_ref().and_then(|values| values.get(index).cloned());
                unpacked.slots.push(Slot { offset, value });
                next = offset + 1;
            }
        }
    }
    unpacked
}

/// The values of `count` records; `None` if the bytes are not exactly those.
fn open(mut raw: Bytes, count: u64) -> Option<Vec<Bytes>> {
    if raw.remaining() < 4 || u64::from(raw.get_u32()) != count {
        return None;
    }
    let mut values = Vec::new();
    for index in 0..count {
        let inner = usize::try_from(varint(&mut raw)?).ok()?;
        if inner > raw.remaining() {
            return None;
        }
        let mut record = raw.split_to(inner);
        take(&mut record, 1)?;
        varint(&mut record)?;
        if varint(&mut record)? != index {
            return None;
        }
        if take(&mut record, 1)?.first() != Some(&0) {
            let key = usize::try_from(varint(&mut record)?).ok()?;
            take(&mut record, key)?;
        }
        let len = usize::try_from(varint(&mut record)?).ok()?;
        values.push(take(&mut record, len)?);
    }
    raw.is_empty().then_some(values)
}

fn take(from: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= from.len()).then(|| from.split_to(len))
}

/// Zigzag, as the protocol has it, of numbers that are never negative.
fn put_varint(out: &mut BytesMut, number: u64) {
    let mut rest = number << 1;
    while rest >= 0x80 {
        out.put_u8(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.put_u8(low_bits(rest));
}

fn varint_len(number: u64) -> usize {
    let bits = 64 - (number << 1 | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

/// `None` if it ends early, has more than 63 bits or is negative.
fn varint(from: &mut Bytes) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let byte = from.has_remaining().then(|| from.get_u8())?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (number & 1 == 0).then_some(number >> 1);
        }
    }
    None
}

fn low_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or(0)
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
