//! What keeps a process the owner of what it claimed: renewals, a look at the deadline, and saying again what the
//! cluster would otherwise delete.

use std::sync::{Arc, Weak};

use futures::future::join_all;
use tokio::task::AbortHandle;

use super::limits::{CARRY_AGE, CARRY_BYTES, LOOKS, RENEWALS};
use super::record::{Key, Record};
use super::{Groups, Seat};
use crate::contract::Error;

/// Starts what runs by itself, until the groups are gone or lost.
pub(super) fn spawn(groups: &Arc<Groups>) -> Vec<AbortHandle> {
    let (renewing, watching) = (Arc::downgrade(groups), Arc::downgrade(groups));
    // Apart: a renewal that hangs must not keep the deadline from being seen.
    vec![tokio::spawn(renew(renewing)).abort_handle(), tokio::spawn(watch(watching)).abort_handle()]
}

async fn renew(groups: Weak<Groups>) {
    while let Some(groups) = groups.upgrade() {
        let renewed = groups.renew().await;
        let pause = if renewed { groups.lease / RENEWALS } else { groups.lease / LOOKS };
        if groups.failed.borrow().is_some() {
            return;
        }
        drop(groups);
        tokio::time::sleep(pause).await;
    }
}

async fn watch(groups: Weak<Groups>) {
    while let Some(groups) = groups.upgrade() {
        groups.watch_deadlines();
        let pause = groups.lease / LOOKS;
        if groups.failed.borrow().is_some() {
            return;
        }
        drop(groups);
        tokio::time::sleep(pause).await;
    }
}

impl Groups {
    /// Shows a sign of life in every partition where something is owned; whether all got through.
    pub(super) async fn renew(&self) -> bool {
        let renewals = join_all(self.seats.iter().map(|seat| self.renew_seat(seat))).await;
        let mut all = true;
        for outcome in renewals {
            if let Err(error) = outcome {
                tracing::warn!(%error, "cannot renew a lease yet");
                all = false;
            }
        }
        all
    }

    async fn renew_seat(&self, seat: &Seat) -> Result<(), Error> {
        if seat.state().held.is_empty() {
            return Ok(());
        }
        self.watch_deadlines();
        if self.failed.borrow().is_some() {
            return Ok(());
        }
        let sent = self.clock.monotonic();
        seat.follower.append(&Record::Renew { process: self.me.process }, self.lease / RENEWALS).await?;
        seat.follower.catch_up().await?;
        if let Some((key, owner)) = self.superseded(seat) {
            self.lose(&format!("group {} in {}/{} was taken over by {owner}", key.0, key.1, self.index(seat)));
            return Ok(());
        }
        {
            let mut state = seat.state();
            if !state.held.is_empty() {
                state.deadline = Some(self.deadline(sent));
            }
        }
        self.carry(seat).await
    }

    /// Something owned here that is now another's, with its owner.
    fn superseded(&self, seat: &Seat) -> Option<(Key, String)> {
        let held = seat.state().held.clone();
        held.into_iter().find_map(|(key, held)| {
            let entry = seat.follower.owned(&key)?.entry;
            let other = entry.owner.process != self.me.process;
            (entry.epoch > held.epoch || (entry.epoch == held.epoch && other))
                .then(|| (key, entry.owner.text.to_string()))
        })
    }

    /// Says again what was said long ago, of whatever group. Processes begin at different distances, so that mostly one
    /// of them does it.
    pub(super) async fn carry(&self, seat: &Seat) -> Result<(), Error> {
        let share = self.me.process % 8;
        let (mark, now) = (seat.follower.mark(), self.clock.monotonic());
        let aged = {
            let mut state = seat.state();
            let age = CARRY_AGE + CARRY_AGE / 8 * u32::try_from(share).unwrap_or(0);
            let aged = (now.saturating_sub(state.carried_at) >= age).then_some(state.carried_to);
            if aged.is_some() {
                (state.carried_at, state.carried_to) = (now, mark);
            }
            aged
        };
        let due = match aged {
            Some(carried_to) => seat.follower.due_since(carried_to),
            None => seat.follower.due(CARRY_BYTES + CARRY_BYTES / 8 * share),
        };
        for record in due {
            seat.follower.append(&record, self.lease / RENEWALS).await?;
        }
        Ok(())
    }
}
