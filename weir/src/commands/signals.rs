//! When a person or the system asks to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves at Ctrl-C or SIGTERM, as a service wants it: SIGHUP asks for the rules to be read again, and stops nothing
/// where there are none.
pub(crate) async fn stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let _heard = signal(SignalKind::hangup()).context("SIGHUP")?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.context("SIGINT"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Resolves at Ctrl-C, SIGTERM or SIGHUP (a terminal that closes), as what runs for a person wants it.
pub(crate) async fn stop_or_hangup() -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
    tokio::select! {
        stopped = stop() => stopped,
        _ = hangup.recv() => Ok(()),
    }
}
