//! When a person or the system asks to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves at Ctrl-C, SIGTERM or SIGHUP (a terminal that closes).
pub(crate) async fn stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.context("SIGINT"),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}
