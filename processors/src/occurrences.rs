//! Which readings of a batch have the metrics that rules name.
//!
//! A rule that asks for one metric first is evaluated on the readings of that metric alone, and not at all where there
//! are none: of a hundred rules over a batch of one reading, that leaves the few that can fire.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;
use telemetry::schema::reading;

use crate::readings::Readings;
use crate::rules::Rule;

/// The metrics that a rule set names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    by_name: HashMap<String, usize>,
    by_rule: Vec<Vec<usize>>,
}

impl Wanted {
    /// Those of `rules`.
    pub(crate) fn by(rules: &[Rule]) -> Self {
        let mut by_name = HashMap::new();
        let mut number = |name: &String| {
            let next = by_name.len();
            *by_name.entry(name.clone()).or_insert(next)
        };
        let by_rule = rules.iter().map(|rule| rule.metrics().iter().map(&mut number).collect()).collect();
        Self { by_name, by_rule }
    }

    /// Numbers of the metrics of a rule, in the order in which it has them.
    pub(crate) fn of(&self, rule: usize) -> &[usize] {
        self.by_rule.get(rule).map_or(&[], Vec::as_slice)
    }
}

/// The rows of each wanted metric in one batch.
#[derive(Debug)]
pub(crate) struct Occurrences {
    rows: Vec<Vec<u32>>,
}

impl Occurrences {
    /// # Errors
    /// If `batch` has more than 2^32 rows.
    pub(crate) fn of(wanted: &Wanted, readings: &Readings<'_>) -> Result<Self, ArrowError> {
        let mut rows = vec![Vec::new(); wanted.by_name.len()];
        if rows.is_empty() {
            return Ok(Self { rows });
        }
        let (keys, names) = readings.metrics();
        let number = |name: Option<&str>| name.and_then(|name| wanted.by_name.get(name)).copied();
        // Looked up once for each name; a name that no rule wants is behind the end of `rows`.
        let numbers: Vec<usize> = names.iter().map(|name| number(name).unwrap_or(usize::MAX)).collect();
        u32::try_from(keys.len()).map_err(|_| ArrowError::OffsetOverflowError(keys.len()))?;
        for (row, key) in (0_u32..).zip(keys) {
            let number = usize::try_from(*key).ok().and_then(|key| numbers.get(key));
            if let Some(rows) = number.and_then(|number| rows.get_mut(*number)) {
                rows.push(row);
            }
        }
        Ok(Self { rows })
    }

    /// Rows of the metric of that number, ascending.
    pub(crate) fn rows(&self, number: usize) -> &[u32] {
        self.rows.get(number).map_or(&[], Vec::as_slice)
    }
}

/// Columns of the readings of one metric, each taken when a rule first asks for it.
#[derive(Debug)]
pub(crate) struct Selected {
    rows: UInt32Array,
    columns: [Option<ArrayRef>; reading::TABLE_COLUMNS],
}

impl Selected {
    pub(crate) fn new(rows: &[u32]) -> Self {
        Self { rows: UInt32Array::from(rows.to_vec()), columns: Default::default() }
    }

    /// How many.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Column `at` of `batch`, of these readings.
    pub(crate) fn column(&mut self, batch: &RecordBatch, at: usize) -> Result<ArrayRef, ArrowError> {
        let missing = || ArrowError::SchemaError(format!("readings have no column {at}"));
        let slot = self.columns.get_mut(at).ok_or_else(missing)?;
        if let Some(column) = slot {
            return Ok(column.clone());
        }
        let column = take(batch.columns().get(at).ok_or_else(missing)?, &self.rows, None)?;
        Ok(slot.insert(column).clone())
    }
}
