//! Runs `weir` as a child process, on free ports, in a directory of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

pub(crate) fn weir() -> Command {
    let binary = std::env::var_os("WEIR_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_weir")), PathBuf::from);
    let mut command = Command::new(binary);
    command.env("RUST_LOG", "warn").stdin(Stdio::null());
    command
}

/// The Python that has duckdb, pyarrow, deltalake, polars, pandas and paho-mqtt.
pub(crate) fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("WEIR_PYTHON").map_or_else(|| root.join("../.venv/bin/python"), PathBuf::from);
    let mut command = Command::new(python);
    command.arg(root.join("tests/python").join(script));
    command
}

/// The output of `command`, which must succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// The last line of stdout, as JSON.
pub(crate) fn last_json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.trim_end().lines().last().unwrap()).unwrap()
}

pub(crate) fn free_address() -> SocketAddr {
    crate::ports::free_address().unwrap()
}

/// A running `weir up`; killed when dropped.
pub(crate) struct Up {
    child: Child,
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Up {
    /// Starts it on `mqtt`, with files each second, and waits until it is ready.
    pub(crate) fn start(data: &Path, mqtt: SocketAddr, rules: Option<&Path>) -> Self {
        Self::start_with(data, mqtt, rules, &[])
    }

    /// As [`Up::start`], with more settings in the environment.
    pub(crate) fn start_with(
        data: &Path,
        mqtt: SocketAddr,
        rules: Option<&Path>,
        environment: &[(&str, &str)],
    ) -> Self {
        let http = free_address();
        let mut command = weir();
        command.arg("up").arg("--data").arg(data);
        command.args(["--mqtt", &mqtt.to_string(), "--http", &http.to_string()]);
        command.env("WEIR_SINK__ROLL_AGE_SECONDS", "1.0").env("WEIR_CONSUMERS__COMMIT_INTERVAL_SECONDS", "0.5");
        command.envs(environment.iter().copied());
        if let Some(rules) = rules {
            command.arg("--rules").arg(rules);
        }
        let mut up = Self { child: command.spawn().unwrap(), mqtt, http };
        until("weir up is ready", || {
            assert!(up.child.try_wait().unwrap().is_none(), "weir up ended at its start");
            get(http, "/readyz").is_some_and(|response| response.starts_with("HTTP/1.1 200"))
        });
        up
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it by SIGTERM, and checks that it ended well.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut status = None;
        until("weir up has stopped", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{status:?}");
    }

    /// Asks it to read its rules again.
    pub(crate) fn hangup(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// Value of the metric series that begins with `series`.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let metrics = get(self.http, "/metrics")?;
        let line = metrics.lines().find(|line| line.starts_with(series))?;
        line.rsplit(' ').next()?.trim().parse().ok()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
        if condition() {
            return;
        }
        pause(POLL);
    }
    panic!("not within {PATIENCE:?}: {what}");
}

/// Lets time pass: nothing can be waited for where a fault must come at a moment of its own.
pub(crate) fn pause(time: Duration) {
    let (_sender, receiver) = mpsc::sync_channel::<()>(1);
    assert_eq!(receiver.recv_timeout(time), Err(mpsc::RecvTimeoutError::Timeout));
}

/// The data files of `table`, in no order; the log has Parquet files of its own.
pub(crate) fn parquet_files(table: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![table.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "_delta_log") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    files
}
