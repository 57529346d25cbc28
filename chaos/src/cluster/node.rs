//! A process of a cluster.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::Signal;

use crate::clock;
use crate::process::Process;

/// How long a start may take.
const START: Duration = Duration::from_secs(60);
/// How long a stop may take before it is a kill.
const STOP: Duration = Duration::from_secs(20);

/// How it is started; the same each time.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) listens: Vec<SocketAddr>,
    pub(super) log: PathBuf,
}

/// A process that may be dead for a while.
#[derive(Debug)]
pub(crate) struct Node {
    launch: Launch,
    process: Option<Process>,
}

impl Node {
    pub(super) fn new(launch: Launch) -> Self {
        Self { launch, process: None }
    }

    /// Its name in the cluster.
    pub(crate) fn name(&self) -> &str {
        &self.launch.name
    }

    /// Starts it, if it is dead, and waits until it listens.
    ///
    /// # Errors
    /// If it ends instead, or does not come in time.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let mut command = Command::new(&self.launch.program);
        command.args(&self.launch.arguments).env("RUST_LOG", "warn");
        let mut process = Process::start(&mut command, &self.launch.log)?;
        let listening = clock::wait_for(START, || match process.exited() {
            Err(error) => Some(Err(error)),
            Ok(Some(status)) => Some(Err(anyhow!("it ended at its start ({status})"))),
            Ok(None) => {
                let all = self.launch.listens.iter().all(|address| TcpStream::connect(address).is_ok());
                all.then_some(Ok(()))
            }
        });
        let started = listening.unwrap_or_else(|| Err(anyhow!("it does not listen within {START:?}")));
        started.with_context(|| format!("{}: {}", self.launch.name, process.last_words()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills it, and returns when it is gone.
    ///
    /// # Errors
    /// If it does not vanish.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Asks it to end, and kills it if it does not.
    ///
    /// # Errors
    /// If it does not vanish.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::TERM);
        if process.wait(STOP)?.is_none() {
            process.kill()?;
        }
        Ok(())
    }

    /// Holds it: connections stay open, and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// The end of what it said.
    pub(crate) fn last_words(&self) -> String {
        self.process.as_ref().map_or_else(|| format!("{} is dead", self.launch.name), Process::last_words)
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }
}
