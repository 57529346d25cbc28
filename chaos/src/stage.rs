//! A stage as a process of its own: `weir ingest`, `process`, `workflows`, `sink`, over one cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;

use crate::clock;
use crate::weir::Weir;

/// Which stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The door.
    Ingest,
    /// Rules.
    Process,
    /// The executor of workflows.
    Workflows,
    /// Tables.
    Sink,
}

impl Kind {
    /// The command of `weir`.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::Workflows => "workflows",
            Self::Sink => "sink",
        }
    }
}

/// How one is started; the same each time.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// Which stage.
    pub(crate) kind: Kind,
    /// Options of the command: `--instance 0/2`.
    pub(crate) options: Vec<String>,
    /// Address of its metrics and health.
    pub(crate) http: SocketAddr,
    /// Its settings, `WEIR_SECTION__KEY`; a later one wins.
    pub(crate) environment: Vec<(String, String)>,
    /// Where its log goes, of all starts.
    pub(crate) log: PathBuf,
}

/// A stage that may be dead for a while; killed when dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    plan: Plan,
    weir: Option<Weir>,
}

impl Stage {
    /// One that does not run yet.
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, weir: None }
    }

    /// Which stage it is.
    pub(crate) fn kind(&self) -> Kind {
        self.plan.kind
    }

    /// How it is started.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Starts it, if it is dead, and does not wait: it may have to, for a lease or for the cluster.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        if self.weir.is_some() {
            return Ok(());
        }
        let Plan { binary, kind, options, http, environment, log } = &self.plan;
        let mut command = Command::new(binary);
        command.arg(kind.command()).args(options).env("RUST_LOG", "warn");
        command.env("WEIR_HTTP__LISTEN", format!("\"{http}\""));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        self.weir = Some(Weir::run(&mut command, *http, log)?);
        Ok(())
    }

    /// Starts it, if it is dead, and waits until it is ready: it reaches the cluster and has its partitions.
    ///
    /// # Errors
    /// If it ends instead, with its last words, or takes longer than a minute.
    pub(crate) fn start(&mut self) -> anyhow::Result<Duration> {
        let began = clock::now();
        self.spawn()?;
        let command = self.plan.kind.command();
        self.running_mut()?.wait_ready().with_context(|| format!("weir {command} does not come back"))?;
        Ok(clock::since(began))
    }

    /// Kills it, and returns when it is gone.
    ///
    /// # Errors
    /// If it does not vanish.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.weir.take().map_or(Ok(()), Weir::kill)
    }

    /// Holds it, as a machine does that is suspended.
    ///
    /// # Errors
    /// If it is dead.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        self.running().map(|weir| weir.signal(Signal::STOP))
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it is dead.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.running().map(|weir| weir.signal(Signal::CONT))
    }

    /// The process.
    ///
    /// # Errors
    /// If it is dead.
    pub(crate) fn running(&self) -> anyhow::Result<&Weir> {
        self.weir.as_ref().with_context(|| format!("weir {} is dead", self.plan.kind.command()))
    }

    /// The process.
    ///
    /// # Errors
    /// If it is dead.
    pub(crate) fn running_mut(&mut self) -> anyhow::Result<&mut Weir> {
        self.weir.as_mut().with_context(|| format!("weir {} is dead", self.plan.kind.command()))
    }

    /// How it ended, and its last words, if it ended by itself since somebody asked; then it is dead.
    ///
    /// # Errors
    /// If the system does not tell.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<(ExitStatus, String)>> {
        let Some(weir) = &mut self.weir else { return Ok(None) };
        let ended = weir.exited()?.map(|status| (status, weir.last_words()));
        if ended.is_some() {
            self.weir = None;
        }
        Ok(ended)
    }

    /// Waits until it ends by itself: how, and its last words. `None` after `patience`; then it still runs.
    ///
    /// # Errors
    /// If it is dead already.
    pub(crate) fn ends_within(&mut self, patience: Duration) -> anyhow::Result<Option<(ExitStatus, String)>> {
        let weir = self.running_mut()?;
        let ended = weir.wait(patience)?.map(|status| (status, weir.last_words()));
        if ended.is_some() {
            self.weir = None;
        }
        Ok(ended)
    }

    /// Stops it well.
    ///
    /// # Errors
    /// If it fails, or takes too long.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let stopped = self.weir.take().map_or(Ok(()), Weir::stop);
        stopped.with_context(|| format!("stop of weir {}", self.plan.kind.command()))
    }
}
