//! A message as it arrives, and what whoever brought it gets.

use telemetry::Identity;

/// A message as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Topic it was published to.
    pub topic: &'a str,
    /// The payload, whole.
    pub payload: &'a [u8],
    /// Identity the transport gives; one in the payload goes before it.
    pub identity: Option<Identity>,
    /// Who sent it, for the dead letters.
    pub client_id: &'a str,
    /// The trace that its sender says it is a part of, as W3C writes it; what is none is ignored.
    pub traceparent: Option<&'a str>,
}

/// The message is in group `group`, and may be acknowledged when that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Number of the group. Groups become durable in order.
    pub group: u64,
    /// Readings in the message; 0 if it was refused and went to the dead letters.
    pub readings: u32,
}

impl Receipt {
    /// Whether the message was refused and went to the dead letters.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.readings == 0
    }
}

/// The intake is closed: stopping, or failed. The message was not taken and must not be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("intake is closed")]
pub struct Closed;
