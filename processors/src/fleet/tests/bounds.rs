//! Whatever devices send, the number of series is bounded.

use prometheus::TextEncoder;
use streams::consume::{self, ConsumerConfig, Context};
use streams::memory::MemoryStreams;
use streams::metrics::ConsumerMetrics;
use streams::{Append, Partition, StreamName, StreamSpec, Streams};
use telemetry::ipc::Encoder;
use telemetry::schema;
use telemetry::trace::Tracing;
use tokio::sync::watch;

use super::*;
use crate::testing::rules;
use crate::{RulesEffect, RulesMetrics};

const DEVICES: usize = 100_000;
const HOSTILE: usize = 200;
/// Series of the fleet, whatever happens: five for each pair and for `other`, two states, the overflow.
const MOST_SERIES: usize = 5 * (PAIRS + 1) + 3;

/// Names that nobody should have as a label: newlines, quotes, 10 KiB, none at all, and some that are just many.
fn hostile(at: usize) -> String {
    match at % 5 {
        0 => format!("line {at}\nweir_fleet_devices 7\n"),
        1 => format!("quote {at}\"}} 1 \\"),
        2 => format!("{at}{}", "x".repeat(10 * 1024)),
        3 => format!("\u{0}{at}\u{1b}[2J"),
        _ => format!("metric-{at}-ß"),
    }
}

/// Records of all devices: each measures a usual metric at one of eight sites; every tenth a hostile one at a site with
/// a name of its own.
fn records(clock: &ManualClock) -> Vec<Append> {
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let mut appends = Vec::new();
    for begin in (0..DEVICES).step_by(5_000) {
        let mut builder = ReadingsBuilder::default();
        for device in begin..begin + 5_000 {
            let (id, site, odd) =
                (format!("device-{device}"), format!("hall-{}", device % 8), hostile(device % HOSTILE));
            builder.push(&message(&id, Some(&site), vec![reading("temperature", Value::Number(1.0))]), clock.now());
            if device % 10 == 1 {
                let place = format!("site-{device}");
                builder.push(&message(&id, Some(&place), vec![reading(&odd, Value::Number(1.0))]), clock.now());
            }
            builder.push(&message(&id, None, vec![reading(&odd, Value::Bool(true))]), clock.now());
        }
        let batch = builder.finish();
        let (rows, payload) = (u32::try_from(batch.num_rows()).unwrap(), encoder.encode(&batch).unwrap());
        appends.push(Append::new(Partition::new(StreamName::readings(), 0), rows, payload));
    }
    appends
}

#[tokio::test]
async fn many_devices_and_hostile_names_add_no_series() {
    let clock = ManualClock::new(NOON);
    let stream = |name| StreamSpec { name, partitions: 1 };
    let specs =
        [StreamName::readings(), StreamName::alerts(), StreamName::workflows(), StreamName::workflow_dead_letters()];
    let streams = MemoryStreams::new(specs.into_iter().map(stream).collect(), clock.clone());
    let appends = records(&clock);
    let rows: u32 = appends.iter().map(|append| append.rows).sum();
    for append in appends {
        streams.submit(vec![append]).await.unwrap().await.unwrap();
    }

    let registry = Registry::new();
    let (_rules, set) = watch::channel(Arc::new(rules(&[("never", "metric = 'temperature' AND value > 80")])));
    let metrics = RulesMetrics::register(&registry).unwrap();
    let effect = RulesEffect::new(set, streams.clone(), metrics, clock.clone(), Tracing::default());
    let before = registry.gather();
    assert!(before.iter().all(|family| family.name() != "weir_fleet_readings_total"));
    let metrics = ConsumerMetrics::register(&registry).unwrap();
    let config = ConsumerConfig {
        group: "rules".into(),
        stream: StreamName::readings(),
        partitions: vec![0],
        read_bytes: 4 * 1024 * 1024,
        commit_interval: Duration::from_secs(1),
        gather: Duration::ZERO,
    };
    let context = Context { streams, clock: clock.clone(), metrics };
    let (_stopper, stopped) = watch::channel(true);
    consume::run(context, config, effect, stopped).await.unwrap();
    clock.advance(Duration::from_secs(60));

    let families = registry.gather();
    let of_fleet = families.iter().filter(|family| family.name().starts_with("weir_fleet_"));
    let series: usize = of_fleet.map(|family| family.get_metric().len()).sum();
    println!("{series} series of the fleet, at most {MOST_SERIES}; {} in all", lines(&families));
    assert!(series <= MOST_SERIES, "{series}");
    // Rules, their one consumer, and nothing else: histograms have a series for each bucket.
    assert!(lines(&families) < MOST_SERIES + 100, "{}", lines(&families));
    let readings = series_of(&families, "weir_fleet_readings_total");
    assert_eq!(readings.len(), PAIRS + 1);
    assert_eq!(readings.values().sum::<f64>(), f64::from(rows), "every reading is counted somewhere");
    assert!(readings.keys().all(|labels| !labels.contains(char::is_control) && labels.len() <= 2 * NAME_BYTES + 1));
    assert_eq!(series_of(&families, "weir_fleet_devices"), named([("active", 100_000.0), ("silent", 0.0)]));
    let overflow = series_of(&families, "weir_fleet_overflow_total");
    assert_eq!(overflow[""], readings["other/other"]);
    assert!(overflow[""] > 0.0);
    let text = TextEncoder::new().encode_to_string(&families).unwrap();
    assert!(!text.lines().any(|line| line == "weir_fleet_devices 7"), "a name became a line");
}

fn series_of(families: &[MetricFamily], name: &str) -> BTreeMap<String, f64> {
    of(families.iter().find(|family| family.name() == name).unwrap()).collect()
}

/// Series as Prometheus counts them.
fn lines(families: &[MetricFamily]) -> usize {
    let text = TextEncoder::new().encode_to_string(families).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).count()
}
