//! `weir streams`: what streams hold, how far groups have come, and moving both.

mod copy;
mod reset;
mod source;
mod tail;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::source::{Access, Source};
use crate::admin::table;
use crate::config::Config;

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum StreamsCommand {
    /// List partitions with their offsets
    List(Listing),
    /// List groups with their positions and what they have not passed
    Groups(Listing),
    /// Print rows of a stream
    Tail(tail::Tail),
    /// Let a group that does not run go on at another place
    Reset(reset::Reset),
    /// Copy streams and groups to another backend, and compare both sides
    Copy(copy::CopyTo),
}

/// `weir streams list`, `weir streams groups`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Listing {
    #[command(flatten)]
    access: Access,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs `command`. The exit code is 1 if something asked for could not be done.
pub(crate) async fn run(command: StreamsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        StreamsCommand::List(arguments) => list(&arguments, config).await,
        StreamsCommand::Groups(arguments) => groups(&arguments, config).await,
        StreamsCommand::Tail(arguments) => tail::run(&arguments, config).await,
        StreamsCommand::Reset(arguments) => reset::run(&arguments, config).await,
        StreamsCommand::Copy(arguments) => copy::run(&arguments, config).await,
    }
}

async fn list(arguments: &Listing, config: &Config) -> anyhow::Result<ExitCode> {
    let source = Source::open(&arguments.access, config).await?;
    let partitions = source.partitions().await;
    source.close().await?;
    let partitions = partitions?.partitions;
    if arguments.json {
        for partition in &partitions {
            println!("{}", serde_json::to_string(partition)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = partitions
        .iter()
        .map(|at| {
            let numbers = [u64::from(at.partition), at.first, at.end, at.records].map(|number| number.to_string());
            let [partition, first, end, records] = numbers;
            [at.stream.clone(), partition, first, end, records]
        })
        .collect();
    print!("{}", table::text(["stream", "partition", "first", "end", "records"], &rows));
    Ok(ExitCode::SUCCESS)
}

async fn groups(arguments: &Listing, config: &Config) -> anyhow::Result<ExitCode> {
    let source = Source::open(&arguments.access, config).await?;
    let groups = source.groups().await;
    source.close().await?;
    let groups = groups?.groups;
    if arguments.json {
        for group in &groups {
            println!("{}", serde_json::to_string(group)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if groups.is_empty() {
        println!("no groups");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = groups
        .iter()
        .map(|at| {
            let [partition, position, lag] =
                [u64::from(at.partition), at.position, at.lag].map(|number| number.to_string());
            [at.group.clone(), at.stream.clone(), partition, position, lag]
        })
        .collect();
    print!("{}", table::text(["group", "stream", "partition", "position", "lag"], &rows));
    Ok(ExitCode::SUCCESS)
}
