//! `weir streams reset`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use streams::{GroupName, Partition, Position, StreamName, Streams, seek};

use super::source;
use crate::admin::table;
use crate::api::streams::view::From;
use crate::config::Config;

/// The arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reset {
    /// Group, as listed
    group: String,
    /// Its stream
    #[arg(long, value_name = "STREAM")]
    stream: String,
    /// Where it goes on: beginning, now, a time or an offset
    #[arg(long, value_name = "PLACE")]
    to: From,
    /// Only in this partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Do it; without it only what would be done is printed
    #[arg(long)]
    yes: bool,
}

/// Where a group is, and where it goes.
struct Move {
    of: Partition,
    before: Position,
    after: Position,
}

pub(super) async fn run(arguments: &Reset, config: &Config) -> anyhow::Result<ExitCode> {
    let open = source::open(config).await?;
    let done = reset(open.streams.as_ref(), arguments).await;
    open.close().await?;
    done
}

async fn reset(streams: &dyn Streams, arguments: &Reset) -> anyhow::Result<ExitCode> {
    let group: GroupName = arguments.group.as_str().into();
    let stream = StreamName::new(&arguments.stream)
        .with_context(|| format!("--stream {}: expected the name of a stream", arguments.stream))?;
    let known = streams.groups().await?;
    let wanted =
        |of: &Partition| of.stream == stream && arguments.partition.is_none_or(|partition| partition == of.index);
    let partitions: Vec<_> =
        known.iter().filter(|at| at.group == group && wanted(&at.partition)).map(|at| at.partition.clone()).collect();
    if partitions.is_empty() {
        bail!("group {group} has no position in {stream}: `weir streams groups` lists those there are");
    }
    // Refused while it runs; held until the streams are closed.
    streams.claim(&group, &partitions).await?;
    let moves = moves(streams, &group, partitions, arguments.to).await?;
    print(&moves);
    if group.starts_with("sink/") {
        println!(
            "a table keeps its own position: rows before that are not written to it again. To fill a new table, move the old \
             one away before the start; it is then written from the group's position on"
        );
    }
    if moves.iter().any(|to| to.after.offset < to.before.offset) {
        println!("what the group has seen is forgotten: deduplication begins anew at the new position");
    }
    if !arguments.yes {
        println!("nothing was changed: add --yes");
        return Ok(ExitCode::FAILURE);
    }
    let positions = moves.into_iter().map(|to| (to.of, to.after)).collect();
    streams.commit(&group, positions).await?;
    println!("reset");
    Ok(ExitCode::SUCCESS)
}

async fn moves(
    streams: &dyn Streams,
    group: &GroupName,
    partitions: Vec<Partition>,
    to: From,
) -> anyhow::Result<Vec<Move>> {
    let mut moves = Vec::new();
    for of in partitions {
        let before = streams.position(group, &of).await?.unwrap_or_default();
        let offset = seek::offset(streams, &of, to.place).await?;
        // A state knows all before its position: further on it is still right, before that it would hide everything.
        let state = if offset < before.offset { Position::default().state } else { before.state.clone() };
        moves.push(Move { of, before, after: Position { offset, state } });
    }
    Ok(moves)
}

fn print(moves: &[Move]) {
    let row = |to: &Move| {
        let [partition, before, after] =
            [u64::from(to.of.index), to.before.offset, to.after.offset].map(|number| number.to_string());
        [to.of.stream.to_string(), partition, before, after]
    };
    let rows: Vec<_> = moves.iter().map(row).collect();
    print!("{}", table::text(["stream", "partition", "before", "after"], &rows));
}
