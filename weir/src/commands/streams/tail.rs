//! `weir streams tail`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::source::{Access, Source};
use crate::admin::table::printable;
use crate::api::streams::view::{From, PAGE_ROWS};
use crate::config::Config;

/// How long to wait for more before looking again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct Tail {
    #[command(flatten)]
    access: Access,
    /// Stream, as listed
    stream: String,
    /// Only this partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Where to begin: beginning, now, a time or an offset [default: beginning, with --follow now]
    #[arg(long, value_name = "PLACE")]
    from: Option<From>,
    /// Wait for more, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Rows at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print each row as one JSON object, with all that is known of its record
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Tail, config: &Config) -> anyhow::Result<ExitCode> {
    let source = Source::open(&arguments.access, config).await?;
    let printed = tokio::select! {
        printed = print(&source, arguments) => printed,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("Ctrl-C"),
    };
    source.close().await?;
    printed.map(|()| ExitCode::SUCCESS)
}

async fn print(source: &Source, arguments: &Tail) -> anyhow::Result<()> {
    let all = source.partitions().await?.partitions;
    let of_stream = || all.iter().filter(|at| at.stream == arguments.stream);
    let wanted = of_stream().filter(|at| arguments.partition.is_none_or(|partition| partition == at.partition));
    let begin = arguments.from.map_or_else(|| if arguments.follow { "now" } else { "beginning" }.parse(), Ok);
    let begin: From = begin.map_err(anyhow::Error::msg)?;
    let mut places: Vec<(u32, From)> = wanted.map(|at| (at.partition, begin)).collect();
    if places.is_empty() {
        match (of_stream().count(), arguments.partition) {
            (partitions @ 1.., Some(partition)) => {
                bail!("--partition {partition}: expected one of the {partitions} partitions of {}", arguments.stream)
            }
            _ => {
                let mut names: Vec<_> = all.iter().map(|at| at.stream.as_str()).collect();
                names.dedup();
                bail!("there is no stream `{}`: expected one of {}", arguments.stream, names.join(", "))
            }
        }
    }
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    loop {
        let mut at_end = true;
        for (partition, place) in &mut places {
            let limit = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE_ROWS);
            let page = source.page(&arguments.stream, *partition, *place, limit).await?;
            *place = page.next;
            at_end &= page.at_end;
            left -= page.rows.len() as u64;
            show(&page.rows, arguments.json)?;
            if left == 0 {
                return Ok(());
            }
        }
        if at_end {
            if !arguments.follow {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn show(rows: &[Map<String, Value>], json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for row in rows {
        let line = serde_json::to_string(row)?;
        let written = if json { writeln!(out, "{line}") } else { writeln!(out, "{}", readable(row)) };
        match written {
            // Whoever reads it has enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => written.context("stdout")?,
        }
    }
    Ok(())
}

/// Place and time of the record, then the columns as JSON.
fn readable(row: &Map<String, Value>) -> String {
    let mut columns = row.clone();
    let mut take = |name: &str| columns.remove(name).map(|value| value.to_string().trim_matches('"').to_owned());
    let place = [take("partition"), take("offset"), take("row_of_record")].map(Option::unwrap_or_default).join("/");
    let at = take("appended_at").unwrap_or_default();
    printable(&format!("{place}  {at}  {}", Value::Object(columns)))
}
