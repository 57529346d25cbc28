//! The world outside Weir: a fleet of devices by seed, the ledger of what Weir acknowledged to it, the
//! replay of recordings, and a load generator.
//!
//! It stands on the other side of the wire, like a device, and knows of Weir only what a device knows: an
//! MQTT address and the payload formats. It does not judge: the comparison of ledger and table is `weir
//! verify`.
//!
//! In reading order: [`fleet`] (many devices), [`replay`] (one device that tells a recording), [`ledger`]
//! (what was acknowledged), [`sent`] (what was sent, reading by reading), [`commands`] (what devices were told),
//! [`progress`] (counters while it runs),
//! [`surge`] (a load that rises and falls), [`load`] (as many messages as possible); below them the publisher that must not lose, its outbox, the mischief
//! of bad devices, and the MQTT connection.

mod backoff;
mod connection;
mod identity;
mod lines;
mod mischief;
mod outbox;
mod packet;
mod patience;
mod payload;
mod publisher;
mod witness;

pub mod commands;
pub mod fleet;
pub mod ledger;
pub mod load;
pub mod progress;
pub mod replay;
pub mod sent;
pub mod surge;

#[cfg(test)]
mod broker;

pub use fleet::FleetConfig;
pub use load::{LoadConfig, LoadReport};
pub use progress::{Progress, Summary};
pub use replay::{ReplayConfig, Speed};
pub use surge::Surge;
