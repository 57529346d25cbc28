//! Bounds of the bridge, each with its reason.

use std::time::Duration;

/// Bytes of a PUBLISH beside its payload: the longest topic of MQTT, and as much again for properties.
pub(super) const PACKET_OVERHEAD_BYTES: usize = 128 * 1024;
/// Largest packet of the broker that is not a PUBLISH: reason texts and properties are far below it.
pub(super) const CONTROL_BYTES: usize = 128 * 1024;
/// Bytes asked of a connection at once: some hundred messages, so that few reads carry much.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// Bytes written to us faster than the broker takes them, at which we read no more: acknowledgements of 16,384
/// messages.
pub(super) const OUTGOING_BYTES: usize = 64 * 1024;
/// Filters in one SUBSCRIBE: AWS IoT Core takes no more.
pub(super) const FILTERS_PER_SUBSCRIBE: usize = 8;
/// Filters of a bridge: each message is matched against them one by one.
pub(super) const SUBSCRIPTIONS: usize = 64;
/// For how long a connection must have stood before the wait for the next one begins small again: two bridges with one
/// client id throw each other out as fast as they connect, and so do it once a second.
pub(super) const PROVEN: Duration = Duration::from_secs(1);
/// How long DISCONNECT, which nobody waits for, may take to leave.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// Largest file of a password, in bytes.
pub(super) const PASSWORD_BYTES: u64 = 64 * 1024;
