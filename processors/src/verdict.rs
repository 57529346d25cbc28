//! What one expression says about each row of a batch.

use arrow::array::{BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use datafusion_common::DataFusionError;

use crate::expression::Predicate;

/// A bit a row, twice.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Rows for which the expression is true.
    pub(crate) fired: BooleanBuffer,
    /// Rows on which it fails, and the first failure, if there are any.
    pub(crate) failed: Option<(BooleanBuffer, String)>,
}

impl Verdict {
    /// True for all of `rows` rows.
    pub(crate) fn all(rows: usize) -> Self {
        Self { fired: BooleanBuffer::new_set(rows), failed: None }
    }

    /// Evaluates `predicate` on `batch`.
    pub(crate) fn of(predicate: &Predicate, batch: &RecordBatch) -> Self {
        match predicate.rows(batch) {
            Ok(fired) => Self { fired, failed: None },
            Err(_) => isolate(predicate, batch),
        }
    }

    /// The same for rows of a larger batch: bit `i` is that of row `rows[i]` of `length`. Others are not set.
    pub(crate) fn scattered(self, rows: &[u32], length: usize) -> Self {
        let scatter = |bits: &BooleanBuffer| set(length, bits.set_indices().filter_map(|at| rows.get(at).copied()));
        Self { fired: scatter(&self.fired), failed: self.failed.map(|(bits, error)| (scatter(&bits), error)) }
    }
}

/// `length` bits, those at `rows` set.
pub(crate) fn set(length: usize, rows: impl Iterator<Item = u32>) -> BooleanBuffer {
    let mut bits = BooleanBufferBuilder::new(length);
    bits.append_n(length, false);
    for row in rows.filter_map(|row| usize::try_from(row).ok()).filter(|row| *row < length) {
        bits.set_bit(row, true);
    }
    bits.build()
}

/// Finds the rows on which `predicate` fails: an expression that succeeds on a batch gives each row what it would
/// give it alone, so this is row by row, but fast whether few rows fail or all of them.
///
/// It goes through the rows in pieces that are halved when they fail and doubled when they do not: a row that fails
/// alone costs twice the logarithm of the distance to the one before it, and of rows that all fail each is looked at
/// once.
fn isolate(predicate: &Predicate, batch: &RecordBatch) -> Verdict {
    let rows = batch.num_rows();
    let (mut fired, mut failed) = (BooleanBufferBuilder::new(rows), BooleanBufferBuilder::new(rows));
    let mut first = None;
    let (mut at, mut piece) = (0, rows.div_ceil(2));
    while at < rows {
        let length = piece.clamp(1, rows - at);
        match predicate.rows(&batch.slice(at, length)) {
            Ok(bits) => {
                fired.append_buffer(&bits);
                failed.append_n(length, false);
                at += length;
                piece = length * 2;
            }
            Err(error) if length == 1 => {
                first.get_or_insert_with(|| describe(&error));
                fired.append(false);
                failed.append(true);
                at += 1;
            }
            Err(_) => piece = length / 2,
        }
    }
    Verdict { fired: fired.build(), failed: first.map(|first| (failed.build(), first)) }
}

fn describe(error: &DataFusionError) -> String {
    error.find_root().message().into_owned()
}
