//! Mosquitto, for as long as it is measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

use crate::bench::process;
use crate::bench::scenario::listening;
use crate::ports::free_address;

/// Where Debian has it, and others; paths of users often lack the first one.
const DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

/// Messages that may be without acknowledgement, of a bare subscriber as of the bridge.
pub(super) const IN_FLIGHT: u16 = 1024;

/// A running broker; killed when dropped.
#[derive(Debug)]
pub(super) struct Mosquitto {
    address: SocketAddr,
    child: Child,
}

/// The program: `given`, or the one of the path.
///
/// # Errors
/// If there is none.
pub(super) fn program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return given.canonicalize().with_context(|| format!("--mosquitto {}", given.display()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(DIRECTORIES.map(PathBuf::from));
    let mut candidates = directories.map(|directory| directory.join("mosquitto"));
    candidates.find(|program| program.is_file()).context("there is no program `mosquitto`, --mosquitto FILE")
}

impl Mosquitto {
    /// Starts it with a configuration of its own in `directory`: nothing is dropped, nothing is written to disk.
    ///
    /// # Errors
    /// If it does not come.
    pub(super) async fn start(program: &Path, directory: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let file = directory.join("mosquitto.conf");
        std::fs::write(&file, configuration(address)).with_context(|| file.display().to_string())?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().with_context(|| program.display().to_string())?;
        listening(address, &mut child).await.context("mosquitto")?;
        Ok(Self { address, child })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU that it has used so far.
    ///
    /// # Errors
    /// If it has ended.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.child.id().context("mosquitto has ended")?).context("mosquitto has ended")
    }
}

fn configuration(address: SocketAddr) -> String {
    format!(
        "listener {} {}\n\
         allow_anonymous true\n\
         persistence false\n\
         set_tcp_nodelay true\n\
         log_dest none\n\
         max_inflight_messages {IN_FLIGHT}\n\
         max_queued_messages 0\n\
         max_queued_bytes 0\n",
        address.port(),
        address.ip()
    )
}
