//! What one fdatasync costs on this disk: the floor under every acknowledgement.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use telemetry::Clock;

const ROUNDS: usize = 2_000;
const BLOCK: [u8; 4096] = [0xA5; 4096];
/// Between two rounds beside other work: rare enough to leave the disk to it.
const PAUSE: Duration = Duration::from_millis(10);

/// Times of one fdatasync after an append of 4 KiB, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Fdatasync {
    pub(super) p50_microseconds: u64,
    pub(super) p99_microseconds: u64,
}

/// Measures in `directory`, with nothing else going on.
pub(super) fn alone(directory: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Fdatasync> {
    let mut probe = Probe::new(directory, clock)?;
    for _ in 0..ROUNDS {
        probe.round().context("fdatasync")?;
    }
    Ok(probe.finish())
}

/// Measures in `directory` while `work` goes on.
pub(super) async fn beside<T>(
    directory: &Path,
    clock: &Arc<dyn Clock>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Fdatasync)> {
    let mut probe = Probe::new(directory, clock)?;
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok((done?, probe.finish())),
            () = tokio::time::sleep(PAUSE) => {
                probe = tokio::task::spawn_blocking(|| probe.round().map(|()| probe)).await?.context("fdatasync")?;
            }
        }
    }
}

struct Probe {
    file: File,
    clock: Arc<dyn Clock>,
    times: Vec<u64>,
}

impl Probe {
    fn new(directory: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let path = directory.join("fdatasync");
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self { file, clock: clock.clone(), times: Vec::new() })
    }

    fn round(&mut self) -> io::Result<()> {
        self.file.write_all(&BLOCK)?;
        let start = self.clock.monotonic();
        self.file.sync_data()?;
        let time = self.clock.monotonic().saturating_sub(start);
        self.times.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn finish(mut self) -> Fdatasync {
        self.times.sort_unstable();
        let at = |share: usize| self.times.get(self.times.len() * share / 100).copied().unwrap_or_default();
        Fdatasync { p50_microseconds: at(50), p99_microseconds: at(99) }
    }
}
