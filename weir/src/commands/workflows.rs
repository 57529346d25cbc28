//! `weir workflows`: what rules started, in a running process.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use processors::workflows::{RunDetail, RunPage, RunState, RunSummary, StepState, StepView};
use telemetry::Timestamp;

use crate::admin::AdminClient;
use crate::admin::client::{push_encoded, with_query};
use crate::admin::process::Process;
use crate::admin::table;
use crate::config::Config;
use crate::dlq::view::time;

/// Runs that one request asks for.
const PAGE_RUNS: usize = 1000;

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// List runs, newest first
    List(List),
    /// Show one run with the state of each step
    Show(One),
    /// Start no further step of a run
    Cancel(One),
    /// Let runs that wait with a dead letter go on, also where the log no longer has the letter
    Redrive(Redrive),
}

/// `weir workflows list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    process: Process,
    /// Only in this state: pending, dead, done, failed, cancelled, dropped
    #[arg(long)]
    state: Option<RunState>,
    /// Only of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Only of this device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Runs at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// `weir workflows show`, `weir workflows cancel`.
#[derive(Args, Clone, Debug)]
pub(crate) struct One {
    #[command(flatten)]
    process: Process,
    /// Run, as listed
    id: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// `weir workflows redrive`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Redrive {
    #[command(flatten)]
    process: Process,
    /// Runs, as listed
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All that wait with a dead letter
    #[arg(long)]
    all: bool,
}

/// Runs `command`.
pub(crate) async fn run(command: WorkflowsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        WorkflowsCommand::List(arguments) => list(arguments, config).await,
        WorkflowsCommand::Show(arguments) => show(&arguments, config).await,
        WorkflowsCommand::Cancel(arguments) => cancel(&arguments, config).await,
        WorkflowsCommand::Redrive(arguments) => redrive(arguments, config).await,
    }
}

async fn list(arguments: List, config: &Config) -> anyhow::Result<ExitCode> {
    let client = arguments.process.client(config);
    let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let (runs, more) = runs(&client, &arguments, wanted).await?;
    if arguments.json {
        for run in &runs {
            println!("{}", serde_json::to_string(run)?);
        }
    } else {
        print!("{}", listing(&runs));
        if more {
            println!("there may be more: raise --limit");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest `wanted` runs that `arguments` choose, and whether there may be more.
async fn runs(client: &AdminClient, arguments: &List, wanted: usize) -> anyhow::Result<(Vec<RunSummary>, bool)> {
    let (mut runs, mut after) = (Vec::new(), None);
    while runs.len() < wanted {
        let limit = (wanted - runs.len()).min(PAGE_RUNS).to_string();
        let from = after.map(|after: u64| after.to_string());
        let parameters = [
            ("state", arguments.state.map(RunState::as_str)),
            ("rule", arguments.rule.as_deref()),
            ("device", arguments.device.as_deref()),
            ("limit", Some(limit.as_str())),
            ("after", from.as_deref()),
        ];
        let page: RunPage = client.get(&with_query("/api/v1/workflows", &parameters)).await?;
        runs.extend(page.runs);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok((runs, after.is_some()))
}

/// One request a run: whoever interrupts it has redriven some of them, and can go on.
async fn redrive(arguments: Redrive, config: &Config) -> anyhow::Result<ExitCode> {
    let client = arguments.process.client(config);
    let ids = if arguments.all {
        let dead = List {
            process: arguments.process.clone(),
            state: Some(RunState::Dead),
            rule: None,
            device: None,
            limit: u64::MAX,
            json: false,
        };
        runs(&client, &dead, usize::MAX).await?.0.into_iter().map(|run| run.id).collect()
    } else {
        arguments.ids
    };
    let mut failed = 0;
    for id in &ids {
        let answer: anyhow::Result<RunDetail> = client.post(&path(id, "/redrive"), &serde_json::json!({})).await;
        if let Err(error) = answer {
            eprintln!("{id}: {error:#}");
            failed += 1;
        }
    }
    println!("{} redriven", ids.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn show(arguments: &One, config: &Config) -> anyhow::Result<ExitCode> {
    let run: RunDetail = arguments.process.client(config).get(&path(&arguments.id, "")).await?;
    print_run(&run, arguments.json)
}

async fn cancel(arguments: &One, config: &Config) -> anyhow::Result<ExitCode> {
    let client = arguments.process.client(config);
    let run: RunDetail = client.post(&path(&arguments.id, "/cancel"), &serde_json::json!({})).await?;
    print_run(&run, arguments.json)
}

fn path(id: &str, action: &str) -> String {
    let mut path = "/api/v1/workflows/".to_owned();
    push_encoded(&mut path, id);
    path.push_str(action);
    path
}

fn print_run(run: &RunDetail, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string(run)?);
    } else {
        print!("{}", described(run)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn listing(runs: &[RunSummary]) -> String {
    if runs.is_empty() {
        return "no runs\n".to_owned();
    }
    let row = |run: &RunSummary| {
        [
            run.id.clone(),
            at(run.received_at),
            run.state.as_str().to_owned(),
            run.rule.clone(),
            run.device.clone(),
            run.step.map_or_else(|| run.steps.to_string(), |step| format!("{step}/{}", run.steps)),
            run.attempts.to_string(),
            run.target.clone().unwrap_or_default(),
            run.last.clone(),
        ]
    };
    let titles = ["id", "received", "state", "rule", "device", "step", "tries", "target", "last"];
    table::text(titles, &runs.iter().map(row).collect::<Vec<_>>())
}

fn described(run: &RunDetail) -> Result<String, std::fmt::Error> {
    let RunDetail { summary, .. } = run;
    let optional = |value: Option<String>| value.unwrap_or_default();
    let labels: Vec<String> = run.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let fields = [
        ("run", summary.id.clone()),
        ("state", summary.state.as_str().to_owned()),
        ("rule", format!("{} version {}, {}", summary.rule, summary.rule_version, summary.severity)),
        ("message", run.message.clone()),
        ("device", summary.device.clone()),
        ("site", optional(run.site.clone())),
        ("boot", optional(run.boot.map(|boot| boot.to_string()))),
        ("seq", optional(run.seq.map(|seq| seq.to_string()))),
        ("data", run.data.to_string()),
        ("labels", labels.join(", ")),
        ("measured at", at(run.time)),
        ("received at", at(summary.received_at)),
        ("admitted at", at(summary.admitted_at)),
        ("ended at", optional(summary.ended_at.map(at))),
        ("redrives", run.redrives.to_string()),
        ("letter", optional(run.letter.map(|offset| format!("record {offset} of workflow_dead_letters")))),
    ];
    let mut text = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(text, "{name:12}{}", table::printable(value))?;
    }
    let row = |step: &StepView| {
        [
            step.index.to_string(),
            step.target.clone(),
            word(step.state).to_owned(),
            step.attempts.to_string(),
            step.begun_at.map(at).unwrap_or_default(),
            step.ended_at.map(at).unwrap_or_default(),
            step.last.clone(),
        ]
    };
    let titles = ["step", "target", "state", "tries", "begun", "ended", "last"];
    write!(text, "\n{}", table::text(titles, &run.progress.iter().map(row).collect::<Vec<_>>()))?;
    Ok(text)
}

fn word(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Done => "done",
        StepState::Dead => "dead",
        StepState::Failed => "failed",
    }
}

fn at(micros: i64) -> String {
    time(Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests;
