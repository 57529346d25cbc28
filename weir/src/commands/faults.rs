//! `weir faults`: what the harness in `chaos/` asks of a binary that is built for it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use streams::faults::{Point, Tooth};

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
}

/// Does what is asked.
pub(crate) fn run(arguments: &Faults) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Action::List => list()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> anyhow::Result<()> {
    let name = |name: &str, about: &str| serde_json::json!({ "name": name, "about": about });
    let points: Vec<_> = Point::ALL.iter().map(|point| name(point.name(), point.about())).collect();
    let teeth: Vec<_> = Tooth::ALL.iter().map(|tooth| name(tooth.name(), tooth.about())).collect();
    println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "points": points, "teeth": teeth }))?);
    Ok(())
}
