use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use prometheus::proto::MetricFamily;
use telemetry::batch::ReadingsBuilder;
use telemetry::clock::ManualClock;
use telemetry::{Message, Reading, Value};

use super::*;

mod bounds;
mod measure;

/// 2026-01-01T12:00:10Z.
const NOON: Timestamp = Timestamp::from_micros(1_767_268_810_000_000);

fn reading<'a>(metric: &'a str, value: Value<'a>) -> Reading<'a> {
    Reading { metric: Cow::Borrowed(metric), time: Timestamp::from_micros(0), value, unit: None }
}

fn message<'a>(device: &'a str, site: Option<&'a str>, readings: Vec<Reading<'a>>) -> Message<'a> {
    Message {
        device_id: Cow::Borrowed(device),
        site: site.map(Cow::Borrowed),
        identity: None,
        readings,
        ignored_fields: 0,
    }
}

/// A fleet that `clock` is the time of.
fn fleet(clock: &Arc<ManualClock>) -> (Registry, Fleet) {
    let registry = Registry::new();
    let fleet = Fleet::register(&registry).unwrap();
    let clock: Arc<dyn Clock> = clock.clone();
    fleet.keep_time(&clock);
    (registry, fleet)
}

/// All series of `name`, by the values of their labels.
fn series(registry: &Registry, name: &str) -> BTreeMap<String, f64> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    family.map_or_else(BTreeMap::new, |family| of(family).collect())
}

fn of(family: &MetricFamily) -> impl Iterator<Item = (String, f64)> {
    family.get_metric().iter().map(|metric| {
        let labels: Vec<&str> = metric.get_label().iter().map(|label| label.value()).collect();
        (labels.join("/"), metric.get_counter().get_value() + metric.get_gauge().get_value())
    })
}

fn named<const N: usize>(series: [(&str, f64); N]) -> BTreeMap<String, f64> {
    series.into_iter().map(|(labels, value)| (labels.to_owned(), value)).collect()
}

#[test]
fn values_are_those_of_the_last_full_minute() {
    let clock = ManualClock::new(NOON);
    let (registry, fleet) = fleet(&clock);
    let mut builder = ReadingsBuilder::default();
    let number = |value| reading("t", Value::Number(value));
    builder.push(&message("a", Some("hall"), vec![number(1.0), reading("on", Value::Bool(true))]), NOON);
    builder.push(&message("b", None, vec![number(5.0)]), NOON);
    builder.push(&message("a", Some("hall"), vec![number(4.0)]), NOON + Duration::from_secs(1));
    fleet.observe(&builder.finish());
    builder.push(&message("a", Some("hall"), vec![number(-90.0)]), NOON + Duration::from_secs(50));
    fleet.observe(&builder.finish());
    assert_eq!(series(&registry, "weir_fleet_readings_total"), named([("on/hall", 1.0), ("t/", 1.0), ("t/hall", 3.0)]));
    assert_eq!(series(&registry, "weir_fleet_value_min"), named([]), "the minute goes on");
    clock.advance(Duration::from_secs(50));
    assert_eq!(series(&registry, "weir_fleet_value_min"), named([("t/", 5.0), ("t/hall", 1.0)]));
    assert_eq!(series(&registry, "weir_fleet_value_mean"), named([("t/", 5.0), ("t/hall", 2.5)]));
    assert_eq!(series(&registry, "weir_fleet_value_max"), named([("t/", 5.0), ("t/hall", 4.0)]));
    clock.advance(Duration::from_secs(60));
    assert_eq!(series(&registry, "weir_fleet_value_max"), named([("t/hall", -90.0)]));
    clock.advance(Duration::from_secs(60));
    assert_eq!(series(&registry, "weir_fleet_value_max"), named([]), "nobody measures any more");
    let noon = NOON.as_seconds();
    let last = named([("on/hall", noon), ("t/", noon), ("t/hall", noon + 50.0)]);
    assert_eq!(series(&registry, "weir_fleet_last_reading_timestamp_seconds"), last);
    assert_eq!(series(&registry, "weir_fleet_devices"), named([("active", 2.0), ("silent", 0.0)]));
    clock.advance(Duration::from_secs(150));
    assert_eq!(series(&registry, "weir_fleet_devices"), named([("active", 1.0), ("silent", 1.0)]));
}

#[test]
fn rows_that_deduplication_left_out_are_not_counted() {
    let clock = ManualClock::new(NOON);
    let (registry, fleet) = fleet(&clock);
    let mut builder = ReadingsBuilder::default();
    for (device, metric) in [("a", "again"), ("b", "t"), ("c", "t")] {
        builder.push(&message(device, Some("hall"), vec![reading(metric, Value::Number(1.0))]), NOON);
    }
    let keep = BooleanArray::from(vec![false, true, true]);
    fleet.observe(&filter_record_batch(&builder.finish(), &keep).unwrap());
    assert_eq!(series(&registry, "weir_fleet_readings_total"), named([("t/hall", 2.0)]));
    // Who sends again is there.
    assert_eq!(series(&registry, "weir_fleet_devices"), named([("active", 3.0), ("silent", 0.0)]));
}

#[test]
fn what_is_no_batch_of_readings_is_left_alone() {
    let (registry, fleet) = fleet(&ManualClock::new(NOON));
    fleet.observe(&RecordBatch::new_empty(telemetry::schema::dead_letters()));
    fleet.observe(&RecordBatch::new_empty(telemetry::schema::readings_stream()));
    assert_eq!(series(&registry, "weir_fleet_readings_total"), named([]));
    assert_eq!(series(&registry, "weir_fleet_overflow_total"), named([("", 0.0)]));
}
