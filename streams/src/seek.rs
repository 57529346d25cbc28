//! Where to begin reading: at the beginning, now, at a time, at an offset.

use telemetry::Timestamp;

use crate::contract::{Error, Partition, Streams};

/// A place in a partition, as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first record retained.
    Beginning,
    /// Behind the last record.
    Now,
    /// The first record appended at this time or later; see [`at_time`].
    Time(Timestamp),
    /// This offset, or the first retained where that is later.
    Offset(u64),
}

/// The offset of `place`.
///
/// # Errors
/// [`Error::OutOfRange`] if an offset is past the end; as [`Streams::read`].
pub async fn offset(streams: &dyn Streams, of: &Partition, place: Place) -> Result<u64, Error> {
    let bounds = streams.bounds(of)?;
    match place {
        Place::Beginning => Ok(bounds.start),
        Place::Now => Ok(bounds.end),
        Place::Time(time) => at_time(streams, of, time).await,
        Place::Offset(offset) if offset > bounds.end => {
            Err(Error::OutOfRange { partition: of.clone(), offset, start: bounds.start, end: bounds.end })
        }
        Place::Offset(offset) => Ok(offset.max(bounds.start)),
    }
}

/// Offset of the first record of `of` that was appended at `time` or later; its end if there is none.
///
/// Found by halving, a read of one record each. Records are in order of their times except where the clock of a machine
/// jumped, or two machines append with clocks that differ. Near such a place the record found is one of several whose
/// neighbour before it is older than `time` and which is not itself: nothing older than the whole disorder is missed.
///
/// # Errors
/// As [`Streams::read`].
pub async fn at_time(streams: &dyn Streams, of: &Partition, time: Timestamp) -> Result<u64, Error> {
    let bounds = streams.bounds(of)?;
    let (mut low, mut high) = (bounds.start, bounds.end);
    while low < high {
        let middle = low + (high - low) / 2;
        let read = match streams.read(of, middle, 1).await {
            // Deleted meanwhile: what is left begins later.
            Err(Error::OutOfRange { start, .. }) if start > middle => {
                low = start;
                continue;
            }
            read => read?,
        };
        match read.records.first() {
            Some(record) if record.offset < high => {
                if record.appended_at < time {
                    low = record.offset + 1;
                } else {
                    high = middle;
                }
            }
            // Nothing readable from the middle up to `high`.
            _ => high = middle,
        }
    }
    // What was lost to damage in front of the record found is not a place to begin.
    let first = if low < bounds.end {
        streams.read(of, low, 1).await?.records.first().map(|record| record.offset)
    } else {
        None
    };
    Ok(first.unwrap_or(bounds.end))
}

#[cfg(test)]
mod tests;
