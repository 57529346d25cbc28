//! A second subscriber of the broker, `mosquitto_sub`: what it got, the broker had and passed on.
//!
//! It writes a line for each message as it comes, topic and payload in hexadecimal, and is not killed: it
//! acknowledges a message a moment before it writes the line. Across restarts of the broker it has its session, and
//! may get messages again.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rustix::process::Signal;

use crate::clock;
use crate::mosquitto::Programs;
use crate::process::Process;
use crate::proxy::Identity;

/// File of what it saw, for the judge.
pub(crate) const FILE: &str = "witness.csv";
/// How long it may take to subscribe, to get the last message, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Level of the topic that names the device, as the fleet publishes: `{site}/{device_id}/telemetry`.
const DEVICE_LEVEL: usize = 1;

/// A running subscriber; killed when dropped.
#[derive(Debug)]
pub(crate) struct Witness {
    process: Process,
    programs: Programs,
    address: SocketAddr,
    lines: PathBuf,
    directory: PathBuf,
}

impl Witness {
    /// Subscribes to everything at the broker at `address`, and begins to write down what comes.
    ///
    /// # Errors
    /// If the broker does not take the subscription.
    pub(crate) fn start(programs: &Programs, address: SocketAddr, directory: &Path) -> anyhow::Result<Self> {
        let command = || {
            let mut command = Command::new(&programs.mosquitto_sub);
            command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
            command.args(["-i", "witness", "-c", "-q", "1", "-t", "#", "--quiet"]);
            command
        };
        // It ends when it has subscribed; its session stays, and misses nothing from now on.
        let mut once = Process::start(command().arg("-E"), &directory.join("subscribed.log"))?;
        let subscribed = once.wait(PATIENCE)?.is_some_and(|status| status.success());
        ensure!(subscribed, "mosquitto_sub does not subscribe: {}", once.last_words());
        let lines = directory.join("witness.txt");
        let process = Process::start(command().args(["-F", "%t %x"]), &lines)?;
        Ok(Self { process, programs: programs.clone(), address, lines, directory: directory.to_owned() })
    }

    /// Sends a message that the broker gives to every subscriber behind all it took before.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub(crate) fn mark(&self, topic: &str, payload: &str) -> anyhow::Result<()> {
        let mut command = Command::new(&self.programs.mosquitto_pub);
        command.args(["-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        command.args(["-q", "1", "-t", topic, "-m", payload]);
        let output = command.output().context("start mosquitto_pub")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mosquitto_pub ({}): {words}", output.status);
        Ok(())
    }

    /// Waits for the message with `payload` to come, ends, and writes [`FILE`]. Gives how many messages came that say
    /// which they are, those that came again included.
    ///
    /// # Errors
    /// If it does not come, or what came is not to be understood.
    pub(crate) fn finish(mut self, payload: &str) -> anyhow::Result<u64> {
        let end = hex(payload.as_bytes());
        let came = clock::wait_for(PATIENCE, || match self.process.exited() {
            Err(error) => Some(Err(error)),
            Ok(Some(status)) => Some(Err(anyhow!("the witness ended by itself ({status})"))),
            Ok(None) => self.process.last_words().lines().any(|line| line.ends_with(&end)).then_some(Ok(())),
        });
        came.with_context(|| format!("the witness does not get the last message within {PATIENCE:?}"))??;
        self.process.signal(Signal::TERM);
        self.process.wait(PATIENCE)?.context("the witness does not end")?;
        translate(&self.lines, &self.directory.join(FILE))
    }
}

/// Reads lines `TOPIC HEX` from `from`, and writes which messages they are to `to`, in the order they came.
fn translate(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let file = File::open(from).with_context(|| from.display().to_string())?;
    let mut written = csv::Writer::from_path(to).with_context(|| to.display().to_string())?;
    written.write_record(["device", "boot", "seq"])?;
    let mut messages = 0;
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| from.display().to_string())?;
        let (topic, payload) = line.rsplit_once(' ').with_context(|| format!("the witness wrote `{line}`"))?;
        let payload = bytes(payload).with_context(|| format!("the witness wrote `{line}`"))?;
        // Marks say nothing of the kind.
        if let Some((device, Identity { boot, seq })) = topic.split('/').nth(DEVICE_LEVEL).zip(Identity::of(&payload)) {
            written.serialize((device, boot, seq))?;
            messages += 1;
        }
    }
    written.flush().with_context(|| to.display().to_string())?;
    Ok(messages)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a text of [`hex`]; `None` for another text.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    hex.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_payload_goes_through_hexadecimal_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&hex(&all)), Some(all));
        assert_eq!((bytes("7"), bytes("7g"), bytes("")), (None, None, Some(Vec::new())));
    }

    #[test]
    fn lines_become_the_messages_that_they_are_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("witness.txt"), folder.path().join(FILE));
        let line = |topic, payload: &str| format!("{topic} {}\n", hex(payload.as_bytes()));
        let flat = r#"{"device_id":"a","boot":2,"seq":7,"x":1}"#;
        let senml = r#"[{"bn":"b:","n":"boot","v":3},{"n":"seq","v":1},{"n":"x","v":1}]"#;
        let text =
            [line("s/a/telemetry", flat), line("s/b/telemetry", senml), line("s/a/telemetry", flat), line("m", "{}")];
        fs::write(&from, text.concat()).unwrap();
        assert_eq!(translate(&from, &to).unwrap(), 3);
        assert_eq!(fs::read_to_string(&to).unwrap(), "device,boot,seq\na,2,7\nb,3,1\na,2,7\n");
    }

    #[test]
    fn a_line_cut_short_is_not_taken_for_another_message() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("witness.txt"), folder.path().join(FILE));
        for text in ["s/a/telemetry 7b2", "telemetry", "s/a/telemetry 7bxx\n"] {
            fs::write(&from, text).unwrap();
            assert!(translate(&from, &to).is_err(), "{text}");
        }
    }
}
