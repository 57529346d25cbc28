//! What fired on one record of readings: a bit for each rule and reading, merged into order when it is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::util::bit_iterator::BitIndexIterator;

/// A rule fired on a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fired {
    /// Index of the reading in the batch.
    pub(crate) row: usize,
    /// Index of the rule in the set.
    pub(crate) rule: usize,
}

/// A record of what fired, and the reading, by its row, that each row of it is about.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) batch: RecordBatch,
    pub(crate) about: UInt32Array,
}

/// What fired, by reading, then by rule. Its memory is that of the rules, not of what fired.
#[derive(Debug)]
pub(crate) struct InOrder<'a> {
    /// Rules that fired, ascending, and their rows that are not in `heads` yet.
    rest: Vec<(usize, BitIndexIterator<'a>)>,
    /// The next row of each rule that has one.
    heads: BinaryHeap<Reverse<Fired>>,
}

impl<'a> InOrder<'a> {
    /// Merges the rows on which rules fired; the rules come in ascending order.
    pub(crate) fn new(by_rule: impl Iterator<Item = &'a (usize, BooleanBuffer)>) -> Self {
        let mut rest: Vec<_> = by_rule.map(|(rule, rows)| (*rule, rows.set_indices())).collect();
        let first =
            |(rule, rows): &mut (usize, BitIndexIterator<'_>)| Some(Reverse(Fired { row: rows.next()?, rule: *rule }));
        let heads = rest.iter_mut().filter_map(first).collect();
        Self { rest, heads }
    }

    /// The next one.
    pub(crate) fn peek(&self) -> Option<Fired> {
        self.heads.peek().map(|Reverse(fired)| *fired)
    }

    /// Goes on to the one behind.
    pub(crate) fn advance(&mut self) {
        let Some(Reverse(Fired { rule, .. })) = self.heads.pop() else { return };
        let place = self.rest.binary_search_by_key(&rule, |(rule, _)| *rule).ok();
        let rows = place.and_then(|place| self.rest.get_mut(place));
        if let Some(row) = rows.and_then(|(_, rows)| rows.next()) {
            self.heads.push(Reverse(Fired { row, rule }));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_that_fired_comes_once_by_reading_then_by_rule(
            by_rule in prop::collection::vec(prop::collection::vec(any::<bool>(), 100), 0..5),
        ) {
            // Not all rules fired: each second one here.
            let by_rule: Vec<(usize, BooleanBuffer)> =
                (0..).zip(by_rule).map(|(at, rows)| (2 * at, BooleanBuffer::from(rows))).collect();
            let mut expected = Vec::new();
            for row in 0..100 {
                for (rule, _) in by_rule.iter().filter(|(_, rows)| rows.value(row)) {
                    expected.push(Fired { row, rule: *rule });
                }
            }
            let mut merged = InOrder::new(by_rule.iter());
            let mut found = Vec::new();
            while let Some(fired) = merged.peek() {
                found.push(fired);
                merged.advance();
            }
            prop_assert_eq!(found, expected);
        }
    }
}
