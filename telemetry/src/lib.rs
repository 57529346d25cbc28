//! What flows through Weir: messages of readings, their Arrow schema, the payload formats devices speak,
//! the limits on what is accepted, and the clock.
//!
//! No I/O, no async, no state between calls (but for the numbers of spans): everything here is a function of its
//! arguments, so that a replay gives the same output.
//!
//! In reading order: [`message`] (a decoded payload), [`formats`] (bytes to message), [`topic`] (fields out
//! of an MQTT topic), [`rejection`] (why a payload is refused), [`schema`] (columns), [`batch`] (messages to
//! columns), [`ipc`] (columns to bytes and back), [`partition`] (device to partition), [`trace`] (contexts and spans), [`limits`],
//! [`clock`].

pub mod batch;
pub mod clock;
pub mod formats;
pub mod ipc;
pub mod limits;
pub mod message;
pub mod partition;
pub mod rejection;
pub mod schema;
pub mod topic;
pub mod trace;

pub use clock::{Clock, Timestamp};
pub use message::{Identity, Message, Reading, Value};
pub use rejection::{Reason, Rejection};
