//! Mosquitto, as a broker between devices and Weir that is stopped and started again.
//!
//! It runs with `deploy/mosquitto.conf`, as users get it; only what belongs to a machine (port, directories, users) is
//! another. It is stopped by SIGTERM, and saves what it holds: what a kill of Mosquitto costs is Mosquitto's affair.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::Signal;

use crate::clock;
use crate::ports::free_address;
use crate::process::Process;

/// Where Debian has servers, which the search path of a user may lack.
const MORE_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// How long a start, and a stop with its last snapshot, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Options that belong to a machine: ours are in their place.
const OF_THE_MACHINE: [&str; 12] = [
    "listener",
    "port",
    "bind_address",
    "persistence_location",
    "log_dest",
    "pid_file",
    "user",
    "allow_anonymous",
    "password_file",
    "acl_file",
    "include_dir",
    "per_listener_settings",
];

/// The programs of Mosquitto.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The broker.
    pub(crate) mosquitto: PathBuf,
    /// The subscriber.
    pub(crate) mosquitto_sub: PathBuf,
    /// The publisher.
    pub(crate) mosquitto_pub: PathBuf,
}

impl Programs {
    /// Finds them in the search path, and where servers are.
    ///
    /// # Errors
    /// The name of the first that is not there.
    pub(crate) fn find() -> Result<Self, &'static str> {
        let program = |name: &'static str| find(name).ok_or(name);
        Ok(Self {
            mosquitto: program("mosquitto")?,
            mosquitto_sub: program("mosquitto_sub")?,
            mosquitto_pub: program("mosquitto_pub")?,
        })
    }
}

/// A broker; it may be down for a while, and is killed when dropped.
#[derive(Debug)]
pub(crate) struct Mosquitto {
    program: PathBuf,
    address: SocketAddr,
    configuration: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Mosquitto {
    /// Starts one with its files in `directory`, and waits until it takes connections.
    ///
    /// # Errors
    /// If it does not start, with its last words.
    pub(crate) fn start(programs: &Programs, directory: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/mosquitto.conf");
        let text = fs::read_to_string(&shipped).with_context(|| shipped.display().to_string())?;
        let store = directory.join("mosquitto");
        fs::create_dir_all(&store).with_context(|| store.display().to_string())?;
        let configuration = directory.join("mosquitto.conf");
        fs::write(&configuration, adapted(&text, address, &store))
            .with_context(|| configuration.display().to_string())?;
        let log = directory.join("mosquitto.log");
        let mut broker = Self { program: programs.mosquitto.clone(), address, configuration, log, process: None };
        broker.resume()?;
        Ok(broker)
    }

    /// Where it listens, whenever it runs.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it by SIGTERM: it saves what it holds.
    ///
    /// # Errors
    /// If it fails, or takes too long.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::TERM);
        match process.wait(PATIENCE)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("mosquitto did not stop well ({status}): {}", process.last_words()),
            None => bail!("mosquitto does not stop within {PATIENCE:?}: {}", process.last_words()),
        }
    }

    /// Starts it again, with what it saved, and waits until it takes connections.
    ///
    /// # Errors
    /// If it ends instead, or takes too long.
    pub(crate) fn resume(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.configuration);
        let process = self.process.insert(Process::start(&mut command, &self.log)?);
        let listens = clock::wait_for(PATIENCE, || match process.exited() {
            Err(error) => Some(Err(error)),
            Ok(Some(status)) => Some(Err(anyhow!("mosquitto ended at its start ({status}): {}", process.last_words()))),
            Ok(None) => TcpStream::connect(self.address).ok().map(|_| Ok(())),
        });
        listens.with_context(|| format!("mosquitto takes no connection within {PATIENCE:?}"))?
    }
}

/// `text` for this machine: a listener at `address`, and its store in `store`.
fn adapted(text: &str, address: SocketAddr, store: &Path) -> String {
    let option = |line: &&str| line.split_whitespace().next().is_some_and(|word| OF_THE_MACHINE.contains(&word));
    let kept = text.lines().filter(|line| !option(line)).map(|line| format!("{line}\n"));
    // The listener first: options of a listener, such as `max_connections`, follow it.
    let listener = format!("listener {} {}\n", address.port(), address.ip());
    // Its store must end with a slash. It gives up the rights of root for another user if it is not told to stay.
    let ours = format!("persistence_location {}/\nlog_dest stderr\nuser root\nallow_anonymous true\n", store.display());
    [listener].into_iter().chain(kept).chain([ours]).collect()
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(MORE_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_machine_is_replaced_and_the_rest_stays() {
        let text = "# listener: where\nlistener 1883 127.0.0.1\nmax_connections -1\npersistence true\n\
                    persistence_location /var/lib/mosquitto/\nmax_queued_messages 0\nuser mosquitto\n";
        let found = adapted(text, "127.0.0.1:25000".parse().unwrap(), Path::new("/x/store"));
        assert_eq!(
            found,
            "listener 25000 127.0.0.1\n# listener: where\nmax_connections -1\npersistence true\n\
             max_queued_messages 0\npersistence_location /x/store/\nlog_dest stderr\nuser root\nallow_anonymous true\n"
        );
    }
}
