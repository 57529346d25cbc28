//! `weir bench rules`: what rules cost, a reading and rule, and their share of the pipeline's CPU.

mod pipeline;
mod report;
mod workload;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use clap::Args;
use processors::RuleSet;
use telemetry::Clock;

use self::report::{Cost, Figures};
use self::workload::Kind;

/// `weir bench rules`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchRules {
    /// Seconds of load where the share of the pipeline's CPU is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Directory for the data of that measurement [default: a new one in weir-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Only the cost of the evaluation, no pipeline
    #[arg(long)]
    pub(crate) no_pipeline: bool,
    /// Print the figures as one JSON line, last on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs of each case; the median counts.
const RUNS: usize = 7;
/// Shortest run: long beside the resolution of the clock and a time slice of the scheduler.
const RUN: Duration = Duration::from_millis(100);
/// Rows of the batches: as the consumer reads them under load, as a trickle, and one by one.
const BATCHES: [usize; 3] = [8_192, 16, 1];

/// Measures and prints.
pub(crate) async fn run(arguments: &BenchRules, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        bail!("this is a debug build, whose figures say nothing: use `cargo run --release -- bench rules`");
    }
    let measured = clock.clone();
    let costs = tokio::task::spawn_blocking(move || costs(measured.as_ref())).await??;
    let share = if arguments.no_pipeline {
        None
    } else {
        let directory = super::directory(arguments.data.as_deref(), &clock)?;
        let share = pipeline::share(&directory, Duration::from_secs(arguments.seconds)).await;
        std::fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        Some(share?)
    };
    let figures = Figures { costs, pipeline: share };
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        print!("{figures}");
    }
    Ok(ExitCode::SUCCESS)
}

fn costs(clock: &dyn Clock) -> anyhow::Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for (kind, counts) in [
        (Kind::Simple, [1, 10, 100].as_slice()),
        (Kind::AnyMetric, &[10]),
        (Kind::Message, &[1, 10]),
        (Kind::Like, &[1]),
        (Kind::Regex, &[1]),
    ] {
        for &count in counts {
            let rules = RuleSet::parse(&workload::rules(kind, count), kind.name())?;
            for rows in BATCHES {
                eprintln!("measuring: {count} rules, {}, batches of {rows}", kind.name());
                costs.push(cost(kind, &rules, rows, clock)?);
            }
        }
    }
    Ok(costs)
}

/// Cost of `rules` on batches of `rows` rows, with what fires looked at.
fn cost(kind: Kind, rules: &RuleSet, rows: usize, clock: &dyn Clock) -> anyhow::Result<Cost> {
    let batches = workload::batches(rows);
    let (mut nanoseconds, mut matches) = (Vec::with_capacity(RUNS), 0.0);
    // The first run warms up.
    for run in 0..=RUNS {
        let (time, evaluated, matched) = timed(rules, &batches, clock)?;
        if run > 0 {
            nanoseconds.push(time.as_secs_f64() * 1e9 / evaluated);
            matches = matched;
        }
    }
    nanoseconds.sort_by(f64::total_cmp);
    let at = |index: usize| nanoseconds.get(index).copied().unwrap_or_default();
    Ok(Cost {
        kind: kind.name(),
        rules: rules.rules().len(),
        batch_rows: rows,
        nanoseconds: at(RUNS / 2),
        nanoseconds_least: at(0),
        nanoseconds_most: at(RUNS - 1),
        matches_per_million: matches,
    })
}

/// One run: time, rows times rules, and matches in a million of them.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit a double")]
fn timed(rules: &RuleSet, batches: &[RecordBatch], clock: &dyn Clock) -> anyhow::Result<(Duration, f64, f64)> {
    let (mut evaluated, mut matches) = (0.0, 0);
    let start = clock.monotonic();
    loop {
        for batch in batches {
            let evaluation = rules.evaluate(0, 0, black_box(batch))?;
            matches += black_box(&evaluation.rules).iter().map(|outcome| outcome.matches).sum::<u64>();
            evaluated += batch.num_rows() as f64 * rules.rules().len() as f64;
        }
        let time = clock.monotonic().saturating_sub(start);
        if time >= RUN {
            return Ok((time, evaluated, matches as f64 * 1e6 / evaluated));
        }
    }
}
