//! The MQTT endpoint: versions 3.1.1 and 5 on one port.
//!
//! What it promises beyond the specification: a PUBACK or PUBREC leaves only when the group of its message
//! is durable, in the order the messages were received. What it leaves out, because nobody needs it at a
//! door for telemetry:
//!
//! * **Sessions** end with their connection; "session present" is always 0. A client resends what was not
//!   acknowledged, and the identity of the message sorts out the rest.
//! * **QoS 2** is answered in full within a connection. Across connections it is at-least-once, like QoS 1.
//! * **Retained messages** are taken as ordinary ones: their topics cannot be subscribed to.
//! * **Wills** are published when a connection ends without DISCONNECT, at once, as ordinary messages that
//!   nobody waits for. Not when the server stops.
//! * **Subscriptions** are to live readings, at QoS 0, see [`crate::live`], and to commands, see
//!   [`crate::commands`]: what is published is for Weir, and nobody else gets it.
//! * **User names and passwords** are not looked at: the port belongs behind a firewall or on loopback.
//!
//! The connection loop is ours, on the I/O, runtime and server of `ntex`, with the packet codec of
//! `ntex-mqtt` for all but the packets that flow at rate. `ntex-mqtt`'s own dispatcher starts the handler of
//! a message in a task of its own once another one waits, and so can swap two messages of one connection;
//! with version 5 it never frees the packet id of a QoS 2 message; and its framing subtracts lengths that a
//! client chose. In reading order: `frame` (bytes to whole packets), `publish` (a PUBLISH, borrowed),
//! `packet` (the others, and what is sent), `handshake`, `connection` (the loop), `requests` (what a client
//! asks for), `owed` (its acknowledgements), `subscriptions` (what it is told), `errand` (a command on its way),
//! `outgoing` (the commands of a connection), `worker` (one thread's connections), `mailbox` (how other threads
//! reach it), `switchboard` (who wants which commands), `clients` (who is connected), `server` (threads and
//! port), `limits`.

mod clients;
mod connection;
mod errand;
pub(crate) mod frame;
mod handshake;
mod limits;
mod mailbox;
mod outgoing;
mod owed;
mod packet;
pub(crate) mod publish;
mod requests;
mod server;
mod subscriptions;
mod switchboard;
mod worker;

pub(crate) use errand::{Answer, Command};
pub(crate) use limits::{COMMAND_FILTER_BYTES, KEY_BYTES};
pub(crate) use server::{Endpoint, Settings};
pub(crate) use subscriptions::is_command_topic;
pub(crate) use switchboard::Switchboard;

/// Version of the protocol, as a connection speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1.1
    V3,
    /// 5
    V5,
}

impl Version {
    const fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "3.1.1",
            Self::V5 => "5",
        }
    }
}
