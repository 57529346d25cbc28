//! Deduplication of readings by (device, boot, seq): the sequence numbers seen, as ranges.
//!
//! A device that sends in order has one range, whatever its length, so the state is small and the answer
//! exact, also for a message that comes hours late (docs/adr/0005). Only a device that leaves more than
//! [`RANGES`] gaps, or whose messages of more than [`BOOTS`] restarts are mixed, outgrows its state: what is
//! older than the state reaches is kept, at the risk of a second copy, and counted as undecided. Losing it
//! would break the promise; keeping it only weakens it to at-least-once for that device.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use telemetry::schema::reading;

use super::{StateError, Verdict};
use crate::faults::{Tooth, tooth};

/// Ranges of sequence numbers kept per boot.
pub(super) const RANGES: usize = 64;
/// Boots kept per device.
pub(super) const BOOTS: usize = 4;

const VERSION: u8 = 1;

/// The messages seen, of every device of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    index: HashMap<Box<str>, usize>,
    seen: Vec<Device>,
}

/// The messages of one device: its latest boots, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Device {
    boots: Vec<Boot>,
    /// Boots below this one were forgotten.
    forgotten_below: i64,
}

/// The messages of one boot of a device: disjoint ranges, ascending, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Boot {
    boot: i64,
    ranges: Vec<(i64, i64)>,
    /// Sequence numbers below this one were forgotten.
    forgotten_below: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sighting {
    New,
    Seen,
    /// Too old to tell.
    Undecided,
}

impl Devices {
    pub(super) fn check(&mut self, batch: &RecordBatch) -> Result<Verdict, StateError> {
        let columns = Columns::of(batch)?;
        let mut devices: Vec<Option<usize>> = vec![None; columns.names.len()];
        let mut keep: Option<Vec<bool>> = None;
        let mut verdict = Verdict::default();
        let mut current = Sighting::New;
        for row in 0..batch.num_rows() {
            let Some((key, boot, seq, first)) = columns.row(row)? else {
                // No identity: every message is new.
                if let Some(keep) = &mut keep {
                    keep.push(true);
                }
                continue;
            };
            if first {
                let slot = devices.get_mut(key).ok_or(StateError::Column("device_id"))?;
                let device = *slot.get_or_insert_with(|| self.find(columns.names.value(key)));
                current = self.seen.get_mut(device).map_or(Sighting::New, |device| device.see(boot, seq));
                verdict.duplicates += u64::from(current == Sighting::Seen);
                verdict.undecided += u64::from(current == Sighting::Undecided);
            }
            let new = current != Sighting::Seen;
            if !new && keep.is_none() {
                keep = Some(vec![true; row]);
            }
            if let Some(keep) = &mut keep {
                keep.push(new);
            }
        }
        verdict.keep = keep.map(BooleanArray::from);
        Ok(verdict)
    }

    fn find(&mut self, device_id: &str) -> usize {
        if let Some(device) = self.index.get(device_id) {
            return *device;
        }
        let device = self.seen.len();
        self.index.insert(device_id.into(), device);
        self.seen.push(Device::default());
        device
    }

    /// Number of devices remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no device is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    pub(super) fn snapshot(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(1 + self.index.len() * 72);
        bytes.put_u8(VERSION);
        let mut names: Vec<_> = self.index.iter().collect();
        names.sort_unstable();
        for (name, device) in names {
            put_count(&mut bytes, name.len());
            bytes.put_slice(name.as_bytes());
            if let Some(device) = self.seen.get(*device) {
                device.put(&mut bytes);
            }
        }
        bytes.freeze()
    }

    pub(super) fn restore(mut snapshot: Bytes) -> Result<Self, StateError> {
        let mut devices = Self::default();
        if snapshot.is_empty() {
            return Ok(devices);
        }
        if snapshot.get_u8() != VERSION {
            return Err(StateError::Snapshot("unknown version"));
        }
        while snapshot.has_remaining() {
            let length = get_count(&mut snapshot)?;
            if snapshot.len() < length {
                return Err(StateError::Snapshot("cut short"));
            }
            let name = snapshot.split_to(length);
            let name = std::str::from_utf8(&name).map_err(|_| StateError::Snapshot("device id is not UTF-8"))?;
            let device = Device::get(&mut snapshot)?;
            devices.index.insert(name.into(), devices.seen.len());
            devices.seen.push(device);
        }
        Ok(devices)
    }
}

impl Device {
    fn see(&mut self, boot: i64, seq: i64) -> Sighting {
        // The latest boot is nearly always the one.
        if let Some(latest) = self.boots.last_mut().filter(|latest| latest.boot == boot) {
            return latest.see(seq);
        }
        match self.boots.binary_search_by_key(&boot, |known| known.boot) {
            Ok(at) => self.boots.get_mut(at).map_or(Sighting::Undecided, |known| known.see(seq)),
            Err(_) if boot < self.forgotten_below => Sighting::Undecided,
            Err(at) => {
                self.boots.insert(at, Boot { boot, ranges: vec![(seq, seq)], forgotten_below: i64::MIN });
                if self.boots.len() > BOOTS {
                    let oldest = self.boots.remove(0);
                    self.forgotten_below = oldest.boot.saturating_add(1);
                }
                Sighting::New
            }
        }
    }

    fn put(&self, bytes: &mut BytesMut) {
        bytes.put_i64_le(self.forgotten_below);
        put_count(bytes, self.boots.len());
        for boot in &self.boots {
            bytes.put_i64_le(boot.boot);
            bytes.put_i64_le(boot.forgotten_below);
            put_count(bytes, boot.ranges.len());
            for (first, last) in &boot.ranges {
                bytes.put_i64_le(*first);
                bytes.put_i64_le(*last);
            }
        }
    }

    fn get(bytes: &mut Bytes) -> Result<Self, StateError> {
        let forgotten_below = get_i64(bytes)?;
        let mut boots = Vec::new();
        for _ in 0..get_count(bytes)? {
            let (boot, forgotten_below) = (get_i64(bytes)?, get_i64(bytes)?);
            let mut ranges = Vec::new();
            for _ in 0..get_count(bytes)? {
                ranges.push((get_i64(bytes)?, get_i64(bytes)?));
            }
            boots.push(Boot { boot, ranges, forgotten_below });
        }
        Ok(Self { boots, forgotten_below })
    }
}

impl Boot {
    fn see(&mut self, seq: i64) -> Sighting {
        // The next number of the latest range is nearly always the one.
        if let Some((_, last)) = self.ranges.last_mut().filter(|(_, last)| last.checked_add(1) == Some(seq)) {
            *last = seq;
            return Sighting::New;
        }
        // First range that ends at or after `seq - 1`: it holds `seq`, touches it, or lies after it.
        let at = self.ranges.partition_point(|(_, last)| last.saturating_add(1) < seq);
        let before = self.ranges.get(at).copied();
        let late = tooth(Tooth::LateDropped) && self.ranges.last().is_some_and(|(_, last)| seq < *last);
        if late || before.is_some_and(|(first, last)| first <= seq && seq <= last) {
            return Sighting::Seen;
        }
        if seq < self.forgotten_below {
            return Sighting::Undecided;
        }
        self.insert(at, seq, before);
        Sighting::New
    }

    /// Puts `seq`, which is in no range, in front of or onto the range at `at`.
    fn insert(&mut self, at: usize, seq: i64, range: Option<(i64, i64)>) {
        let after = self.ranges.get(at + 1).copied();
        match range {
            Some((first, last)) if last.checked_add(1) == Some(seq) => {
                // Onto the end; perhaps the gap to the next range closes.
                let last = match after {
                    Some((next, last)) if seq.checked_add(1) == Some(next) => {
                        self.ranges.remove(at + 1);
                        last
                    }
                    _ => seq,
                };
                self.replace(at, (first, last));
            }
            Some((first, last)) if seq.checked_add(1) == Some(first) => self.replace(at, (seq, last)),
            _ => {
                self.ranges.insert(at, (seq, seq));
                if self.ranges.len() > RANGES {
                    let (_, forgotten) = self.ranges.remove(0);
                    self.forgotten_below = forgotten.saturating_add(1);
                }
            }
        }
    }

    fn replace(&mut self, at: usize, range: (i64, i64)) {
        if let Some(slot) = self.ranges.get_mut(at) {
            *slot = range;
        }
    }
}

/// The columns that make the identity of a message.
struct Columns<'a> {
    keys: &'a [i32],
    names: &'a arrow::array::StringArray,
    boot: &'a arrow::array::Int64Array,
    seq: &'a arrow::array::Int64Array,
    row: &'a [i32],
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, StateError> {
        let column = |at: usize, name| batch.columns().get(at).ok_or(StateError::Column(name));
        let devices = column(reading::DEVICE_ID, "device_id")?
            .as_dictionary_opt::<Int32Type>()
            .ok_or(StateError::Column("device_id"))?;
        let int64 = |at, name| column(at, name)?.as_primitive_opt::<Int64Type>().ok_or(StateError::Column(name));
        Ok(Self {
            keys: devices.keys().values(),
            names: devices.values().as_string_opt::<i32>().ok_or(StateError::Column("device_id"))?,
            boot: int64(reading::BOOT, "boot")?,
            seq: int64(reading::SEQ, "seq")?,
            row: column(reading::ROW, "row")?
                .as_primitive_opt::<Int32Type>()
                .ok_or(StateError::Column("row"))?
                .values(),
        })
    }

    /// Key of the device, boot, seq, and whether the row begins a message; `None` without an identity.
    fn row(&self, row: usize) -> Result<Option<(usize, i64, i64, bool)>, StateError> {
        if self.boot.is_null(row) || self.seq.is_null(row) {
            return Ok(None);
        }
        let key = self.keys.get(row).and_then(|key| usize::try_from(*key).ok());
        let key = key.ok_or(StateError::Column("device_id"))?;
        Ok(Some((key, self.boot.value(row), self.seq.value(row), self.row.get(row) == Some(&0))))
    }
}

fn put_count(bytes: &mut BytesMut, count: usize) {
    bytes.put_u16_le(u16::try_from(count).unwrap_or(u16::MAX));
}

fn get_count(bytes: &mut Bytes) -> Result<usize, StateError> {
    bytes.try_get_u16_le().map(usize::from).map_err(|_| StateError::Snapshot("cut short"))
}

fn get_i64(bytes: &mut Bytes) -> Result<i64, StateError> {
    bytes.try_get_i64_le().map_err(|_| StateError::Snapshot("cut short"))
}
