//! Child processes: started in a group of their own, ended for sure.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::clock;

/// How long a killed process may take to vanish.
const VANISH: Duration = Duration::from_secs(20);
/// Bytes of a log that an error shows.
const TAIL_BYTES: i64 = 2_000;

/// A child and what it starts; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own; what it says goes to the end of `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let append =
            || OpenOptions::new().create(true).append(true).open(log).with_context(|| log.display().to_string());
        command.stdin(Stdio::null()).stdout(append()?).stderr(append()?).process_group(0);
        let child = command.spawn().with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The child's id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The process that does the work: the child of a wrapper such as strace, else the child itself.
    pub(crate) fn worker(&self) -> Pid {
        self.children().first().copied().unwrap_or_else(|| self.pid())
    }

    /// Sends a signal to the process that does the work. It may have ended: that is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.worker(), signal).ok();
    }

    /// How the child ended, if it has.
    pub(crate) fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("wait for a child")
    }

    /// Waits for the end; `None` after `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        clock::wait_for(patience, || self.exited().transpose()).transpose()
    }

    /// Kills the whole group, and returns when nothing of it runs any more.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        let children = self.children();
        // Errors mean that it has ended already.
        kill_process_group(self.pid(), Signal::KILL).ok();
        self.child.wait().context("wait for a killed child")?;
        let gone = |pid: &Pid| !runs(*pid);
        clock::wait_for(VANISH, || children.iter().all(gone).then_some(())).context("a killed process does not vanish")
    }

    /// The end of what it said, for an error.
    pub(crate) fn last_words(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    fn children(&self) -> Vec<Pid> {
        let id = self.pid().as_raw_nonzero();
        let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Whether a process still holds anything: a zombie does not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The state follows the name, which is in parentheses and may hold anything.
    stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}

fn tail(path: &Path) -> anyhow::Result<String> {
    let mut file = File::open(path)?;
    let length = i64::try_from(file.metadata()?.len())?;
    file.seek(SeekFrom::End(-length.min(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
