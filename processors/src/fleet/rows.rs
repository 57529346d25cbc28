//! A batch to pairs: names are looked up once for each pair that occurs in the batch, rows go by their keys.

use arrow::array::Array;
use telemetry::Timestamp;

use super::columns::Columns;
use super::minute;
use super::pairs::{Pair, Pairs};

/// A table of all metrics and sites of a batch with so many cells a row is worth its memory; in a batch with more
/// different names than that each row is looked up.
const CELLS_PER_ROW: usize = 16;
/// So many cells are no matter, 8 KiB.
const FEW_CELLS: usize = 4_096;
/// A cell that was not looked up.
const UNKNOWN: u16 = u16::MAX;

/// Adds all rows to `pairs`, while the clock shows `now`.
pub(super) fn observe(pairs: &mut Pairs, columns: &Columns<'_>, now: Timestamp) {
    let now = minute::of(now);
    let mut cells = Cells::new(columns);
    let (mut time, mut number) = (None, 0);
    for (row, received) in columns.received.values().iter().enumerate() {
        // Rows of one message have one time.
        if time != Some(*received) {
            (time, number) = (Some(*received), minute::of(Timestamp::from_micros(*received)));
        }
        let Some(pair) = cells.pair(pairs, row) else { continue };
        pair.readings += 1;
        pair.last = pair.last.max(*received);
        if let Some(value) = columns.value(row) {
            pair.minutes.add(number, now, value);
        }
    }
}

/// The pairs of one batch, as far as they were looked up.
struct Cells<'a> {
    columns: &'a Columns<'a>,
    /// By metric, then by site: none, and those of the dictionary.
    known: Vec<u16>,
    sites: usize,
}

impl<'a> Cells<'a> {
    fn new(columns: &'a Columns<'a>) -> Self {
        let (metrics, sites) = (columns.metric.names.len(), columns.site.names.len() + 1);
        let cells = metrics.saturating_mul(sites);
        let worth = cells <= FEW_CELLS.max(columns.rows().saturating_mul(CELLS_PER_ROW));
        Self { columns, known: vec![UNKNOWN; if worth { cells } else { 0 }], sites }
    }

    fn pair<'p>(&mut self, pairs: &'p mut Pairs, row: usize) -> Option<&'p mut Pair> {
        let Columns { metric, site, .. } = *self.columns;
        let (metric_key, site_key) = (metric.key(row)?, site.key(row));
        let mut look_up = || pairs.index(metric.name(Some(metric_key)), site.name(site_key));
        let index = match self.known.get_mut(metric_key * self.sites + site_key.map_or(0, |key| key + 1)) {
            Some(known) => {
                if *known == UNKNOWN {
                    *known = look_up();
                }
                *known
            }
            None => look_up(),
        };
        pairs.get_mut(index)
    }
}
