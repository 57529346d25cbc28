//! CPU and memory of a child process, from /proc.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use procfs::process::Process;
use tokio::process::Child;

const POLL: Duration = Duration::from_millis(50);

/// What a child used from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) peak_bytes: u64,
}

/// Waits for `child` to exit successfully and says what it used. No other child may end meanwhile.
pub(super) async fn usage_until_exit(child: &mut Child, name: &str) -> anyhow::Result<Usage> {
    let before = children_cpu_seconds()?;
    let mut peak_bytes = 0;
    let status: ExitStatus = loop {
        // Read while it lives: /proc forgets the peak at the exit.
        if let Some(bytes) = child.id().and_then(peak_of) {
            peak_bytes = bytes;
        }
        if let Some(status) = child.try_wait().context("waiting for a child")? {
            break status;
        }
        tokio::time::sleep(POLL).await;
    };
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(Usage { cpu_seconds: children_cpu_seconds()? - before, peak_bytes })
}

/// CPU that a process has used so far.
///
/// # Errors
/// If there is no such process.
pub(super) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = i32::try_from(pid).map(|pid| Process::new(pid).and_then(|process| process.stat()));
    let stat = stat.with_context(|| format!("process {pid}"))?.with_context(|| format!("process {pid}"))?;
    Ok(seconds(stat.utime + stat.stime))
}

/// CPU that this process has used so far.
///
/// # Errors
/// If the system does not tell.
pub(super) fn own_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds(std::process::id())
}

/// CPU of all children waited for so far.
fn children_cpu_seconds() -> anyhow::Result<f64> {
    let stat = Process::myself().and_then(|process| process.stat()).context("/proc/self/stat")?;
    Ok(seconds(stat.cutime.saturating_add(stat.cstime).unsigned_abs()))
}

#[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark fit a double")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

fn peak_of(pid: u32) -> Option<u64> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    process.status().ok()?.vmhwm.map(|kibibytes| kibibytes * 1024)
}
