//! The one live line of the demo.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use prometheus::Registry;
use simulator::Progress;
use telemetry::Clock;

const INTERVAL: Duration = Duration::from_millis(500);
/// Where no terminal shows a live line, a line now and then.
const LINE_EVERY: u32 = 10;

/// Shows what happens on stderr until dropped.
pub(crate) async fn show(registry: &Registry, progress: &Progress, duration: Option<Duration>, clock: &Arc<dyn Clock>) {
    let bar = bar(duration);
    let started = clock.monotonic();
    let mut before = (started, 0);
    for count in 1_u32.. {
        tokio::time::sleep(INTERVAL).await;
        let now = clock.monotonic();
        let acknowledged = progress.acknowledged_readings.load(Ordering::Relaxed);
        let rate = rate(acknowledged - before.1, now.saturating_sub(before.0));
        before = (now, acknowledged);
        let line = line(registry, acknowledged, rate, now.saturating_sub(started));
        let elapsed = u64::try_from(now.saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
        bar.set_position(elapsed);
        if std::io::stderr().is_terminal() {
            bar.set_message(line);
        } else if count.is_multiple_of(LINE_EVERY) {
            eprintln!("{line}");
        }
    }
}

fn bar(duration: Option<Duration>) -> ProgressBar {
    let (length, template) = match duration {
        Some(duration) => (u64::try_from(duration.as_millis()).ok(), "[{bar:20}] {msg}"),
        None => (None, "{spinner} {msg}"),
    };
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn line(registry: &Registry, acknowledged: u64, rate: f64, elapsed: Duration) -> String {
    let stored = total(registry, "weir_sink_committed_rows_total", Some("readings"));
    let lag = total(registry, "weir_consumer_group_lag_records", None);
    let alerts = total(registry, "weir_rules_matches_total", None);
    format!(
        "{rate:.0} readings/s acknowledged, {acknowledged} in all, {stored} stored, lag {lag} records, {alerts} alerts, {} s",
        elapsed.as_secs()
    )
}

#[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Sum of the series of the metric `name`, of those with a label of value `label` if given.
fn total(registry: &Registry, name: &str, label: Option<&str>) -> f64 {
    let families = registry.gather();
    let series = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
    let chosen =
        series.filter(|metric| label.is_none_or(|label| metric.get_label().iter().any(|pair| pair.value() == label)));
    chosen.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, Opts};

    use super::*;

    #[test]
    fn totals_sum_the_chosen_series() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("weir_rows_total", "Rows"), &["table"]).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.with_label_values(&["readings"]).inc_by(3);
        counter.with_label_values(&["alerts"]).inc_by(4);
        assert_eq!(total(&registry, "weir_rows_total", None), 7.0);
        assert_eq!(total(&registry, "weir_rows_total", Some("readings")), 3.0);
        assert_eq!(total(&registry, "weir_other", None), 0.0);
    }
}
