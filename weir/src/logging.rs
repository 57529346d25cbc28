//! Logs go to stderr; stdout is for results. `RUST_LOG` chooses what is shown.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Libraries that tell of every connection.
const TALKATIVE: &str = "fluvio=warn,fluvio_socket=warn";

/// Starts the log: a service tells what it does, a command for a person only what is wrong.
pub(crate) fn start(service: bool) {
    let level = if service { "info" } else { "warn" };
    // What a person asks for comes last, and goes before.
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::builder().parse_lossy(format!("{level},{TALKATIVE},{asked}"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    log.init();
}
