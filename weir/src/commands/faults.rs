//! `weir faults`: what the harness in `chaos/` asks of a binary that is built for it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use streams::faults::{FileReport, ModelReport, Point, Tooth, damage, model};

/// `weir faults`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Faults {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Print the names of crash points and planted bugs, as JSON
    List,
    /// Try the states that crashes may leave of the log, print what was found as one JSON line; fails if a promise
    /// is broken
    Model(Model),
    /// Flip a bit and cut at every byte of the files of a log, print what was found as one JSON line; fails if bad
    /// data is returned or a loss is not counted
    Damage(Damage),
}

#[derive(Args, Clone, Debug)]
struct Model {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// States to open
    #[arg(long, default_value_t = 200_000)]
    states: u64,
    /// Directory to work in; one in memory is faster [default: /dev/shm, or the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
struct Damage {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Damage only every so many bytes
    #[arg(long, default_value_t = 1)]
    step: usize,
    /// Directory to work in; one in memory is faster [default: /dev/shm, or the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Does what is asked. Blocks, which this process has nothing against.
pub(crate) fn run(arguments: &Faults) -> anyhow::Result<ExitCode> {
    match &arguments.action {
        Action::List => list().map(|()| ExitCode::SUCCESS),
        Action::Model(arguments) => run_model(arguments),
        Action::Damage(arguments) => run_damage(arguments),
    }
}

fn list() -> anyhow::Result<()> {
    let name = |name: &str, about: &str| serde_json::json!({ "name": name, "about": about });
    let points: Vec<_> = Point::ALL.iter().map(|point| name(point.name(), point.about())).collect();
    let teeth: Vec<_> = Tooth::ALL.iter().map(|tooth| name(tooth.name(), tooth.about())).collect();
    println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "points": points, "teeth": teeth }))?);
    Ok(())
}

fn run_model(arguments: &Model) -> anyhow::Result<ExitCode> {
    let Model { seed, states, .. } = *arguments;
    let dir = arguments.dir.clone().unwrap_or_else(memory);
    let report = aside(move || model(&dir, seed, states))?;
    let ModelReport { sequences, moments, exhausted_moments, exhaustive, drawn, recoveries, states, violations } =
        report;
    let figures = serde_json::json!({
        "sequences_of_operations": sequences,
        "moments_of_crashes": moments,
        "moments_with_every_state": exhausted_moments,
        "states_of_those_moments": exhaustive,
        "states_drawn": drawn,
        "states_of_a_crash_in_a_recovery": recoveries,
    });
    report_found(states, &figures, &violations)
}

fn run_damage(arguments: &Damage) -> anyhow::Result<ExitCode> {
    let Damage { seed, step, .. } = *arguments;
    let dir = arguments.dir.clone().unwrap_or_else(memory);
    let report = aside(move || damage(&dir, seed, step))?;
    let sum = |count: fn(&FileReport) -> u64| -> u64 { report.files.iter().map(count).sum() };
    let figures = serde_json::json!({
        "files_damaged": report.files.len(),
        "bits_flipped": sum(|file| file.flips),
        "files_cut": sum(|file| file.cuts),
        "damages_that_cost_records_all_counted": sum(|file| file.lossy),
        "damages_that_a_start_refused_or_put_aside": sum(|file| file.refused),
        "damages_after_which_the_store_was_one_commit_back": sum(|file| file.fell_back),
    });
    let violations: Vec<_> = report.violations().collect();
    report_found(sum(|file| file.flips + file.cuts), &figures, &violations)
}

/// Prints what was found, as the last line.
fn report_found(tried: u64, figures: &serde_json::Value, violations: &[String]) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::json!({ "tried": tried, "figures": figures, "violations": violations }));
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `work` on a thread without a runtime, because it brings its own.
fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> anyhow::Result<T> {
    let outcome = std::thread::spawn(work).join();
    outcome.map_err(|_| anyhow::anyhow!("it panicked"))?.map_err(anyhow::Error::msg)
}

fn memory() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}
