//! `weir streams copy`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use streams::transfer::{self, Moved, Report};
use streams::{StreamName, Streams};

use super::source;
use crate::admin::table;
use crate::config::{Backend, Config};
use crate::wiring::open_streams;

/// The arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct CopyTo {
    /// Where to: fluvio://HOST:PORT, or a data directory for the embedded log. With the other settings of the
    /// configuration
    #[arg(long, value_name = "DESTINATION")]
    to: String,
    /// Only these streams, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    streams: Vec<String>,
}

pub(super) async fn run(arguments: &CopyTo, config: &Config) -> anyhow::Result<ExitCode> {
    let there = destination(&arguments.to, config)?;
    let (from, to) = (origin(config)?, arguments.to.as_str());
    let source = source::open(config).await.context("source")?;
    let outcome = async {
        let names = names(arguments, source.streams.as_ref())?;
        let open = open_streams(&there).await.with_context(|| format!("destination {to}"))?;
        let destination = open.destination.clone();
        let mut bytes = 0;
        let report = transfer::copy(source.streams.as_ref(), &from, destination.as_ref(), &names, |of, more| {
            bytes += more;
            tracing::debug!(partition = %of, bytes, "copied");
        })
        .await;
        drop(destination);
        let closed = open.close().await;
        let report = report?;
        closed.map(|()| report)
    }
    .await;
    let closed = source.close().await;
    let report = outcome.map_err(|error| match error.downcast_ref() {
        // Nothing that running it again would change.
        Some(streams::Error::Incompatible(_)) => error,
        _ => error.context("the copy is not finished; run the same command to go on"),
    })?;
    closed?;
    print!("{}", text(&report));
    for difference in &report.differences {
        eprintln!("difference: {difference}");
    }
    if report.differences.is_empty() {
        println!("{} positions moved; both sides are the same", report.positions);
        return Ok(ExitCode::SUCCESS);
    }
    println!("the copy differs from its source: delete it, and begin again");
    Ok(ExitCode::FAILURE)
}

/// The configuration of what `to` names.
fn destination(to: &str, config: &Config) -> anyhow::Result<Config> {
    let mut there = config.clone();
    match to.split_once("://") {
        Some(("fluvio", endpoint)) if !endpoint.is_empty() && !endpoint.contains('/') => {
            if config.streams.backend == Backend::Fluvio && config.fluvio.endpoint == endpoint {
                bail!("--to {to}: that is where the streams are; expected another place");
            }
            there.streams.backend = Backend::Fluvio;
            there.fluvio.endpoint = endpoint.to_owned();
        }
        None if !to.is_empty() => {
            if config.streams.backend == Backend::Embedded && absolute(Path::new(to))? == absolute(&config.data.dir)? {
                bail!("--to {to}: that is where the streams are; expected another place");
            }
            there.streams.backend = Backend::Embedded;
            there.data.dir = PathBuf::from(to);
        }
        _ => bail!("--to {to}: expected fluvio://HOST:PORT or a directory"),
    }
    Ok(there)
}

/// What the source is called, always the same.
fn origin(config: &Config) -> anyhow::Result<String> {
    Ok(match config.streams.backend {
        Backend::Embedded => absolute(&config.data.dir)?.join("log").display().to_string(),
        Backend::Fluvio => format!("fluvio://{}/{}", config.fluvio.endpoint, config.fluvio.topic_prefix),
    })
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    // One that is not there yet has no canonical path.
    path.canonicalize().or_else(|_| std::path::absolute(path)).with_context(|| path.display().to_string())
}

fn names(arguments: &CopyTo, source: &dyn Streams) -> anyhow::Result<Vec<StreamName>> {
    if arguments.streams.is_empty() {
        return Ok(source.specs().iter().map(|spec| spec.name.clone()).collect());
    }
    let name = |text: &String| {
        let known = source.specs().iter().find(|spec| spec.name.as_str() == text);
        known.map(|spec| spec.name.clone()).with_context(|| format!("--streams {text}: there is no such stream"))
    };
    arguments.streams.iter().map(name).collect()
}

fn text(report: &Report) -> String {
    let row = |moved: &Moved| {
        let tally = moved.tally;
        let numbers = [moved.offsets.start, moved.offsets.end, tally.records, tally.rows, tally.bytes];
        let [first, end, records, rows, bytes] = numbers.map(|number| number.to_string());
        let (partition, checksum) = (moved.partition.to_string(), format!("{:08x}", tally.checksum));
        let same = if moved.same { "yes" } else { "NO" }.to_owned();
        [partition, first, end, records, rows, bytes, checksum, same]
    };
    let titles = ["partition", "first", "end", "records", "rows", "bytes", "crc32c", "same"];
    table::text(titles, &report.partitions.iter().map(row).collect::<Vec<_>>())
}
