//! `weir simulate`: the devices, with their ledger and the file of everything they sent.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use rustix::process::Signal;

use crate::clock;
use crate::process::Process;
use crate::weir::Weir;

/// How long devices may take, once no fault comes any more, until everything is acknowledged.
const DRAIN: Duration = Duration::from_secs(90);

/// Which devices.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many.
    pub(crate) devices: u32,
    /// Messages a second of all together, of five readings each.
    pub(crate) rate: f64,
    /// Seed of their values.
    pub(crate) seed: u64,
    /// More options of `weir simulate`.
    pub(crate) options: Vec<String>,
}

/// Whether devices can take commands and write them down: an option of `weir simulate`.
///
/// # Errors
/// If the binary cannot be started.
pub(crate) fn commands(binary: &Path) -> anyhow::Result<bool> {
    let output = Command::new(binary).args(["simulate", "--help"]).output().context("start weir simulate")?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("--commands "))
}

/// A running fleet; killed when dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    process: Process,
}

impl Fleet {
    /// Starts it towards `mqtt`, with its files in `directory`.
    pub(crate) fn start(binary: &Path, plan: &Plan, mqtt: SocketAddr, directory: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.args(["simulate", "--mqtt", &mqtt.to_string(), "--devices", &plan.devices.to_string()]);
        command.args(["--rate", &plan.rate.to_string(), "--seed", &plan.seed.to_string()]);
        command.args(["--drain", &format!("{}s", DRAIN.as_secs())]);
        command.arg("--ledger").arg(directory.join("ledger.csv")).arg("--sent").arg(directory.join("sent.csv"));
        command.args(&plan.options).env("RUST_LOG", "error");
        Ok(Self { process: Process::start(&mut command, &directory.join("fleet.log"))? })
    }

    /// Ends it once everything it published is acknowledged, by `weir`.
    ///
    /// # Errors
    /// If something stays without an acknowledgement: Weir does not take it although no fault comes any more, or
    /// ends by itself.
    pub(crate) fn finish(&mut self, weir: &mut Weir) -> anyhow::Result<()> {
        ensure!(self.process.exited()?.is_none(), "the fleet ended by itself: {}", self.process.last_words());
        self.process.signal(Signal::TERM);
        let ended = clock::wait_for(DRAIN * 2, || match (self.process.exited(), weir.exited()) {
            (Ok(Some(status)), _) => Some(Ok(status)),
            (Err(error), _) | (_, Err(error)) => Some(Err(error)),
            (_, Ok(Some(status))) => Some(Err(anyhow!("weir ended by itself ({status}): {}", weir.last_words()))),
            (Ok(None), Ok(None)) => None,
        });
        match ended.transpose()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the fleet is not acknowledged ({status}): {}", self.process.last_words()),
            None => bail!("the fleet does not end: {}", self.process.last_words()),
        }
    }
}
