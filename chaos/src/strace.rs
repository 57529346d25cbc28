//! System calls that fail, hang, lie or kill: strace as a wrapper of `weir up`.
//!
//! strace counts calls in each thread by itself: the `n`-th call is that of the first thread that gets there.
//! Where one thread does the work, as in the log, that is every call; of a pool of threads some calls share
//! their `n`, and are hit only when their thread comes first.

mod recorded;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) use self::recorded::{Site, hits, sites};

/// A change of files or of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    /// Writes at a position: the log, the position store.
    Pwrite,
    /// Writes at the end: Parquet, the Delta log.
    Write,
    /// Syncs without times.
    Fdatasync,
    /// Syncs of files and directories.
    Fsync,
    Rename,
    Link,
    Open,
    Truncate,
    Unlink,
    Mkdir,
}

impl Call {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self::Pwrite,
        Self::Write,
        Self::Fdatasync,
        Self::Fsync,
        Self::Rename,
        Self::Link,
        Self::Open,
        Self::Truncate,
        Self::Unlink,
        Self::Mkdir,
    ];

    /// The system calls that do it, on any machine.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Pwrite => &["pwrite64"],
            Self::Write => &["write"],
            Self::Fdatasync => &["fdatasync"],
            Self::Fsync => &["fsync"],
            Self::Rename => &["rename", "renameat", "renameat2"],
            Self::Link => &["link", "linkat"],
            Self::Open => &["open", "openat"],
            Self::Truncate => &["ftruncate"],
            Self::Unlink => &["unlink", "unlinkat"],
            Self::Mkdir => &["mkdir", "mkdirat"],
        }
    }

    /// As strace wants them: those that a machine does not have are passed over.
    fn set(self) -> String {
        self.names().iter().map(|name| format!("?{name}")).collect::<Vec<_>>().join(",")
    }
}

/// What happens instead of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It fails: the device is broken.
    Eio,
    /// It fails: the device is full.
    NoSpace,
    /// It succeeds, later.
    Slow(Duration),
    /// Nothing, and success is reported.
    Lie,
    /// SIGKILL, before it.
    Kill,
}

impl Effect {
    /// Name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Eio => "EIO",
            Self::NoSpace => "ENOSPC",
            Self::Slow(_) => "slow",
            Self::Lie => "lie",
            Self::Kill => "kill",
        }
    }

    fn action(self) -> String {
        match self {
            Self::Eio => "error=EIO".to_owned(),
            Self::NoSpace => "error=ENOSPC".to_owned(),
            Self::Slow(delay) => format!("delay_enter={}", delay.as_micros()),
            Self::Lie => "retval=0".to_owned(),
            Self::Kill => "signal=KILL".to_owned(),
        }
    }
}

/// A fault of some system calls.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub(crate) calls: Vec<Call>,
    pub(crate) effect: Effect,
    /// The n-th of each thread, from 1; all of them without.
    pub(crate) nth: Option<u32>,
    /// Only calls with one of these files; any file without. They need not exist yet.
    pub(crate) paths: Vec<PathBuf>,
}

impl Injection {
    /// What stands before the program; the calls that are looked at are written to `trace`.
    pub(crate) fn wrapper(&self, trace: &Path) -> Vec<OsString> {
        let set = self.calls.iter().map(|call| call.set()).collect::<Vec<_>>().join(",");
        let nth = self.nth.map(|nth| format!(":when={nth}")).unwrap_or_default();
        // A signal would get lost at the stop that a seccomp filter makes.
        let mut words = strace(trace, self.effect != Effect::Kill, &set);
        words.extend(["-e".into(), format!("inject={set}:{}{nth}", self.effect.action()).into()]);
        for path in &self.paths {
            words.extend(["-P".into(), path.into()]);
        }
        words
    }
}

/// What stands before the program so that all its changes of files are written to `trace`, for [`sites`].
pub(crate) fn recorder(trace: &Path) -> Vec<OsString> {
    strace(trace, true, &Call::ALL.iter().map(|call| call.set()).collect::<Vec<_>>().join(","))
}

/// Why there is no strace.
///
/// # Errors
/// The text says what is missing.
pub(crate) fn available() -> Result<(), String> {
    let mut command = Command::new("strace");
    // The options as they are used: old ones lack the filter, some containers forbid tracing.
    let output = command.args(["-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync", "true"]).output();
    match output {
        Ok(output) if output.status.success() && output.stderr.is_empty() => Ok(()),
        Ok(output) => Err(format!("strace: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("strace: {error}")),
    }
}

/// As a grandchild (`-D`), so that the program is our own child; with the paths of descriptors, without contents.
fn strace(trace: &Path, filter: bool, set: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["strace", "-D", "-f", "-y", "-q", "-q", "-s", "0", "-e", "signal=none", "-o"]
        .into_iter()
        .map(OsString::from)
        .collect();
    words.push(trace.into());
    words.extend(filter.then(|| "--seccomp-bpf".into()));
    words.extend(["-e".into(), format!("trace={set}").into()]);
    words
}

#[cfg(test)]
mod tests;
