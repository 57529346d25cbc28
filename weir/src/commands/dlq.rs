//! `weir dlq`: dead letters of a running process.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::admin::AdminClient;
use crate::admin::client::with_query;
use crate::admin::process::Process;
use crate::admin::table;
use crate::config::Config;
use crate::dlq::PAGE_LETTERS;
use crate::dlq::view::{Change, Changed, Detail, LetterId, Listing, Source, State, Summary};

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List what was refused or given up, oldest first. Letters live as long as the log retains them
    List(List),
    /// Show one letter: reason, attempts, original bytes
    Show(Show),
    /// Put letters back, with the same idempotency key
    Redrive(Redrive),
    /// Take letters off the list; a workflow that waits with one ends
    Drop(Drop),
}

/// `weir dlq list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    process: Process,
    /// Only of this source
    #[arg(long)]
    source: Option<Source>,
    /// Only with this reason, e.g. future_time, workflow_step
    #[arg(long)]
    reason: Option<String>,
    /// Only in this state
    #[arg(long, default_value = "waiting", conflicts_with = "any_state")]
    state: State,
    /// In every state
    #[arg(long)]
    any_state: bool,
    /// Letters at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only after this letter
    #[arg(long, value_name = "ID")]
    after: Option<LetterId>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// `weir dlq show`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    process: Process,
    /// Letter, as listed
    id: LetterId,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// `weir dlq redrive`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Redrive {
    #[command(flatten)]
    process: Process,
    #[command(flatten)]
    which: Which,
    /// Also letters that were redriven before. A message without boot and seq would be stored twice
    #[arg(long, conflicts_with = "all")]
    again: bool,
}

/// `weir dlq drop`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Drop {
    #[command(flatten)]
    process: Process,
    #[command(flatten)]
    which: Which,
}

/// Letters by name, or all that wait.
#[derive(Args, Clone, Debug)]
pub(crate) struct Which {
    /// Letters, as listed
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<LetterId>,
    /// All letters that wait
    #[arg(long)]
    all: bool,
    /// With --all: only with this reason
    #[arg(long, requires = "all", conflicts_with = "ids")]
    reason: Option<String>,
    /// With --all: only of this source
    #[arg(long, requires = "all", conflicts_with = "ids")]
    source: Option<Source>,
    /// Print what was done as one JSON line
    #[arg(long)]
    json: bool,
}

/// Runs `command`. The exit code is 1 if something asked for could not be done.
pub(crate) async fn run(command: DlqCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        DlqCommand::List(arguments) => list(arguments, config).await,
        DlqCommand::Show(arguments) => show(&arguments, config).await,
        DlqCommand::Redrive(Redrive { process, which, again }) => {
            change(&process.client(config), "redrive", "redriven", which, again).await
        }
        DlqCommand::Drop(Drop { process, which }) => {
            change(&process.client(config), "drop", "dropped", which, false).await
        }
    }
}

async fn list(arguments: List, config: &Config) -> anyhow::Result<ExitCode> {
    let client = arguments.process.client(config);
    let source = arguments.source.map(word);
    let state = (!arguments.any_state).then(|| arguments.state.to_string());
    let (mut letters, mut after) = (Vec::new(), arguments.after);
    let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    while letters.len() < wanted {
        let limit = (wanted - letters.len()).min(PAGE_LETTERS).to_string();
        let from = after.map(|id| id.to_string());
        let parameters = [
            ("source", source.as_deref()),
            ("reason", arguments.reason.as_deref()),
            ("state", state.as_deref()),
            ("limit", Some(limit.as_str())),
            ("after", from.as_deref()),
        ];
        let page: Listing = client.get(&with_query("/api/v1/dlq", &parameters)).await?;
        letters.extend(page.letters);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if arguments.json {
        for letter in &letters {
            println!("{}", serde_json::to_string(letter)?);
        }
    } else {
        print!("{}", listing(&letters));
        if let Some(next) = after {
            println!("there may be more: --after {next}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(arguments: &Show, config: &Config) -> anyhow::Result<ExitCode> {
    let client = arguments.process.client(config);
    let letter: Detail = client.get(&format!("/api/v1/dlq/{}", arguments.id)).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&letter)?);
    } else {
        print!("{}", described(&letter)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks page by page, and sums up.
async fn change(client: &AdminClient, verb: &str, done: &str, which: Which, again: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/dlq/{verb}");
    let Which { ids, all, reason, source, json } = which;
    if ids.len() > PAGE_LETTERS {
        bail!("{} letters: expected at most {PAGE_LETTERS}, or --all", ids.len());
    }
    let mut request = Change { ids, all, reason, source, again, ..Change::default() };
    let mut sum = Changed::default();
    loop {
        let page: Changed = client.post(&path, &request).await?;
        sum.done += page.done;
        sum.refused.extend(page.refused);
        sum.failed.extend(page.failed);
        (request.after, request.until) = (page.next, page.until);
        if page.next.is_none() {
            break;
        }
        if !json {
            eprintln!("{} {done} so far", sum.done);
        }
    }
    if json {
        println!("{}", serde_json::to_string(&sum)?);
    } else {
        print!("{}", summed(&sum, done));
    }
    let undone = !sum.failed.is_empty() || !sum.refused.is_empty();
    Ok(if undone { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn listing(letters: &[Summary]) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let row = |letter: &Summary| {
        [
            letter.id.to_string(),
            letter.received_at.clone(),
            letter.state.to_string(),
            letter.reason.clone(),
            letter.attempts.map_or_else(String::new, |attempts| attempts.to_string()),
            letter.bytes.to_string(),
            letter.client_id.clone(),
            letter.topic.clone(),
            letter.detail.clone(),
        ]
    };
    let titles = ["id", "received", "state", "reason", "tries", "bytes", "from", "topic", "detail"];
    table::text(titles, &letters.iter().map(row).collect::<Vec<_>>())
}

fn described(letter: &Detail) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let from = match letter.source {
        Source::Ingest => "client",
        Source::Workflows => "rule",
    };
    let fields = [
        ("letter", letter.id.to_string()),
        ("state", letter.state.to_string()),
        ("marked at", letter.marked_at.clone().unwrap_or_default()),
        ("reason", letter.reason.clone()),
        ("detail", letter.detail.clone()),
        ("received at", letter.received_at.clone()),
        ("topic", letter.topic.clone()),
        (from, letter.client_id.clone()),
        ("boot", letter.boot.map(|boot| boot.to_string()).unwrap_or_default()),
        ("seq", letter.seq.map(|seq| seq.to_string()).unwrap_or_default()),
        ("attempts", letter.attempts.map(|attempts| attempts.to_string()).unwrap_or_default()),
        ("redrives", letter.redrives.to_string()),
        ("bytes", letter.bytes.to_string()),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(text, "{name:12}{}", table::printable(value))?;
    }
    match &letter.text {
        Some(payload) => writeln!(text, "\n{}", payload.lines().map(table::printable).collect::<Vec<_>>().join("\n"))?,
        None => writeln!(text, "\nnot text, in base64:\n{}", letter.base64)?,
    }
    Ok(text)
}

fn summed(sum: &Changed, done: &str) -> String {
    let mut text = format!("{} {done}\n", sum.done);
    if !sum.refused.is_empty() {
        text.push_str(&format!("{} of them were refused again, and are new letters\n", sum.refused.len()));
    }
    for failure in &sum.failed {
        text.push_str(&format!("{}: not {done}: {}\n", failure.id, table::printable(&failure.error)));
    }
    text
}

fn word(source: Source) -> String {
    match source {
        Source::Ingest => "ingest",
        Source::Workflows => "workflows",
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
