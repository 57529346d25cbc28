//! Bounds of subscriptions and commands, each with its reason. What a client does not take in time is never kept for
//! it beyond these: the outbox of workflows keeps it.

/// Filters of one connection: each live one is matched against every live reading, each command one is an entry of
/// the switchboard. A device needs one or two; a gateway of more devices opens more connections.
pub(super) const FILTERS_PER_CONNECTION: usize = 16;
/// Longest filter of a command subscription, in bytes: twice a site and a device id of the longest kind, and as it
/// is held for each connection, no 65,535.
pub(crate) const COMMAND_FILTER_BYTES: usize = 1024;
/// Clients that get a copy of what they have a wildcard for: each command is matched against each of them.
pub(super) const WATCHERS: usize = 64;
/// Clients that subscribe to the same topic without wildcards: each command is written to each of them.
pub(super) const RECIPIENTS_PER_TOPIC: usize = 16;
/// Commands of one connection written and not acknowledged, unless its client wants fewer: a device does one thing
/// at a time, more only fills its buffers.
pub(super) const IN_FLIGHT: u16 = 16;
/// Commands of one connection that wait for their turn. Who sends more has more for one device than it could do
/// before they expire.
pub(super) const WAITING: usize = 64;
/// Payload bytes of the commands of one connection that wait for their turn; one command may be larger.
pub(super) const WAITING_BYTES: usize = 256 * 1024;
/// Commands on their way to a thread: what it is sent while it does something else for a moment.
pub(super) const POSTED: usize = 4096;
/// Topics that were subscribed to and not yet heard of by who asks: a fleet that comes back at once. Who falls
/// further behind is told so, and looks at everything it has.
pub(super) const ARRIVALS: usize = 4096;
/// Longest idempotency key, in bytes: a hash and an index have 40.
pub(crate) const KEY_BYTES: usize = 256;
