//! Effects: what rules fired is done in the world, from a durable outbox.
//!
//! A firing is in the stream `workflows` before anybody acts on it. The executor keeps the state of each run in a
//! redb file; it does the steps of a run one after the other, at least once each, always with the same key. Targets
//! fail alone: each has its own queue, limit, timeouts and circuit breaker.
//!
//! In reading order: [`target`] (what a step is done at), [`run`] (a run and its state), [`config`] and [`limits`],
//! `share` (the partitions of an executor), `lane` (the queue of a target) with [`breaker`] and `retry`, `store` (the outbox file), `append` (events and dead
//! letters) with [`recovery`] (exactly once) and `backlog` (firings that are not run), `desk` (the one owner), [`handle`]
//! (the way to it), [`effect`] (the consumer), [`span`] (of attempts), [`executor`] (starting), [`view`] and [`metrics`]. Targets: [`body`],
//! [`places`], [`secret`], [`address`], [`webhook`], [`broker`], [`devices`], [`log`], and `email` with its feature;
//! [`outside`] opens them, [`preview`] shows what they would send. `stopped` reads the outbox where nothing runs.

pub mod address;
mod append;
mod backlog;
pub mod body;
pub mod breaker;
pub mod broker;
pub mod config;
mod desk;
pub mod devices;
pub mod effect;
#[cfg(feature = "email")]
pub mod email;
pub mod executor;
pub mod handle;
mod lane;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod outside;
pub mod places;
pub mod preview;
pub mod recovery;
mod retry;
pub mod run;
pub mod secret;
mod share;
pub mod span;
mod stopped;
mod store;
pub mod target;
pub mod view;
pub mod webhook;

pub use backlog::firing_of;
pub use breaker::BreakerState;
pub use config::WorkflowsConfig;
pub use effect::WorkflowsEffect;
pub use executor::{Executor, GROUP, Started, claims};
pub use handle::{Workflows, WorkflowsError};
pub use metrics::WorkflowsMetrics;
pub use recovery::EMIT_GROUP;
pub use run::{RunState, StepState};
pub use stopped::StoppedRuns;
pub use view::{Changed, RunDetail, RunFilter, RunPage, RunSummary, StepView};

#[cfg(test)]
mod tests;
