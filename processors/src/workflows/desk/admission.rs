//! Firings come in.

use std::sync::Arc;

use bytes::Bytes;
use streams::faults::{Point, Tooth, point, tooth};
use tokio::sync::oneshot;

use super::{Desk, Event, Hot, reply};
use crate::firing::Firing;
use crate::workflows::append::{Content, From, Letter, Payload, Row};
use crate::workflows::backlog;
use crate::workflows::handle::Admission;
use crate::workflows::limits;
use crate::workflows::metrics::Taken;
use crate::workflows::recovery::ADMIT;
use crate::workflows::run::{Run, RunState, key_of};
use crate::workflows::store::Seen;

/// Firings, and what the store knows of their keys.
#[derive(Debug)]
pub(super) struct Looked {
    firings: Vec<(Firing, Option<Seen>)>,
    again: bool,
    taken: oneshot::Sender<()>,
}

impl Desk {
    /// Whether firings are taken: not while too many runs are not durable.
    pub(super) fn takes_firings(&self) -> bool {
        !self.looking_up && self.journal.dirty.len() < limits::UNCOMMITTED && self.appends.len() < limits::UNCOMMITTED
    }

    pub(super) fn look_up(&mut self, admission: Admission) {
        self.looking_up = true;
        let store = self.given.store.clone();
        self.tasks.spawn_blocking(move || {
            let Admission { firings, again, taken } = admission;
            let keys: Vec<u128> = firings.iter().map(|firing| key_of(&firing.run_id)).collect();
            Event::Looked(store.seen(&keys).map(|seen| Looked {
                firings: firings.into_iter().zip(seen).collect(),
                again,
                taken,
            }))
        });
    }

    pub(super) fn looked_up(&mut self, looked: Looked) {
        self.looking_up = false;
        for (firing, seen) in looked.firings {
            let taken = self.take(firing, seen, looked.again);
            self.given.metrics.firing(taken);
        }
        self.forget_recent();
        point(Point::FiringsAdmitted);
        reply(looked.taken, ());
    }

    fn take(&mut self, firing: Firing, seen: Option<Seen>, again: bool) -> Taken {
        let key = key_of(&firing.run_id);
        let recent = self.recent.get(&key).map(|(number, is_run)| Seen { number: *number, is_run: *is_run });
        let known = recent.or(seen).filter(|_| !tooth(Tooth::KeysForgotten));
        if known.is_some_and(|known| known.is_run || !again) {
            return Taken::Repeated;
        }
        if self.pending + self.dead >= self.given.config.max_pending {
            let detail = format!(
                "rule {} fired while {} runs had not ended, the most that may",
                firing.rule_id,
                self.pending + self.dead
            );
            self.refuse(firing, "workflow_backlog", detail);
            return Taken::Letter;
        }
        match self.given.store.plans().decode(&firing.plan) {
            Ok((_, plan)) => {
                self.begin(firing, plan);
                Taken::Run
            }
            Err(error) => {
                let detail = format!("rule {}: its plan cannot be understood: {error}", firing.rule_id);
                self.refuse(firing, "workflow_plan", detail);
                Taken::Letter
            }
        }
    }

    fn begin(&mut self, firing: Firing, plan: Arc<crate::plan::Plan>) {
        let (number, ticket) = (self.next_number, self.ticket());
        self.next_number += 1;
        let run = Run::new(number, ticket, firing, plan, self.given.clock.now());
        self.recent.insert(run.key, (number, true));
        self.pending += 1;
        let done = run.state != RunState::Pending;
        self.hot.insert(number, Hot { run, listed: None, busy: false, trying: None, dirty: false });
        self.changed(number);
        if done {
            self.count_end(RunState::Done);
        } else {
            self.enqueue(number);
        }
    }

    /// Makes a dead letter of the whole firing, unless a restart has found it.
    fn refuse(&mut self, firing: Firing, reason: &'static str, detail: String) {
        let key = key_of(&firing.run_id);
        let number = self.next_number;
        self.next_number += 1;
        self.recent.insert(key, (number, false));
        if let Some(spot) = self.found.letters.remove(&(key, ADMIT)) {
            self.refused(key, spot);
            return;
        }
        let letter = Letter {
            reason,
            detail,
            topic: format!("workflows/{}/admit", firing.run_id),
            payload: Payload::Bytes(Bytes::from(backlog::payload(&firing))),
            firing: Arc::new(firing),
        };
        self.appends.push(Row { from: From::Firing(key), content: Content::Letter(letter) });
    }
}
