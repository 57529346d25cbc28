//! `weir explain`: the way of one message.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use processors::workflows::StoppedRuns;
use telemetry::Clock;

use crate::admin::AdminClient;
use crate::admin::client::with_query;
use crate::config::{Backend, Config};
use crate::explain::view::{Explanation, Who};
use crate::explain::{self, Bounds, Runs, Sources, Tables, text};
use crate::wiring::open_streams;

/// `weir explain`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Explain {
    /// Ask the weir that runs with its HTTP port at this address [default: open what the configuration names, and ask at
    /// http.listen if a weir has it]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Device that sent it
    #[arg(long, value_name = "ID")]
    device: String,
    /// Restart counter of the device
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    boot: i64,
    /// Number of the message since that restart
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seq: i64,
    /// Table of readings to look into, e.g. weir-data/tables/readings, with that of alerts beside it [default: in the data
    /// directory of the process]
    #[arg(long, value_name = "DIR")]
    table: Option<PathBuf>,
    /// Print it as one JSON line
    #[arg(long)]
    json: bool,
}

/// Runs the command. The exit code is 1 unless the message is stored once, on its way, or refused.
pub(crate) async fn run(arguments: &Explain, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let explanation = match arguments.http {
        Some(_) => ask(arguments, config, &clock).await?,
        None => match open(arguments, config, &clock).await {
            Err(error) if is_locked(&error) => ask(arguments, config, &clock)
                .await
                .context("a weir runs on these streams: name its HTTP address with --http, or stop it")?,
            explained => explained?,
        },
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&explanation)?);
    } else {
        print!("{}", text::text(&explanation)?);
    }
    Ok(if explanation.verdict.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks a process that runs. Tables that it does not have are looked into from here.
async fn ask(arguments: &Explain, config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Explanation> {
    let client = AdminClient::new(arguments.http.unwrap_or(config.http.listen));
    let (boot, seq) = (arguments.boot.to_string(), arguments.seq.to_string());
    let parameters = [("device", Some(arguments.device.as_str())), ("boot", Some(&*boot)), ("seq", Some(&*seq))];
    let mut explanation: Explanation = client.get(&with_query("/api/v1/explain", &parameters)).await?;
    if let Some(table) = &arguments.table {
        explain::look_into(&mut explanation, &Tables::beside(table), clock.clone()).await?;
    }
    Ok(explanation)
}

/// Looks into what the configuration names, while nothing runs on it.
async fn open(arguments: &Explain, config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Explanation> {
    let data = &config.data.dir;
    let log = data.join("log");
    if config.streams.backend == Backend::Embedded && !log.join("manifest").exists() {
        bail!("there are no streams in {}: name the data directory with WEIR_DATA__DIR or --config", log.display());
    }
    let open = open_streams(config).await?;
    let sources = Sources {
        streams: open.streams.clone(),
        tables: arguments.table.as_ref().map_or_else(|| Tables::of_data(data), |table| Tables::beside(table)),
        runs: stopped_runs(config).await?,
        letters: None,
        clock: clock.clone(),
    };
    let who = Who { device: arguments.device.clone(), boot: arguments.boot, seq: arguments.seq };
    let explained = explain::explain(&sources, who, Bounds::COMMAND).await;
    drop(sources);
    open.close().await?;
    explained
}

/// The runs in the outbox of the data directory. That it cannot be read is told with each run.
async fn stopped_runs(config: &Config) -> anyhow::Result<Runs> {
    let dir = config.data.dir.clone();
    let read = tokio::task::spawn_blocking(move || StoppedRuns::read(&dir)).await.context("outbox")?;
    Ok(match read {
        Ok(Some(runs)) => Runs::Stopped(Arc::new(runs)),
        Ok(None) => Runs::Elsewhere(format!("there is no outbox of workflows in {}", config.data.dir.display())),
        Err(error) => Runs::Elsewhere(error.to_string()),
    })
}

fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(streams::Error::Locked { .. }))
}
