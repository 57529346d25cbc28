//! The share of rules in the CPU of the whole pipeline under load.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Child;

use super::super::process;
use super::super::scenario::{self, Scenario};
use super::report::Share;
use crate::admin::AdminClient;
use crate::ports::free_address;
use crate::wiring::Behind;

/// How many rules.
const RULES: usize = 10;
/// Connections of the generator, as `weir bench` has them where throughput is measured.
const CONNECTIONS: u32 = 64;
/// How long rules may take to catch up with what was acknowledged.
const CATCH_UP: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);

/// Runs `weir up` with rules that seldom fire under full load for `duration`, with its data below `directory`.
pub(super) async fn share(directory: &Path, duration: Duration) -> anyhow::Result<Share> {
    eprintln!("measuring: the pipeline with {RULES} rules under load");
    let scenario = Scenario {
        name: "pipeline with rules",
        behind: Behind::Everything,
        connections: CONNECTIONS,
        readings_per_message: 1,
        rate: None,
        duration,
    };
    let rules = directory.join("rules.toml");
    std::fs::write(&rules, rule_file()).with_context(|| rules.display().to_string())?;
    let (mqtt, http) = (free_address()?, free_address()?);
    let mut pipeline = start(&directory.join("data"), mqtt, http, &rules)?;
    scenario::listening(mqtt, &mut pipeline).await?;
    let load = scenario::generate(&scenario, mqtt).await?;
    // Rules read what is in the log; when they have all of it, their time is complete, and the CPU at the exit is too.
    let evaluation_seconds =
        tokio::time::timeout(CATCH_UP, evaluated(http)).await.context("rules do not catch up")??;
    scenario::terminate(&pipeline)?;
    let usage = process::usage_until_exit(&mut pipeline, "weir up").await?;
    Ok(Share {
        rules: RULES,
        readings: load.acknowledged_readings,
        readings_per_second: load.readings_per_second,
        evaluation_seconds,
        cpu_seconds: usage.cpu_seconds,
        share: evaluation_seconds / usage.cpu_seconds,
    })
}

/// The generator sends temperatures, one in a thousand of them beyond 85.
fn rule_file() -> String {
    let rule = |number: usize| {
        let when = format!("metric = 'temperature' AND unit = 'Cel' AND value > {}", 85 + number);
        format!(
            "[[rule]]\nid = \"r{number}\"\nwhen = \"{when}\"\nseverity = \"warning\"\nmessage = \"{{device_id}}\"\n"
        )
    };
    (0..RULES).map(rule).collect()
}

fn start(data: &Path, mqtt: SocketAddr, http: SocketAddr, rules: &Path) -> anyhow::Result<Child> {
    let mut command = scenario::weir()?;
    command.arg("up").arg("--data").arg(data).arg("--rules").arg(rules);
    command.args(["--mqtt", &mqtt.to_string(), "--http", &http.to_string()]);
    command.env("RUST_LOG", "warn").stdin(Stdio::null()).spawn().context("weir up")
}

/// Waits until rules have no lag, and returns the time they spent.
async fn evaluated(http: SocketAddr) -> anyhow::Result<f64> {
    let client = AdminClient::new(http);
    loop {
        let metrics = client.text("/metrics").await?;
        let lag = sum(&metrics, "weir_consumer_group_lag_records", Some("group=\"rules\""));
        if lag == Some(0.0) {
            let spent = sum(&metrics, "weir_rules_evaluation_seconds_sum", None);
            return spent.context("no metric weir_rules_evaluation_seconds_sum");
        }
        if lag.is_none() {
            bail!("no metric weir_consumer_group_lag_records of the group `rules`");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Sum of the series of `name` that have `label`; `None` if there is none.
fn sum(metrics: &str, name: &str, label: Option<&str>) -> Option<f64> {
    let of = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let of = of.filter(|rest| rest.starts_with(['{', ' ']) && label.is_none_or(|label| rest.contains(label)));
    let values: Vec<f64> = of.filter_map(|rest| rest.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_summed_by_label() {
        let metrics = "# HELP lag x\nlag{group=\"rules\",partition=\"0\"} 2\nlag{group=\"rules\",partition=\"1\"} 3\n\
                       lag{group=\"sink\",partition=\"0\"} 5\nlag_seconds{group=\"rules\"} 9\nspent 0.5\n";
        assert_eq!(sum(metrics, "lag", Some("group=\"rules\"")), Some(5.0));
        assert_eq!(sum(metrics, "spent", None), Some(0.5));
        assert_eq!(sum(metrics, "nothing", None), None);
    }

    #[test]
    fn the_rules_compile() {
        assert_eq!(processors::RuleSet::parse(&rule_file(), "bench").unwrap().rules().len(), RULES);
    }
}
