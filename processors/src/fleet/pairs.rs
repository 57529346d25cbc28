//! What is known of each pair of metric and site.

use std::collections::HashMap;
use std::sync::Arc;

use super::minute::Minutes;
use super::{NAME_BYTES, PAIRS};

/// Index of the pair that takes all that have none of their own.
pub(super) const OTHER: u16 = 0;

/// A metric at a site, since the start.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) metric: Arc<str>,
    /// Empty for devices that say none.
    pub(super) site: Arc<str>,
    pub(super) readings: u64,
    /// Microseconds since 1970 when the newest was received.
    pub(super) last: i64,
    pub(super) minutes: Minutes,
}

/// All pairs; the first is [`OTHER`].
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    /// By metric, then by site.
    index: HashMap<Arc<str>, HashMap<Arc<str>, u16>>,
}

impl Default for Pairs {
    fn default() -> Self {
        Self { pairs: vec![Pair::new("other", "other")], index: HashMap::new() }
    }
}

impl Pair {
    fn new(metric: &str, site: &str) -> Self {
        let (metric, site) = (metric.into(), site.into());
        Self { metric, site, readings: 0, last: i64::MIN, minutes: Minutes::default() }
    }
}

impl Pairs {
    /// The index of `metric` at `site`, new if there is room for it.
    pub(super) fn index(&mut self, metric: &str, site: &str) -> u16 {
        if let Some(known) = self.index.get(metric).and_then(|sites| sites.get(site)) {
            return *known;
        }
        if self.pairs.len() > PAIRS || !is_label(metric) || !is_label(site) || (metric, site) == ("other", "other") {
            return OTHER;
        }
        // At most `PAIRS`.
        let index = u16::try_from(self.pairs.len()).unwrap_or(OTHER);
        let pair = Pair::new(metric, site);
        self.index.entry(pair.metric.clone()).or_default().insert(pair.site.clone(), index);
        self.pairs.push(pair);
        index
    }

    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut Pair> {
        self.pairs.get_mut(usize::from(index))
    }

    /// Those that have readings.
    pub(super) fn seen(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|pair| pair.readings > 0)
    }

    /// Readings that have no pair of their own.
    pub(super) fn overflow(&self) -> u64 {
        self.pairs.first().map_or(0, |other| other.readings)
    }
}

/// Whether a name may be the value of a label.
fn is_label(name: &str) -> bool {
    name.len() <= NAME_BYTES && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_bounded_and_names_that_are_no_labels_are_other() {
        let mut pairs = Pairs::default();
        let long = "x".repeat(NAME_BYTES + 1);
        for name in [&*long, "a\nb", "a\u{7f}", "other"] {
            assert_eq!(pairs.index(name, "other"), OTHER, "{name:?}");
            assert_eq!(pairs.index("other", name), OTHER, "{name:?}");
        }
        assert_eq!(pairs.index("a \"b\" \\ c", ""), 1);
        let ids: Vec<u16> =
            (0..1_000).map(|at| pairs.index(&format!("m{}", at % 40), &format!("s{}", at / 40))).collect();
        assert_eq!(ids.iter().max().copied(), Some(u16::try_from(PAIRS).unwrap()));
        assert_eq!(ids.iter().filter(|id| **id == OTHER).count(), 1_000 - (PAIRS - 1));
        assert_eq!(pairs.index("m0", "s0"), 2, "who has a pair keeps it");
    }
}
