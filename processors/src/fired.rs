//! What fired on one record of readings: a bit for each rule and reading, merged into order when it is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

/// What fired, by reading, then by rule. Its memory is that of the rules, not of what fired.
#[derive(Debug)]
pub(crate) struct InOrder<'a> {
    /// Rows that are not in `heads` yet, by rule.
    rest: Vec<BitIndexIterator<'a>>,
    /// The next row of each rule that has one.
    heads: BinaryHeap<Reverse<Fired>>,
}

impl<'a> InOrder<'a> {
    /// Merges the rows on which each rule fired, in the order of the rules.
    pub(crate) fn new(by_rule: &'a [BooleanBuffer]) -> Self {
        let mut rest: Vec<_> = by_rule.iter().map(BooleanBuffer::set_indices).collect();
        let first = |(rule, rows): (usize, &mut BitIndexIterator<'_>)| Some(Reverse(Fired { row: rows.next()?, rule }));
        let heads = rest.iter_mut().enumerate().filter_map(first).collect();
        Self { rest, heads }
    }

    /// The next one.
    pub(crate) fn peek(&self) -> Option<Fired> {
        self.heads.peek().map(|Reverse(fired)| *fired)
    }

    /// Goes on to the one behind.
    pub(crate) fn advance(&mut self) {
        let Some(Reverse(Fired { rule, .. })) = self.heads.pop() else { return };
        if let Some(row) = self.rest.get_mut(rule).and_then(Iterator::next) {
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
            let by_rule: Vec<BooleanBuffer> = by_rule.into_iter().map(BooleanBuffer::from).collect();
            let mut expected = Vec::new();
            for row in 0..100 {
                for (rule, _) in by_rule.iter().enumerate().filter(|(_, rows)| rows.value(row)) {
                    expected.push(Fired { row, rule });
                }
            }
            let mut merged = InOrder::new(&by_rule);
            let mut found = Vec::new();
            while let Some(fired) = merged.peek() {
                found.push(fired);
                merged.advance();
            }
            prop_assert_eq!(found, expected);
        }
    }
}
