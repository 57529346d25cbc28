//! Events and dead letters go out: one append at a time, of all that gathered meanwhile.

use super::{Desk, Event, Queue};
use crate::plan::Action;
use crate::workflows::append::{Content, From, Row, Written, append};
use crate::workflows::limits;
use crate::workflows::metrics::StepEnd;
use crate::workflows::recovery::Spot;
use crate::workflows::run::{RunState, StepState};
use crate::workflows::store::Change;
use crate::workflows::target::Outcome;

/// Rows to append.
#[derive(Debug, Default)]
pub(super) struct Appends {
    queue: Queue<Row>,
    /// Rows in the append under way.
    under_way: usize,
    /// Rows of firings that are not run, queued or under way: a flush waits for them.
    firings: usize,
}

impl Appends {
    pub(super) fn push(&mut self, row: Row) {
        self.firings += usize::from(matches!(row.from, From::Firing(_)));
        self.queue.push_back(row);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.under_way
    }

    /// Whether firings that are not run are all appended.
    pub(super) fn has_firings(&self) -> bool {
        self.firings > 0
    }
}

impl Desk {
    pub(super) fn start_append(&mut self) {
        if self.appends.under_way > 0 || self.appends.queue.is_empty() {
            return;
        }
        let count = self.appends.queue.len().min(limits::APPEND_ROWS);
        let rows: Vec<Row> = self.appends.queue.drain(..count).collect();
        self.appends.under_way = count;
        let (streams, tracing) = (self.given.streams.clone(), self.given.tracing.clone());
        self.tasks.spawn(async move { Event::Appended(append(streams, tracing, rows).await) });
    }

    pub(super) fn appended(&mut self, written: Vec<Written>) {
        self.appends.under_way = 0;
        for Written { from, at } in written {
            if let Ok(spot) = &at {
                self.held.doubt(spot);
            }
            match (from, at) {
                (From::Step(number), Ok(spot)) => {
                    let said = format!("{} at {}", spot.0, spot.1);
                    self.journal.settling.push(spot);
                    self.tried(number, Outcome::Done(said));
                }
                (From::Step(number), Err(why)) => self.tried(number, Outcome::Refused(why)),
                (From::GivenUp(number), Ok(spot)) => self.given_up(number, spot),
                (From::Firing(key), Ok(spot)) => {
                    self.appends.firings -= 1;
                    self.refused(key, spot);
                }
                // Dead letters are rendered from whatever is there, and their stream is always open.
                (_, Err(_)) => {}
            }
        }
    }

    /// The step of a run is in the dead letters at `spot`.
    pub(super) fn given_up(&mut self, number: u64, spot: Spot) {
        let now = self.given.clock.now();
        let offset = spot.1;
        self.journal.settling.push(spot);
        self.busy = self.busy.saturating_sub(1);
        let Some(hot) = self.hot.get_mut(&number) else { return };
        hot.busy = false;
        hot.run.letter = Some(offset);
        if let Some(step) = hot.run.current().and_then(|at| hot.run.steps.get_mut(at)) {
            step.state = StepState::Dead;
            step.ended_at = Some(now.as_micros());
        }
        if hot.run.state == RunState::Pending {
            hot.run.end(RunState::Dead, now);
            self.pending = self.pending.saturating_sub(1);
            self.dead += 1;
            self.given.metrics.run(RunState::Dead);
        }
        self.changed(number);
    }

    /// A firing is in the dead letters, whole.
    pub(super) fn refused(&mut self, key: u128, spot: Spot) {
        let number = self.recent.get(&key).map_or(0, |(number, _)| *number);
        self.journal.settling.push(spot);
        let at = self.given.clock.now().as_micros();
        self.journal.letters.push(Change::Letter { key, number, at });
        self.journal.note(self.given.clock.monotonic());
    }

    /// The stream that the step of a run emits to, if that is what it does.
    pub(super) fn emits_to(&self, number: u64) -> Option<streams::StreamName> {
        let run = &self.hot.get(&number)?.run;
        match &run.plan.steps.get(run.current()?)?.action {
            Action::Emit { stream } => streams::StreamName::new(stream),
            _ => None,
        }
    }

    pub(super) fn queue_event(&mut self, number: u64, stream: streams::StreamName) {
        if let Some(attempt) = self.attempt_of(number) {
            self.appends.push(Row { from: From::Step(number), content: Content::Event { stream, attempt } });
        }
    }

    /// Counts a step that ended.
    pub(super) fn count_step(&mut self, target: &str, end: StepEnd) {
        if let Some(site) = self.sites.get(target) {
            site.metrics.step(end);
        }
    }
}
