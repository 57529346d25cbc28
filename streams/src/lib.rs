//! Durable partitioned streams: the buffer between the door, the rules and the table.
//!
//! Not a broker: nobody outside the process speaks to it. In reading order: [`contract`] (what every
//! backend promises), [`log`] (the embedded log), [`memory`] (the model it is compared with),
//! [`dedupe`] (which messages were seen before), [`consume`] (the one loop every consumer runs),
//! [`conformance`] (the suite every backend passes), [`metrics`], [`seek`] (where to begin),
//! [`transfer`] (moving streams to another backend), `spans` (what a trace says of a commit), [`faults`] (what the
//! harness makes go wrong).

pub mod conformance;
pub mod consume;
pub mod contract;
pub mod dedupe;
pub mod faults;
#[cfg(feature = "fluvio")]
pub mod fluvio;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod seek;
mod spans;
pub mod transfer;

pub use contract::{
    Append, AppendError, Error, GroupName, GroupPosition, Partition, Position, Read, Record, StreamName, StreamSpec,
    Streams, Ticket,
};
