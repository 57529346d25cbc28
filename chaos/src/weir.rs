//! `weir up`, or one stage of it, as a process that can be hurt.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};

use crate::clock;
use crate::metrics::Metrics;
use crate::process::Process;

/// How long a start may take before it counts as one that never comes.
const START: Duration = Duration::from_secs(60);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(120);
/// How long an answer over HTTP may take.
const ANSWER: Duration = Duration::from_secs(10);

/// How to start it; the same each time in a round.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// Words in front of the binary, such as strace and its options.
    pub(crate) wrapper: Vec<OsString>,
    /// Its data directory.
    pub(crate) data: PathBuf,
    /// Address of the endpoint.
    pub(crate) mqtt: SocketAddr,
    /// Address of metrics and health.
    pub(crate) http: SocketAddr,
    /// Its rules.
    pub(crate) rules: PathBuf,
    /// More environment: settings `WEIR_SECTION__KEY`, faults.
    pub(crate) environment: Vec<(String, String)>,
    /// Where its log goes, of all starts.
    pub(crate) log: PathBuf,
}

impl Launch {
    /// The same with a setting or a fault more.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A running `weir up`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Weir {
    process: Process,
    http: SocketAddr,
}

impl Weir {
    /// Starts it.
    pub(crate) fn spawn(launch: &Launch) -> anyhow::Result<Self> {
        let mut words = launch.wrapper.iter().map(OsString::as_os_str).chain([launch.binary.as_os_str()]);
        let mut command = Command::new(words.next().context("nothing to start")?);
        command.args(words).arg("up").arg("--data").arg(&launch.data);
        command.args(["--mqtt", &launch.mqtt.to_string(), "--http", &launch.http.to_string()]);
        command.arg("--rules").arg(&launch.rules);
        command.env("RUST_LOG", "warn").envs(launch.environment.iter().map(|(name, value)| (name, value)));
        Self::run(&mut command, launch.http, &launch.log)
    }

    /// Starts what `command` says, which serves its health at `http`; what it says goes to the end of `log`.
    pub(crate) fn run(command: &mut Command, http: SocketAddr, log: &Path) -> anyhow::Result<Self> {
        Ok(Self { process: Process::start(command, log)?, http })
    }

    /// Starts it and waits until it is ready; gives how long that took.
    ///
    /// # Errors
    /// If it ends instead, with its last words, or takes longer than a minute.
    pub(crate) fn start(launch: &Launch) -> anyhow::Result<(Self, Duration)> {
        let began = clock::now();
        let mut weir = Self::spawn(launch)?;
        weir.wait_ready()?;
        Ok((weir, clock::since(began)))
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// As for [`Weir::start`].
    pub(crate) fn wait_ready(&mut self) -> anyhow::Result<()> {
        let ready = clock::wait_for(START, || match self.process.exited() {
            Err(error) => Some(Err(error)),
            Ok(Some(status)) => Some(Err(anyhow::anyhow!("weir ended at its start ({status}): {}", self.last_words()))),
            Ok(None) => get(self.http, "/readyz").filter(|answer| answer.starts_with("HTTP/1.1 200")).map(|_| Ok(())),
        });
        ready.with_context(|| format!("weir is not ready within {START:?}: {}", self.last_words()))?
    }

    /// Kills it, and returns when it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Process id of `weir` itself.
    pub(crate) fn pid(&self) -> Pid {
        self.process.worker()
    }

    /// Address of its metrics, health and API.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.exited()
    }

    /// Waits until it ends by itself; `None` after `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        self.process.wait(patience)
    }

    /// Stops it: afterwards everything acknowledged is in the table.
    ///
    /// # Errors
    /// If it fails, or takes too long.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::TERM);
        match self.process.wait(STOP)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("weir did not stop well ({status}): {}", self.last_words()),
            None => bail!("weir does not stop within {STOP:?}: {}", self.last_words()),
        }
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Sum of the metric series that begin with `series`; `None` if there is none.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        self.metrics()?.sum(series)
    }

    /// All metrics as they are now; `None` if it does not answer.
    pub(crate) fn metrics(&self) -> Option<Metrics> {
        get(self.http, "/metrics").map(Metrics)
    }
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
