//! The series of the fleet.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use telemetry::Timestamp;

use super::devices::Count;
use super::minute::{self, Values};
use super::pairs::Pair;
use super::{Fleet, State};

/// Names, labels and meanings, in the order in which they are shown.
#[derive(Debug)]
pub(super) struct Descs {
    readings: Desc,
    min: Desc,
    mean: Desc,
    max: Desc,
    last: Desc,
    devices: Desc,
    overflow: Desc,
}

impl Descs {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let desc = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
        };
        let pair = ["metric", "site"];
        let of = |which: &str| {
            format!(
                "{which} number among the readings received in the last full minute, in the unit of the metric; none \
                 where there was none"
            )
        };
        Ok(Self {
            readings: desc(
                "weir_fleet_readings_total",
                "Readings evaluated by rules, repetitions left out, by metric and site; those without a pair of their \
                 own under `other`",
                &pair,
            )?,
            min: desc("weir_fleet_value_min", &of("Smallest"), &pair)?,
            mean: desc("weir_fleet_value_mean", &of("Mean"), &pair)?,
            max: desc("weir_fleet_value_max", &of("Largest"), &pair)?,
            last: desc(
                "weir_fleet_last_reading_timestamp_seconds",
                "When the newest reading was received, seconds since 1970",
                &pair,
            )?,
            devices: desc(
                "weir_fleet_devices",
                "Devices heard of in the last 24 hours: active, or silent for 5 minutes and more; estimated beyond \
                 229,376",
                &["state"],
            )?,
            overflow: desc(
                "weir_fleet_overflow_total",
                "Readings counted under `other`: more than 256 pairs of metric and site, or a name over 64 bytes or \
                 with control characters",
                &[],
            )?,
        })
    }
}

impl Collector for Fleet {
    fn desc(&self) -> Vec<&Desc> {
        let Descs { readings, min, mean, max, last, devices, overflow } = &*self.descs;
        vec![readings, min, mean, max, last, devices, overflow]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(clock) = self.clock.get() else { return Vec::new() };
        let now = clock.now();
        let (pairs, count, overflow) = {
            let State { pairs, devices } = &mut *self.state();
            (pairs.seen().cloned().collect::<Vec<_>>(), devices.count(now), pairs.overflow())
        };
        let Descs { readings, min, mean, max, last, devices, overflow: over } = &*self.descs;
        let full = minute::of(now) - 1;
        let values: Vec<_> = pairs.iter().filter_map(|pair| Some((pair, pair.minutes.values(full)?))).collect();
        let of_values = |desc, value: fn(&Values) -> f64| {
            let gauge = |(pair, values): &(&Pair, Values)| gauge(labels(pair), value(values));
            family(desc, MetricType::GAUGE, values.iter().map(gauge).collect())
        };
        let counts = pairs.iter().map(|pair| counter(labels(pair), pair.readings)).collect();
        let lasts = pairs.iter().map(|pair| gauge(labels(pair), Timestamp::from_micros(pair.last).as_seconds()));
        vec![
            family(readings, MetricType::COUNTER, counts),
            of_values(min, |values| values.min),
            of_values(mean, |values| values.mean),
            of_values(max, |values| values.max),
            family(last, MetricType::GAUGE, lasts.collect()),
            family(devices, MetricType::GAUGE, states(count)),
            family(over, MetricType::COUNTER, vec![counter(Vec::new(), overflow)]),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer devices than 2^53")]
fn states(Count { active, silent }: Count) -> Vec<Metric> {
    let state = |name, count: u64| gauge(vec![label("state", name)], count as f64);
    vec![state("active", active), state("silent", silent)]
}

fn labels(pair: &Pair) -> Vec<LabelPair> {
    vec![label("metric", &pair.metric), label("site", &pair.site)]
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let (mut metric, mut gauge) = (Metric::from_label(labels), Gauge::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn counter(labels: Vec<LabelPair>, value: u64) -> Metric {
    let (mut metric, mut counter) = (Metric::from_label(labels), Counter::default());
    counter.set_value(value as f64);
    metric.set_counter(counter);
    metric
}

fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
