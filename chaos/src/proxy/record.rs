//! What the proxy saw: the file of acknowledgements, and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use anyhow::Context;

use super::identity::Identity;
use super::plan::Fault;
use crate::clock;
use crate::latencies::Latencies;

/// Bytes between two writes to the file.
const BUFFER: usize = 64 * 1024;
/// Devices that are named for each kind of trouble.
const NAMED: usize = 100;

/// What a proxy saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    /// Connections of devices.
    pub(crate) connections: u64,
    /// Of these, closed at once because the server did not take them.
    pub(crate) refused: u64,
    /// PUBLISH packets at QoS 1 that passed.
    pub(crate) publishes: u64,
    /// PUBACK packets that passed.
    pub(crate) pubacks: u64,
    /// Of these, not in the file because their message says neither boot nor seq.
    pub(crate) unidentified: u64,
    /// PUBACK packets with a reason that means failure (MQTT 5); not among `pubacks`.
    pub(crate) rejected: u64,
    /// PUBACK packets that came before that of an earlier message of the connection, which MQTT forbids.
    pub(crate) disordered: u64,
    /// PUBACK packets for which no message was open. Each is a broken promise.
    pub(crate) stale: u64,
    /// Up to 100 devices that got a stale one.
    pub(crate) stale_devices: BTreeSet<String>,
    /// From the last byte of a message in the socket of the server to the last one of its PUBACK in that of the device.
    pub(crate) latencies: Latencies,
    /// Faults done, by [`Fault::name`]; connections reset by [`super::Proxy::cut_all`] as `connection cut`.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) witness: Witness,
    lines: csv::Writer<File>,
}

impl Record {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut lines = csv::WriterBuilder::new().has_headers(false).buffer_capacity(BUFFER).from_writer(file);
        lines.write_record(["device", "boot", "seq", "passed_at"]).context("write the file of acknowledgements")?;
        Ok(Self { witness: Witness::default(), lines })
    }

    /// An acknowledgement is in the socket of the device, of a message that the server had `since` then; in the file
    /// with the time since the harness's start.
    pub(super) fn passed(&mut self, device: &str, identity: Option<Identity>, since: u64) -> anyhow::Result<()> {
        let now = clock::micros();
        self.witness.pubacks += 1;
        self.witness.latencies.note(now.saturating_sub(since));
        match identity {
            None => self.witness.unidentified += 1,
            Some(Identity { boot, seq }) => {
                self.lines.serialize((device, boot, seq, now)).context("write the file of acknowledgements")?;
            }
        }
        Ok(())
    }

    pub(super) fn stale(&mut self, device: &str) {
        self.witness.stale += 1;
        if self.witness.stale_devices.len() < NAMED {
            self.witness.stale_devices.insert(device.to_owned());
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults(fault.name(), 1);
    }

    pub(super) fn cut(&mut self, connections: u64) {
        if connections > 0 {
            self.faults("connection cut", connections);
        }
    }

    fn faults(&mut self, name: &'static str, count: u64) {
        *self.witness.faults.entry(name).or_default() += count;
    }

    pub(super) fn finish(mut self) -> anyhow::Result<Witness> {
        self.lines.flush().context("write the file of acknowledgements")?;
        Ok(self.witness)
    }
}
