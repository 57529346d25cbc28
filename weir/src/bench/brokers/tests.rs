use std::time::Duration;

use super::bridge::metric;
use super::drain::{Drained, Rounds};
use super::report::{Figures, Way};
use super::*;

fn drained(messages: u64) -> Drained {
    Drained {
        messages,
        time: Duration::from_secs(1),
        stored: Some((messages, Duration::from_secs(2))),
        readings: messages,
        cpu_seconds: 1.0,
        broker_cpu_seconds: 2.0,
        peak_bytes: Some(1 << 20),
    }
}

fn bench() -> Bench {
    Bench {
        directory: PathBuf::new(),
        duration: Duration::from_secs(1),
        readings_per_message: 1,
        rounds: 3,
        clock: telemetry::clock::SystemClock::shared(),
    }
}

#[test]
fn the_median_round_of_each_client_counts() {
    let mut rounds = Rounds::default();
    for (client, messages) in [("a", 30), ("b", 5), ("a", 10), ("b", 7), ("a", 20)] {
        rounds.add(client, drained(messages));
    }
    let found: Vec<(&str, u64)> = rounds.medians().iter().map(|(name, round)| (*name, round.messages)).collect();
    assert_eq!(found, [("a", 20), ("b", 5)]);
}

#[test]
fn a_way_that_was_not_run_has_no_figures() {
    let embedded = Way::drained("endpoint", &drained(100));
    let bridge = Way::not_run("bridge", "no program".to_owned());
    let figures = Figures::new(&bench(), embedded, bridge, Vec::new(), Way::drained("cluster", &drained(50)));
    let text = figures.to_string();
    assert!(text.contains("bridge                      not run: no program\n"), "{text}");
    assert!(text.contains("Fluvio / endpoint, messages/s: 0.50") && !text.contains("bridge /"), "{text}");
    let json: serde_json::Value = serde_json::to_value(&figures).unwrap();
    assert!(json["bridge_by_bare"].is_null() && json["ways"][1]["messages_per_second"].is_null(), "{json}");
}

#[test]
fn the_bridge_is_measured_by_the_faster_subscriber() {
    let (bridge, bare) =
        (Way::drained("bridge", &drained(90)), [50, 100].map(|rate| Way::drained("bare", &drained(rate))));
    let figures = Figures::new(&bench(), Way::drained("a", &drained(1)), bridge, bare.to_vec(), Way::default());
    assert!(figures.to_string().contains("bridge / faster bare subscriber, messages/s: 0.90"), "{figures}");
}

#[test]
fn a_metric_is_the_sum_of_its_series_and_of_no_other() {
    let text = "# HELP a_total x\na_total{k=\"1\"} 3\na_total{k=\"2\"} 4\na_total_more 9\nb 1\n";
    assert_eq!((metric(text, "a_total"), metric(text, "b"), metric(text, "c")), (Some(7.0), Some(1.0), None));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = mosquitto::program(Some(Path::new("/nowhere/mosquitto"))).unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/mosquitto"), "{error:#}");
}
