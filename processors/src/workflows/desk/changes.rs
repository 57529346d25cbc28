//! What people ask for.

use tokio::sync::oneshot;

use super::{Desk, Event, Hot, reply};
use crate::workflows::handle::{Change, Request, find};
use crate::workflows::recovery::{Spot, undecided};
use crate::workflows::run::{Run, RunState, StepProgress};
use crate::workflows::store::StoreError;
use crate::workflows::view::Changed;

/// A run that was read to be changed.
#[derive(Debug)]
pub(super) struct Fetched {
    run: Option<Box<Run>>,
    change: Change,
    reply: oneshot::Sender<Changed>,
}

impl Desk {
    pub(super) fn asked(&mut self, request: Request) {
        match request {
            Request::Flush(flushed) => self.journal.waiters.push((None, flushed)),
            Request::Arrived(topic) => {
                for site in self.sites.values_mut() {
                    site.lane.arrived(topic.as_deref());
                }
                self.arrivals.note(topic);
            }
            Request::Change { key, change, reply } => self.fetch(key, change, reply),
            Request::CaughtUp => self.settle_found(),
        }
    }

    fn fetch(&mut self, key: u128, change: Change, to: oneshot::Sender<Changed>) {
        let recent = self.recent.get(&key).filter(|(number, is_run)| *is_run && self.hot.contains_key(number));
        if let Some((number, _)) = recent {
            let changed = self.change(*number, change);
            return reply(to, changed);
        }
        self.loading += 1;
        let store = self.given.store.clone();
        self.tasks.spawn_blocking(move || {
            let run = find(&store, key).map(|run| run.map(Box::new));
            Event::Fetched(run.map(|run| Fetched { run, change, reply: to }))
        });
    }

    pub(super) fn fetched(&mut self, fetched: Fetched) {
        self.loading -= 1;
        let changed = match fetched.run {
            None => Changed::Unknown,
            Some(run) => {
                let number = run.number;
                self.keep(*run);
                self.change(number, fetched.change)
            }
        };
        reply(fetched.reply, changed);
    }

    /// Puts a run that was read into memory, unless it is there, perhaps newer.
    pub(super) fn keep(&mut self, run: Run) {
        let number = run.number;
        self.journal.written.push(number);
        self.hot.entry(number).or_insert_with(|| {
            let listed = Some(run.place());
            Hot { run, listed, busy: false, trying: None, dirty: false }
        });
    }

    fn change(&mut self, number: u64, change: Change) -> Changed {
        let Some(hot) = self.hot.get(&number) else { return Changed::Unknown };
        let state = hot.run.state;
        let at = hot.run.current();
        match (change, state) {
            (Change::Cancel, RunState::Pending) => self.cancel(number),
            (Change::Redrive(step), RunState::Dead) if step.is_none() || step == at => self.redrive(number),
            (Change::Drop, RunState::Dead) => self.end_dead(number, RunState::Dropped),
            (Change::Cancel, RunState::Dead) => self.end_dead(number, RunState::Cancelled),
            _ => return Changed::Not(state),
        }
        Changed::Yes
    }

    fn cancel(&mut self, number: u64) {
        self.end(number, RunState::Cancelled);
        self.withdraw(number);
        self.settle_run(number);
    }

    /// Takes the step of a run that ended out of its queue, unless it is being tried.
    pub(super) fn withdraw(&mut self, number: u64) {
        let Some(hot) = self.hot.get(&number) else { return };
        if hot.run.state == RunState::Pending || hot.busy || self.wanted.contains_key(&number) {
            return;
        }
        let target = hot.run.target();
        if let Some(site) = target.and_then(|target| self.sites.get_mut(&*target)) {
            site.lane.remove(&hot.run.firing.device_id, hot.run.ticket);
        }
    }

    fn redrive(&mut self, number: u64) {
        let ticket = self.ticket();
        let Some(hot) = self.hot.get_mut(&number) else { return };
        if let Some(step) = hot.run.current().and_then(|at| hot.run.steps.get_mut(at)) {
            *step = StepProgress { last: std::mem::take(&mut step.last), ..StepProgress::default() };
        }
        hot.run.state = RunState::Pending;
        hot.run.ended_at = None;
        hot.run.redrives = hot.run.redrives.saturating_add(1);
        hot.run.ticket = ticket;
        self.dead = self.dead.saturating_sub(1);
        self.pending += 1;
        self.given.metrics.run(RunState::Pending);
        self.changed(number);
        self.enqueue(number);
    }

    fn end_dead(&mut self, number: u64, state: RunState) {
        let now = self.given.clock.now();
        let Some(hot) = self.hot.get_mut(&number) else { return };
        hot.run.end(state, now);
        self.dead = self.dead.saturating_sub(1);
        self.given.metrics.run(state);
        self.changed(number);
    }

    /// Nothing that was found of a run will be asked for.
    fn settle_run(&mut self, number: u64) {
        let Some(hot) = self.hot.get(&number) else { return };
        for step in 0..u32::try_from(hot.run.steps.len()).unwrap_or(u32::MAX) {
            let key = (hot.run.key, step);
            let found = [self.found.events.remove(&key), self.found.letters.remove(&key)];
            self.journal.settling.extend(found.into_iter().flatten());
        }
    }

    /// All firings that a crash could have left are admitted: what was found of other runs is not in doubt.
    fn settle_found(&mut self) {
        let rows = |found: &std::collections::HashMap<_, Spot>| -> Vec<_> {
            found.iter().map(|(key, spot)| (*key, spot.clone())).collect()
        };
        let (events, letters) = (rows(&self.found.events), rows(&self.found.letters));
        let store = self.given.store.clone();
        self.tasks.spawn_blocking(move || {
            let settled = || -> Result<Vec<Spot>, StoreError> {
                let mut settled = Vec::new();
                for (rows, is_letters) in [(events, false), (letters, true)] {
                    let keys = rows.iter().map(|(key, spot)| (*key, spot.1)).collect();
                    let open: std::collections::HashSet<_> =
                        undecided(&store, keys, is_letters, false)?.into_iter().map(|(key, _)| key).collect();
                    settled.extend(rows.into_iter().filter(|(key, _)| !open.contains(key)));
                }
                Ok(settled.into_iter().map(|(_, spot)| spot).collect())
            };
            Event::Settled(settled())
        });
    }
}
