//! `weir top`.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use telemetry::Clock;

use super::signals;
use crate::config::Config;
use crate::top::{self, View, Watch};

/// Processes that one screen shows.
const MOST_PROCESSES: usize = 32;
/// A process makes a snapshot of its metrics each time that it is asked.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);
/// Cells of a frame that goes to no terminal.
const FRAME: (u16, u16) = (120, 40);

/// The arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct Top {
    /// HTTP addresses of running processes [default: http.listen of the configuration]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    http: Vec<SocketAddr>,
    /// Time between two looks, e.g. 500ms, 1s, 10s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// What to show first
    #[arg(long, value_enum, default_value_t)]
    view: View,
    /// Print one frame as plain text, with the rates of one interval, and end
    #[arg(long)]
    once: bool,
    /// Print the snapshot of each process as one JSON line, and end
    #[arg(long, conflicts_with = "once")]
    json: bool,
    /// Use no colours, as with NO_COLOR in the environment
    #[arg(long)]
    no_color: bool,
}

/// Runs `weir top`. With `--once` and `--json` it fails where a process does not answer.
pub(crate) async fn run(arguments: Top, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let mut addresses = arguments.http;
    if addresses.is_empty() {
        addresses.push(config.http.listen);
    }
    if addresses.len() > MOST_PROCESSES {
        bail!("--http: expected at most {MOST_PROCESSES} addresses, not {}", addresses.len());
    }
    let watch = Watch { addresses, interval: arguments.interval, view: arguments.view };
    if arguments.json {
        return json(&watch).await;
    }
    let is_terminal = std::io::stdout().is_terminal();
    if arguments.once {
        let size = if is_terminal { ratatui::crossterm::terminal::size().context("terminal")? } else { FRAME };
        let (frame, all_answered) = top::once(&watch, size, &clock).await;
        print(&frame)?;
        return Ok(if all_answered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !is_terminal {
        bail!("standard output is not a terminal: --once prints one frame, --json the figures");
    }
    let coloured = !arguments.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    top::live(&watch, coloured, signals::stop_or_hangup(), &clock).await?;
    Ok(ExitCode::SUCCESS)
}

async fn json(watch: &Watch) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for address in &watch.addresses {
        match top::json(*address).await {
            Ok(line) => print(&format!("{line}\n"))?,
            Err(error) => {
                eprintln!("error: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads it has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("stdout"),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = crate::cli::duration(text)?;
    if (SHORTEST..=LONGEST).contains(&interval) { Ok(interval) } else { Err("expected 100ms to 1h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn several_processes_are_named_with_commas() {
        let cli = Cli::try_parse_from(["weir", "top", "--http", "127.0.0.1:1,[::1]:2", "--interval", "500ms"]).unwrap();
        let Command::Top(top) = cli.command else { panic!("not top") };
        assert_eq!(top.http.len(), 2);
        assert_eq!((top.interval, top.view), (Duration::from_millis(500), View::Overview));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace()).map(|_| ()).unwrap_err().to_string();
        for (line, part) in [
            ("weir top --interval 10ms", "100ms to 1h"),
            ("weir top --interval 2h", "100ms to 1h"),
            ("weir top --http nowhere", "nowhere"),
            ("weir top --once --json", "cannot be used with"),
            ("weir top --view rooms", "rooms"),
        ] {
            assert!(parse(line).contains(part), "{line}: {}", parse(line));
        }
    }
}
