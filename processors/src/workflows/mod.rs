//! Effects: what rules fired is done in the world, from a durable outbox.
//!
//! A firing is in the stream `workflows` before anybody acts on it. The executor keeps the state of each run in a
//! redb file; it does the steps of a run one after the other, at least once each, always with the same key. Targets
//! fail alone: each has its own queue, limit, timeouts and circuit breaker.
//!
//! In reading order: [`target`] (what a step is done at).

pub mod target;
