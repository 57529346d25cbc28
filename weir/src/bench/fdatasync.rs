//! What one fdatasync costs on this disk: the floor under every acknowledgement.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use telemetry::Clock;

const ROUNDS: usize = 2_000;
const BLOCK: [u8; 4096] = [0xA5; 4096];

/// Times of one fdatasync after an append of 4 KiB, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Fdatasync {
    pub(super) p50_microseconds: u64,
    pub(super) p99_microseconds: u64,
}

/// Measures in `directory`.
pub(super) fn probe(directory: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Fdatasync> {
    let path = directory.join("fdatasync");
    let context = || path.display().to_string();
    let mut file = File::create(&path).with_context(context)?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        file.write_all(&BLOCK).with_context(context)?;
        let start = clock.monotonic();
        file.sync_data().with_context(context)?;
        times.push(u64::try_from(clock.monotonic().saturating_sub(start).as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path).with_context(context)?;
    times.sort_unstable();
    let at = |share: usize| times.get(ROUNDS * share / 100).copied().unwrap_or_default();
    Ok(Fdatasync { p50_microseconds: at(50), p99_microseconds: at(99) })
}
