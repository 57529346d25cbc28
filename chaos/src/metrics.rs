//! Metrics of a process at one moment, as it tells them to Prometheus.

use std::collections::BTreeMap;

/// The text.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// Sum of the series that begin with `series`; `None` if there is none.
    pub(crate) fn sum(&self, series: &str) -> Option<f64> {
        self.values(series).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    /// The largest of them.
    pub(crate) fn most(&self, series: &str) -> Option<f64> {
        self.values(series).map(|(_, value)| value).reduce(f64::max)
    }

    /// The sum for each value of `label`.
    pub(crate) fn by(&self, series: &str, label: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for (line, value) in self.values(series) {
            let labels = line.split(['{', ',', '}']);
            let of = labels.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == label);
            if let Some((_, of)) = of {
                *sums.entry(of.trim_matches('"')).or_insert(0.0) += value;
            }
        }
        sums
    }

    /// Lines that begin with `series`, and what they tell.
    fn values(&self, series: &str) -> impl Iterator<Item = (&str, f64)> {
        let lines = self.0.lines().filter(move |line| line.starts_with(series));
        lines.filter_map(|line| Some((line, line.rsplit(' ').next()?.trim().parse().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_whole_and_by_label() {
        let metrics = Metrics(
            "# TYPE lag gauge\nlag{group=\"rules\",partition=\"0\"} 3\nlag{group=\"sink/a\",partition=\"0\"} 4\n\
             lag{group=\"rules\",partition=\"1\"} 5.5\nlag_seconds{group=\"rules\"} 7\nup 1\n"
                .to_owned(),
        );
        assert_eq!(metrics.sum("lag{"), Some(12.5));
        assert_eq!((metrics.sum("lag{group=\"rules\""), metrics.most("lag{")), (Some(8.5), Some(5.5)));
        assert_eq!((metrics.sum("up"), metrics.sum("down")), (Some(1.0), None));
        assert_eq!(metrics.by("lag{", "group"), BTreeMap::from([("rules", 8.5), ("sink/a", 4.0)]));
        assert_eq!(metrics.by("lag{", "stream"), BTreeMap::new());
    }
}
