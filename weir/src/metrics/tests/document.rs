//! The page: a table for each stage, a row for each metric.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use processors::fleet;
use prometheus::proto::{Metric, MetricFamily, MetricType};

const HEAD: &str = include_str!("head.md");

/// Beginnings of names, with what the metrics are of; the first that fits decides.
const STAGES: [(&str, &str); 11] = [
    ("weir_ingest_", "Door"),
    ("weir_bridge_", "Bridge, where one is configured"),
    ("weir_streams_", "Streams in the embedded log"),
    ("weir_fluvio_", "Streams on Fluvio, where they are"),
    ("weir_consumer_group_", "Consumer groups"),
    ("weir_rules_", "Rules"),
    ("weir_fleet_", "Fleet"),
    ("weir_workflows_", "Workflows"),
    ("weir_sink_", "Tables"),
    ("weir_", "Process"),
    ("process_", "Operating system"),
];

/// What may stand in labels whose values depend on the configuration. The values of all others are there from the start.
const OPEN_LABELS: [(&str, &str); 10] = [
    ("group", "`rules`, `workflows`, `sink/readings` and so for each table"),
    ("stream", "`readings`, `alerts`, `workflows`, `dead_letters`, `workflow_dead_letters`, those of `streams.emit`"),
    ("partition", "number, below `streams.partitions`"),
    ("table", "`readings`, `alerts`, those of `streams.emit`"),
    ("rule", "id in the rule file"),
    (
        "target",
        "`webhook https://host`, `mqtt devices`, `mqtt mqtt://broker`, `emit stream`, `email`, `log`, as rule files say",
    ),
    ("topic", "topic of the cluster"),
    ("route", "as the program writes it, `/api/v1/workflows/{id}`, or `none`"),
    ("code", "HTTP status"),
    ("version", "of the binary"),
];

/// Places in the head, with the labels whose values have so many series each: those with the first, without the second.
const EACH: [(&str, (&str, &str)); 5] = [
    ("{RULE}", ("rule", "")),
    ("{TARGET}", ("target", "")),
    ("{PARTITION}", ("partition", "")),
    ("{GROUP}", ("group", "partition")),
    ("{TABLE}", ("table", "")),
];

/// Units that names do not say.
const UNITS: [(&str, &str); 17] = [
    ("weir_bridge_acknowledged_total", "messages"),
    ("weir_bridge_connected", "0 or 1"),
    ("weir_bridge_in_flight", "messages"),
    ("weir_bridge_redelivered_total", "messages"),
    ("weir_build_info", "1"),
    ("weir_fleet_overflow_total", "readings"),
    ("weir_fleet_value_max", "that of the metric"),
    ("weir_fleet_value_mean", "that of the metric"),
    ("weir_fleet_value_min", "that of the metric"),
    ("weir_fluvio_copies_dropped_total", "records"),
    ("weir_fluvio_outage", "0 or 1"),
    ("weir_fluvio_went_back_total", "times"),
    ("weir_ingest_live_dropped_total", "readings"),
    ("weir_rules_last_reload_success", "0 or 1"),
    ("weir_rules_loaded", "rules"),
    ("weir_workflows_breaker_state", "0, 1 or 2"),
    ("weir_workflows_pending", "steps"),
];

/// The page of `families`.
pub(super) fn document(families: &[MetricFamily]) -> String {
    let mut page = HEAD.replace("{PAIRS}", &fleet::PAIRS.to_string());
    page = page.replace("{FLEET}", &(5 * (fleet::PAIRS + 1) + 3).to_string());
    for (place, (each, without)) in EACH {
        page = page.replace(place, &series_of_each(families, each, without).to_string());
    }
    page = page.replace("{REST}", &rest(families).to_string());
    assert!(!page.contains('{'), "a place was not filled in");
    for (prefix, title) in STAGES {
        let stage = |family: &&MetricFamily| STAGES.iter().find(|(of, _)| family.name().starts_with(of)).map(|of| of.0);
        let rows = families.iter().filter(|family| stage(family) == Some(prefix));
        writeln!(page, "\n## {title}\n\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|").unwrap();
        for family in rows {
            row(&mut page, family);
        }
    }
    let lost = families.iter().find(|family| !STAGES.iter().any(|(of, _)| family.name().starts_with(of)));
    assert!(lost.is_none(), "{} is of no stage", lost.unwrap().name());
    page
}

/// Series of one value of the label `each`, in metrics without the label `without`.
fn series_of_each(families: &[MetricFamily], each: &str, without: &str) -> usize {
    let mut of_values = BTreeMap::<String, usize>::new();
    for metric in families.iter().flat_map(MetricFamily::get_metric) {
        if let (Some(value), None) = (value_of(metric, each), value_of(metric, without)) {
            // All groups have the partitions of the same numbers.
            let group = value_of(metric, "group").unwrap_or_default();
            *of_values.entry(format!("{value} {group}")).or_default() += series(metric);
        }
    }
    of_values.into_values().max().unwrap()
}

fn value_of<'a>(metric: &'a Metric, label: &str) -> Option<&'a str> {
    metric.get_label().iter().find(|pair| pair.name() == label).map(|pair| pair.value())
}

/// Series that are there once, in hundreds, rounded up.
fn rest(families: &[MetricFamily]) -> usize {
    let each = ["rule", "target", "group", "table", "metric", "topic"];
    let is_each = |metric: &Metric| each.iter().any(|label| value_of(metric, label).is_some());
    let metrics = families.iter().flat_map(MetricFamily::get_metric).filter(|metric| !is_each(metric));
    metrics.map(series).sum::<usize>().div_ceil(100) * 100
}

/// Series of one metric with its labels: of a histogram one a bucket, and infinity, sum and count.
fn series(metric: &Metric) -> usize {
    match metric.get_histogram().get_bucket().len() {
        0 => 1,
        buckets => buckets + 3,
    }
}

fn row(page: &mut String, family: &MetricFamily) {
    let (name, help) = (family.name(), family.help());
    assert!(!help.contains('|'), "{name}: {help}");
    assert!(name.starts_with("process_") || !help.ends_with('.'), "{name}: {help}");
    writeln!(page, "| `{name}` | {} | {} | {} | {help} |", kind(family), unit(name), labels(family)).unwrap();
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{}: {other:?}", family.name()),
    }
}

/// The unit of a metric: what is counted, or the last word of its name.
fn unit(name: &str) -> &str {
    if let Some((_, unit)) = UNITS.iter().find(|(of, _)| *of == name) {
        return unit;
    }
    let name = name.strip_suffix("_total").unwrap_or(name);
    let last = name.rsplit('_').next().unwrap();
    assert!(last.ends_with('s'), "{name} does not say its unit");
    last
}

/// The labels, with their values.
fn labels(family: &MetricFamily) -> String {
    let metrics = family.get_metric();
    let names: Vec<&str> = metrics[0].get_label().iter().map(|label| label.name()).collect();
    let mut told = Vec::new();
    for name in names {
        told.push(match OPEN_LABELS.iter().find(|(open, _)| *open == name) {
            Some((open, values)) => format!("`{open}`: {values}"),
            None if family.name().starts_with("weir_fleet_") && name != "state" => {
                format!("`{name}`: as devices say, or `other`")
            }
            None => {
                let of = |metric: &Metric| format!("`{}`", value_of(metric, name).unwrap());
                let values: BTreeSet<String> = metrics.iter().map(of).collect();
                format!("`{name}`: {}", values.into_iter().collect::<Vec<_>>().join(", "))
            }
        });
    }
    told.join("; ")
}
