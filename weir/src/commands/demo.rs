//! `weir demo`: everything, with a simulated fleet, and a verdict at the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use processors::RuleSet;
use serde::Serialize;
use simulator::{Progress, Summary};
use telemetry::Clock;
use tokio::sync::watch;

use super::{signals, status, verify as verify_command};
use crate::cli::{Demo, Fleet};
use crate::config::{Config, Sink};
use crate::verify::{self, Verdict};
use crate::wiring::{self, Behind, Pipeline, Role};

/// A person who watches wants to see files in seconds.
const ROLL_AGE_SECONDS: f64 = 2.0;

/// The verdict as `--json` prints it.
#[derive(Serialize)]
struct Report {
    acknowledged: u64,
    stored: u64,
    lost: u64,
    duplicated: u64,
    alerts: u64,
    readings_per_second: f64,
    table: PathBuf,
}

/// Runs the demo; success if nothing was lost and nothing is there twice.
pub(crate) async fn run(arguments: Demo, mut config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    if config.sink.roll_age_seconds == Sink::default().roll_age_seconds {
        config.sink.roll_age_seconds = ROLL_AGE_SECONDS;
    }
    let rules = super::rules(&config, RuleSet::parse(processors::SAMPLE_RULES, "sample rules")?)?;
    let started = clock.monotonic();
    let role = Role::up(Behind::Everything);
    let starting = Pipeline::start(&config, rules, &role, clock.clone(), signals::stop_or_hangup());
    let Some(mut pipeline) = starting.await? else { return Ok(ExitCode::SUCCESS) };
    let mqtt = pipeline.mqtt.context("a demo without an endpoint")?;
    let ledger = ledger_path(&config.data.dir, clock.now().as_micros())?;
    greet(&arguments, mqtt, pipeline.http);

    let progress = Arc::new(Progress::default());
    let (stop, stopped) = watch::channel(false);
    let fleet = super::fleet(&arguments.fleet, &config, mqtt.to_string(), ledger.clone());
    let fleet = simulator::fleet::run(fleet, clock.clone(), stopped, progress.clone());
    let signal = async {
        let asked = signals::stop_or_hangup().await;
        stop.send_replace(true);
        asked
    };
    let registry = pipeline.registry.clone();
    let watch = status::show(&registry, &progress, arguments.fleet.duration, &clock);
    let summary = tokio::select! {
        summary = with_background(fleet, signal, watch) => summary.context("simulated fleet")?,
        error = pipeline.failed() => return Err(error),
    };
    let published_for = clock.monotonic().saturating_sub(started);
    pipeline.stop().await?;

    let readings = wiring::table(&config, "readings");
    let sent = verify::read_ledger(&ledger)?;
    let verdict = verify::verify(&sent, &readings)?;
    let alerts = verify::stored_rows(&sent, &wiring::table(&config, "alerts"))?;
    let report = report(&summary, &verdict, alerts, published_for, readings);
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report, &verdict, &ledger);
    }
    Ok(if verdict.kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `fleet` to its end; the signal only asks it to end, the status only watches.
async fn with_background(
    fleet: impl Future<Output = anyhow::Result<Summary>>,
    signal: impl Future<Output = anyhow::Result<()>>,
    status: impl Future<Output = ()>,
) -> anyhow::Result<Summary> {
    let signal = async {
        if let Err(error) = signal.await {
            tracing::warn!(%error, "cannot wait for signals");
        }
        std::future::pending::<()>().await;
    };
    let status = async {
        status.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        summary = fleet => summary,
        () = signal => unreachable!("a signal only asks the fleet to end"),
        () = status => unreachable!("the status only watches"),
    }
}

fn ledger_path(data: &Path, now_micros: i64) -> anyhow::Result<PathBuf> {
    let directory = data.join("ledgers");
    std::fs::create_dir_all(&directory).with_context(|| format!("ledgers in {}", directory.display()))?;
    Ok(directory.join(format!("demo-{now_micros}.csv")))
}

fn greet(arguments: &Demo, mqtt: SocketAddr, http: SocketAddr) {
    eprintln!("MQTT     {mqtt}   (watch: mosquitto_sub -t 'weir/live/#' -p {})", mqtt.port());
    eprintln!("metrics  http://{http}/metrics");
    let Fleet { devices, rate, duration, .. } = arguments.fleet;
    let end = duration.map_or("until Ctrl-C".to_owned(), |time| format!("for {} s", time.as_secs_f64()));
    eprintln!("{devices} devices, {rate} messages/s, {end}");
}

fn report(summary: &Summary, verdict: &Verdict, alerts: u64, published_for: Duration, table: PathBuf) -> Report {
    #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
    let readings_per_second = summary.acknowledged_readings as f64 / published_for.as_secs_f64().max(f64::MIN_POSITIVE);
    Report {
        acknowledged: verdict.acknowledged,
        stored: verdict.stored,
        lost: verdict.lost,
        duplicated: verdict.duplicated,
        alerts,
        readings_per_second: readings_per_second.round(),
        table,
    }
}

fn print(report: &Report, verdict: &Verdict, ledger: &Path) {
    println!();
    verify_command::print(verdict);
    println!("alerts        {:>12}", report.alerts);
    println!("readings/s    {:>12}", report.readings_per_second);
    println!("table         {}", report.table.display());
    println!("ledger        {}", ledger.display());
    println!(
        "{}",
        if verdict.kept() { "every acknowledged reading is in the table exactly once" } else { "PROMISE BROKEN" }
    );
    println!();
    println!("query it:");
    println!(
        "  duckdb -c \"SELECT metric, unit, count(*), round(avg(value), 2) FROM read_parquet('{}/date=*/hour=*/*.parquet') GROUP BY ALL\"",
        report.table.display()
    );
}
