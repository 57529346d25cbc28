//! The end of all appending, and what those who wait are told.

use std::sync::Arc;
use std::thread;

use super::queue::Pending;
use super::shared::Shared;
use crate::contract::AppendError;

/// Refuses all appends from now on, because of `why`.
pub(super) fn stop(shared: &Shared, why: &str) {
    let first = shared.failed.send_if_modified(|failed| {
        let first = failed.is_none();
        failed.get_or_insert_with(|| why.to_owned());
        first
    });
    if first {
        tracing::error!(why, "streams stopped, nothing more is accepted until a restart");
    }
    for group in shared.queue.abandon() {
        answer(group, Err(AppendError::Failed(why.to_owned())));
    }
}

/// Resolves the ticket of `group`, and gives its room back.
pub(super) fn answer(group: Pending, outcome: Result<Vec<u64>, AppendError>) {
    // Nobody listens to a dropped ticket; the append stands all the same.
    drop(group.done.send(outcome));
    drop(group.room);
}

/// A panic of the writer is a failure like one of the disk.
pub(super) struct PanicGuard(pub(super) Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            stop(&self.0, "the writer thread panicked");
        }
    }
}
