//! Whether both sides of a copy are the same.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Moved, Positions, READ_BYTES, Report};
use crate::contract::{Error, Partition, Streams};

/// What was read of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// CRC32C of offset, time, rows and payload of all of them, in order.
    pub checksum: u32,
}

/// Reads all that was moved on both sides.
pub(super) async fn compare(
    source: &dyn Streams,
    destination: &dyn Streams,
    bounds: &BTreeMap<Partition, Range<u64>>,
    positions: &Positions,
) -> Result<Report, Error> {
    let (mut partitions, mut differences) = (Vec::new(), Vec::new());
    for (of, offsets) in bounds {
        let there = destination.bounds(of)?;
        if there.end != offsets.end {
            differences.push(format!("{of} ends at {} and at the destination at {}", offsets.end, there.end));
        }
        let now = source.bounds(of)?.end;
        if now != offsets.end {
            differences.push(format!("{of} ended at {} and now ends at {now}: stop what writes to it", offsets.end));
        }
        let tally = tally(source, of, offsets.clone()).await?;
        let copied = self::tally(destination, of, offsets.start.max(there.start)..offsets.end.min(there.end)).await?;
        if tally != copied {
            differences.push(format!("{of} has {tally:?} and at the destination {copied:?}"));
        }
        partitions.push(Moved { partition: of.clone(), offsets: offsets.clone(), tally, same: tally == copied });
    }
    for (group, of, position) in positions {
        let there = destination.position(group, of).await?;
        let start = destination.bounds(of)?.start;
        let same = |there: &crate::contract::Position| {
            there.offset == position.offset.max(start) && there.state == position.state
        };
        if !there.as_ref().is_some_and(same) {
            let there = there.map_or_else(|| "nowhere".to_owned(), |there| there.offset.to_string());
            differences
                .push(format!("group {group} is at {} of {of} and at the destination at {there}", position.offset));
        }
    }
    Ok(Report { partitions, positions: positions.len(), differences })
}

async fn tally(streams: &dyn Streams, of: &Partition, offsets: Range<u64>) -> Result<Tally, Error> {
    let (mut tally, mut next) = (Tally::default(), offsets.start);
    while next < offsets.end {
        let read = streams.read(of, next, READ_BYTES).await?;
        if read.next <= next {
            return Err(Error::Unavailable(format!(
                "{of} gives nothing from {next} on, though it ends at {}",
                offsets.end
            )));
        }
        next = read.next;
        for record in read.records.iter().filter(|record| record.offset < offsets.end) {
            tally.records += 1;
            tally.rows += u64::from(record.rows);
            tally.bytes += record.payload.len() as u64;
            let mut checksum = crc32c::crc32c_append(tally.checksum, &record.offset.to_le_bytes());
            checksum = crc32c::crc32c_append(checksum, &record.appended_at.as_micros().to_le_bytes());
            checksum = crc32c::crc32c_append(checksum, &record.rows.to_le_bytes());
            tally.checksum = crc32c::crc32c_append(checksum, &record.payload);
        }
    }
    Ok(tally)
}
