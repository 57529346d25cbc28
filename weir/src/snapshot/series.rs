//! The series of a registry at one moment.

use std::collections::BTreeMap;

use prometheus::Registry;
use prometheus::proto::{Histogram, Metric, MetricFamily};

/// All series.
#[derive(Debug)]
pub(super) struct Series(Vec<MetricFamily>);

impl Series {
    pub(super) fn of(registry: &Registry) -> Self {
        Self(registry.gather())
    }

    /// Sum of all series of a counter or gauge; `None` if there is none.
    pub(super) fn total(&self, name: &str) -> Option<f64> {
        let series = self.series(name);
        (!series.is_empty()).then(|| series.iter().map(value).sum())
    }

    /// As [`Series::total`], of whole things.
    pub(super) fn count(&self, name: &str) -> Option<u64> {
        self.total(name).map(whole)
    }

    /// The values of a counter or gauge by some of its labels; series that agree in these are joined by `join`.
    pub(super) fn by<const N: usize>(
        &self,
        name: &str,
        labels: [&str; N],
        join: fn(f64, f64) -> f64,
    ) -> BTreeMap<[String; N], f64> {
        let mut found = BTreeMap::new();
        for metric in self.series(name) {
            let key = labels.map(|label| label_of(metric, label).to_owned());
            let value = value(metric);
            found.entry(key).and_modify(|before| *before = join(*before, value)).or_insert(value);
        }
        found
    }

    /// As [`Series::by`] one label, of whole things that are summed.
    pub(super) fn counts(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        self.by(name, [label], |a, b| a + b).into_iter().map(|([key], value)| (key, whole(value))).collect()
    }

    /// Histograms with the values of one of their labels; it is empty where a histogram does not have it.
    pub(super) fn histograms<'a>(
        &'a self,
        name: &str,
        label: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Histogram)> {
        self.series(name).iter().map(move |metric| (label_of(metric, label), metric.get_histogram()))
    }

    fn series(&self, name: &str) -> &[Metric] {
        self.0.iter().find(|family| family.name() == name).map_or(&[], MetricFamily::get_metric)
    }
}

/// One of them is 0.
fn value(metric: &Metric) -> f64 {
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

fn label_of<'a>(metric: &'a Metric, label: &str) -> &'a str {
    metric.get_label().iter().find(|pair| pair.name() == label).map_or("", |pair| pair.value())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole things, exact to 2^53")]
pub(super) fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}
