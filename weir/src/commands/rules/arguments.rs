//! The command line of `weir rules`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use telemetry::Timestamp;

use super::moment;
use crate::admin::process::Process;

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Check rules: a line for each, or the first mistake with its line and column
    Check(Check),
    /// Try rules on readings of your own: what would fire and be sent. Sends nothing
    Test(Trial),
    /// Run rules over a recorded table: what would have fired
    Backtest(Backtest),
    /// List the rules in force in the running process
    List(List),
}

/// `weir rules check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Check {
    /// Rules, a TOML file or a directory of such files
    #[arg(value_name = "FILE")]
    pub(crate) rules: PathBuf,
}

/// `weir rules test`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Trial {
    /// Rules, a TOML file or a directory of such files
    #[arg(value_name = "FILE")]
    pub(crate) rules: PathBuf,
    /// A payload as a device sends it, flat JSON or SenML; may be given more than once
    #[arg(long = "reading", value_name = "JSON", required = true)]
    pub(crate) readings: Vec<String>,
    /// Topic that the payloads are published to [default: the topic template, with `site` and `device` in its places]
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Print one JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weir rules backtest`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Backtest {
    /// Rules, a TOML file or a directory of such files
    #[arg(value_name = "FILE")]
    pub(crate) rules: PathBuf,
    /// Other rules, to compare with
    #[arg(value_name = "FILE2")]
    pub(crate) other: Option<PathBuf>,
    /// Table of readings, e.g. weir-data/tables/readings
    #[arg(long, value_name = "DIR")]
    pub(crate) table: PathBuf,
    /// Only readings from this time on, by the device's clock, e.g. 2014-01-31 or 2014-01-31T08:00:00Z; UTC
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub(crate) from: Option<Timestamp>,
    /// Only readings before this time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub(crate) to: Option<Timestamp>,
    /// Only readings of this device; may be given more than once
    #[arg(long = "device", value_name = "ID")]
    pub(crate) devices: Vec<String>,
    /// Times in which something was wrong: JSON, {"NAME": [["FROM", "TO"], ...]}, UTC. Gives precision, recall and
    /// time to detect
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// Which NAME of the labels [default: the only one]
    #[arg(long, value_name = "NAME", requires = "labels")]
    pub(crate) recording: Option<String>,
    /// File to write with all firings, as CSV: rule_id,run_id,device_id,time
    #[arg(long, value_name = "FILE", conflicts_with = "other")]
    pub(crate) firings: Option<PathBuf>,
    /// Devices and days to print, those with the most firings first
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
    /// Print one JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weir rules list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) process: Process,
    /// Print one JSON line
    #[arg(long)]
    pub(crate) json: bool,
}
