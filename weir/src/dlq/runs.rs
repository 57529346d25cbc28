//! What dead letters need of workflows.
//!
//! All of it may be asked twice, because a mark may be lost: a run that went on already goes on.

use std::fmt;

use async_trait::async_trait;

use super::letter::StepName;

/// Runs that wait with a dead letter. Errors are texts for a person.
#[async_trait]
pub(crate) trait Runs: Send + Sync + fmt::Debug + 'static {
    /// How often the step was tried; `None` if its run is not kept any more.
    async fn attempts(&self, step: &StepName) -> Option<u32>;

    /// The run goes on at this step, with the same key. Returns when that is durable.
    async fn redrive(&self, step: &StepName) -> Result<(), String>;

    /// The firing in `payload`, which was not taken for want of room, is taken. Returns when that is durable.
    async fn admit(&self, payload: &[u8]) -> Result<(), String>;

    /// The run that waits with this letter ends. Returns when that is durable.
    async fn give_up(&self, step: &StepName) -> Result<(), String>;
}
