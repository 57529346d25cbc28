//! What one connection said in MQTT: who it is, and which messages wait for their acknowledgement.

use std::collections::VecDeque;

use super::identity::Identity;
use super::packet::{Fields, Packet};
use super::plan::Way;
use super::record::Record;
use crate::clock;

/// Packet types, in the upper half of the first byte.
const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
/// Protocol level of MQTT 5, which has properties.
const LEVEL_5: u8 = 5;
/// Reasons from here on mean failure (MQTT 5).
const FAILURE: u8 = 0x80;

/// Something to note once the last byte of its packet is in the socket it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The server has this message, under this packet id.
    Published(u16, Option<Identity>),
    /// The device has the acknowledgement of this message, which the server had since then.
    Acknowledged(Option<Identity>, u64),
}

/// A message that the server has and did not acknowledge.
#[derive(Clone, Copy, Debug)]
struct Open {
    id: u16,
    identity: Option<Identity>,
    /// When its last byte was in the socket, as [`clock::micros`].
    since: u64,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    /// Client id, which is the device id.
    device: String,
    level: u8,
    /// What the server has and did not acknowledge, in order. A packet id may be there twice, if a device sends
    /// a message again before its acknowledgement: the server owes two then. Bounded by what the server takes
    /// off its socket without acknowledging.
    open: VecDeque<Open>,
}

impl Session {
    /// Reads a packet along that goes the way `way`.
    pub(super) fn packet(&mut self, way: Way, packet: Packet<'_>, record: &mut Record) -> Option<Mark> {
        match (way, packet.first >> 4) {
            (Way::Up, CONNECT) => {
                self.connect(packet.body);
                None
            }
            (Way::Up, PUBLISH) => self.publish(packet),
            (Way::Down, PUBACK) => self.puback(packet.body, record),
            _ => None,
        }
    }

    /// The packet of `mark` has passed.
    pub(super) fn passed(&mut self, mark: Mark, record: &mut Record) -> anyhow::Result<()> {
        match mark {
            Mark::Published(id, identity) => {
                record.witness.publishes += 1;
                self.open.push_back(Open { id, identity, since: clock::micros() });
                Ok(())
            }
            Mark::Acknowledged(identity, since) => record.passed(&self.device, identity, since),
        }
    }

    fn connect(&mut self, body: &[u8]) -> Option<()> {
        let mut fields = Fields(body);
        fields.text()?;
        self.level = fields.byte()?;
        // Flags, and the keep-alive.
        fields.bytes(3)?;
        if self.level == LEVEL_5 {
            fields.skip_properties()?;
        }
        self.device = String::from_utf8_lossy(fields.text()?).into_owned();
        Some(())
    }

    fn publish(&self, packet: Packet<'_>) -> Option<Mark> {
        let qos = packet.first >> 1 & 3;
        if qos != 1 {
            return None;
        }
        let mut fields = Fields(packet.body);
        fields.text()?;
        let id = fields.number()?;
        if self.level == LEVEL_5 {
            fields.skip_properties()?;
        }
        Some(Mark::Published(id, Identity::of(fields.0)))
    }

    /// An acknowledgement came from the server: it is for the oldest open message of its id.
    fn puback(&mut self, body: &[u8], record: &mut Record) -> Option<Mark> {
        let mut fields = Fields(body);
        let id = fields.number()?;
        let reason = fields.byte().unwrap_or(0);
        let Some(place) = self.open.iter().position(|open| open.id == id) else {
            record.stale(&self.device);
            return None;
        };
        if place > 0 {
            record.witness.disordered += 1;
        }
        let Open { identity, since, .. } = self.open.remove(place)?;
        if reason >= FAILURE {
            record.witness.rejected += 1;
            return None;
        }
        Some(Mark::Acknowledged(identity, since))
    }
}
