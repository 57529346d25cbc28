//! How long the hops of a reading took between two snapshots, from histograms.

use std::collections::BTreeMap;

use crate::snapshot::Latency;
use crate::top::figures::float;

/// Times of all hops, in one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::top) struct Delays(BTreeMap<String, Hop>);

/// Times of one hop.
#[derive(Clone, Debug, Default, PartialEq)]
struct Hop {
    count: u64,
    /// How many took at most a bound, by the bits of the bound in seconds: bounds are positive, so bits are in their order.
    buckets: BTreeMap<u64, u64>,
}

impl Delays {
    /// What came to `before` to make `after`; what is not in `before` was zero.
    pub(super) fn between(before: &[Latency], after: &[Latency]) -> Self {
        let mut hops = BTreeMap::new();
        for latency in after {
            let was = before.iter().find(|was| was.hop == latency.hop);
            let mut hop = Hop { count: latency.count.saturating_sub(was.map_or(0, |was| was.count)), ..Hop::default() };
            for (number, (bound, count)) in latency.buckets.iter().enumerate() {
                let was = was.and_then(|was| was.buckets.get(number)).filter(|(was, _)| was == bound);
                hop.buckets.insert(bound.max(0.0).to_bits(), count.saturating_sub(was.map_or(0, |(_, count)| *count)));
            }
            hops.insert(latency.hop.clone(), hop);
        }
        Self(hops)
    }

    /// These, and of hops that were not made those of `before`: a table is committed every few seconds.
    pub(super) fn or(mut self, before: &Self) -> Self {
        for (name, hop) in self.0.iter_mut().filter(|(_, hop)| hop.count == 0) {
            if let Some(before) = before.0.get(name) {
                hop.clone_from(before);
            }
        }
        self
    }

    /// Those of several processes together, which have the same bounds.
    pub(super) fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for (name, hop) in all.flat_map(|delays| &delays.0) {
            let into = sum.0.entry(name.clone()).or_default();
            into.count += hop.count;
            for (bound, count) in &hop.buckets {
                *into.buckets.entry(*bound).or_default() += count;
            }
        }
        sum
    }

    /// The hops that were made at all.
    pub(in crate::top) fn hops(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, hop)| hop.count > 0).map(|(name, _)| name.as_str())
    }

    /// Time in seconds within which a share of the hops of a name were made: `Err` of the highest bound where it is longer
    /// than that, `None` where there were none.
    pub(in crate::top) fn quantile(&self, hop: &str, share: f64) -> Option<Result<f64, f64>> {
        let hop = self.0.get(hop).filter(|hop| hop.count > 0)?;
        let wanted = share * float(hop.count);
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &hop.buckets {
            let (bound, count) = (f64::from_bits(*bound), float(*count));
            if count >= wanted && count > below {
                return Some(Ok(lower + (bound - lower) * ((wanted - below) / (count - below)).clamp(0.0, 1.0)));
            }
            (lower, below) = (bound, count);
        }
        Some(Err(lower))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(counts: [u64; 3], count: u64) -> Vec<Latency> {
        let buckets = [0.1, 1.0, 10.0].into_iter().zip(counts).collect();
        vec![Latency { hop: "acknowledge".to_owned(), count, buckets }]
    }

    #[test]
    fn quantiles_are_of_what_came_since() {
        let delays = Delays::between(&latency([50, 50, 50], 50), &latency([50, 150, 150], 150));
        assert_eq!(delays.hops().collect::<Vec<_>>(), ["acknowledge"]);
        assert_eq!(delays.quantile("acknowledge", 0.5), Some(Ok(0.55)));
        assert_eq!(delays.quantile("sync", 0.5), None);
        let nothing = Delays::between(&latency([50, 50, 50], 50), &latency([50, 50, 50], 50));
        assert_eq!((nothing.quantile("acknowledge", 0.5), nothing.hops().count()), (None, 0));
        assert_eq!(nothing.or(&delays), delays);
    }

    #[test]
    fn what_is_longer_than_all_bounds_is_said_to_be() {
        let delays = Delays::between(&[], &latency([0, 0, 1], 10));
        assert_eq!(delays.quantile("acknowledge", 0.99), Some(Err(10.0)));
    }

    #[test]
    fn processes_add_up() {
        let fast = Delays::between(&[], &latency([90, 90, 90], 90));
        let slow = Delays::between(&[], &latency([0, 0, 10], 10));
        let both = Delays::sum([&fast, &slow].into_iter());
        assert_eq!(both.quantile("acknowledge", 0.9), Some(Ok(0.1)));
        assert!(both.quantile("acknowledge", 0.95).is_some_and(|p95| p95.is_ok_and(|p95| p95 > 1.0)));
    }
}
