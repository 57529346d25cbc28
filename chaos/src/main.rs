//! `chaos`: attacks the promise of Weir, and lets a judge that shares no code with it say whether it was kept.
//!
//! It builds the binary that is shipped and one with named crash points and planted bugs, runs them against
//! fleets of devices while it kills processes, cuts power, breaks disks and networks, and writes a report.
//!
//! In reading order: [`tier`] (how much), [`scenarios`] (what goes wrong), [`round`] (one fleet, one data
//! directory, many faults, one verdict), then what a round is made of: [`weir`], [`fleet`], [`proxy`],
//! [`hook`] and [`workflows`], [`disk`], [`cluster`] and [`stage`],
//! [`mosquitto`] and [`witness`], [`judge`]; at the end [`report`] and [`series`].

mod binaries;
mod clock;
mod cluster;
mod disk;
mod faketime;
mod fleet;
mod hook;
mod judge;
mod lanes;
mod latencies;
mod metrics;
mod mosquitto;
mod outcome;
mod ports;
mod process;
mod proxy;
mod report;
mod round;
mod scenarios;
mod series;
mod setting;
mod stage;
mod strace;
mod tier;
mod watch;
mod weir;
mod witness;
mod workflows;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;

use crate::binaries::Binaries;
use crate::judge::Judge;
use crate::report::Report;
use crate::setting::Setting;
use crate::tier::Tier;

/// Attacks Weir and judges what became of the data.
#[derive(Debug, Parser)]
#[command(name = "chaos", max_term_width = 110)]
struct Cli {
    /// How long: quick (5 minutes), hour, long (many hours)
    tier: Tier,
    /// All faults follow from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these scenarios, with commas between
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Where the report goes: chaos.json and chaos.md
    #[arg(long, value_name = "DIR", default_value = "target/chaos/report")]
    report: PathBuf,
    /// Where rounds keep their data; a round that broke the promise stays there
    #[arg(long, value_name = "DIR", default_value = "target/chaos/rounds")]
    data: PathBuf,
    /// Attack this binary instead of building one
    #[arg(long, value_name = "FILE", requires = "weir_faults")]
    weir: Option<PathBuf>,
    /// And this one, built with the feature `faults`
    #[arg(long, value_name = "FILE", requires = "weir")]
    weir_faults: Option<PathBuf>,
    /// Program of a Fluvio cluster, for `apart`: nothing of it is built here [env: WEIR_FLUVIO_RUN]
    #[arg(long, value_name = "FILE")]
    fluvio_run: Option<PathBuf>,
    /// Multiplies the number of faults of every scenario
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(kept) if kept => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the scenarios; whether the promise was kept by all.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    let wanted = scenarios::select(&cli.only, cli.tier)?;
    ensure!(cli.scale > 0.0, "--scale: expected a number above 0, found {}", cli.scale);
    std::fs::create_dir_all(&cli.data).with_context(|| cli.data.display().to_string())?;
    let directory = cli.data.canonicalize().with_context(|| cli.data.display().to_string())?;
    let binaries = match (&cli.weir, &cli.weir_faults) {
        (Some(weir), Some(faults)) => Binaries::given(weir, faults)?,
        _ => Binaries::build()?,
    };
    let judge = Judge::find()?;
    let fluvio_run = cluster::program(cli.fluvio_run.as_deref())?;
    let setting = Setting { binaries, judge, directory, seed: cli.seed, tier: cli.tier, scale: cli.scale, fluvio_run };
    let mut report = Report::new(&setting);
    for scenario in wanted {
        eprintln!("== {}: {}", scenario.name, scenario.about);
        let began = clock::now();
        let outcome = (scenario.run)(&setting).with_context(|| format!("scenario {}", scenario.name))?;
        report.add(scenario, outcome, clock::since(began));
        report.write(&cli.report)?;
    }
    print!("{}", report.markdown());
    Ok(report.kept())
}
