//! The message in the stream of readings: each time that it is there.

use arrow::array::RecordBatch;
use streams::Record;
use telemetry::Timestamp;

use super::columns::{Rows, places};
use super::judge;
use super::limits::COPIES;
use super::view::{Fate, Reading, Sighting, Stored, Who};
use crate::dlq::view::time;

/// One time that the message is in the stream.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) offset: u64,
    /// Row in the record at which it begins.
    pub(super) row: usize,
    pub(super) received_at: Timestamp,
    pub(super) appended_at: Timestamp,
    pub(super) readings: Vec<Reading>,
}

/// Finds the message in records, whatever their order.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    who: &'a Who,
    found: Vec<Found>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(who: &'a Who) -> Self {
        Self { who, found: Vec::new() }
    }

    /// Looks at a record; whether the message is in it.
    pub(super) fn look(&mut self, record: &Record, batch: &RecordBatch) -> anyhow::Result<bool> {
        let places = places(batch, self.who)?;
        if places.is_empty() || self.found.len() >= COPIES {
            return Ok(!places.is_empty());
        }
        let rows = Rows::of(batch, places.clone())?;
        for (at, place) in places.into_iter().enumerate() {
            // The same message can be in one record twice: each begins with the reading 0.
            let begins = rows.number("row", at) == Some(0);
            match self.found.last_mut().filter(|found| found.offset == record.offset && !begins) {
                Some(found) => found.readings.push(rows.reading(at)),
                None => self.found.push(Found {
                    offset: record.offset,
                    row: usize::try_from(place).unwrap_or(usize::MAX),
                    received_at: rows.time("received_at", at),
                    appended_at: record.appended_at,
                    readings: vec![rows.reading(at)],
                }),
            }
        }
        Ok(true)
    }

    /// Whether what `table` has is among those found; where it has nothing, whether anything was found.
    pub(super) fn has_stored(&self, table: &Stored) -> bool {
        if table.rows.is_empty() { !self.found.is_empty() } else { judge::kept(&self.found, table).is_some() }
    }

    /// All that were found, by offset.
    pub(super) fn into_found(mut self) -> Vec<Found> {
        self.found.sort_by_key(|found| (found.offset, found.row));
        self.found
    }
}

impl Found {
    pub(super) fn sighting(&self, fate: Fate) -> Sighting {
        Sighting {
            offset: self.offset,
            row: self.row,
            readings: self.readings.len(),
            received_at: time(self.received_at),
            appended_at: time(self.appended_at),
            fate,
        }
    }
}
