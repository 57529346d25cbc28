//! Changes become durable, many in one step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams::faults::{Point, point};
use tokio::sync::oneshot;

use super::{Desk, Event, reply};
use crate::workflows::config::WorkflowsConfig;
use crate::workflows::limits;
use crate::workflows::recovery::Spot;
use crate::workflows::run::{Run, RunState};
use crate::workflows::store::{Change, Commit, Forget, Store, StoreError, Waiting};

/// What changed and is not durable.
#[derive(Debug)]
pub(super) struct Journal {
    /// Numbers of runs that changed.
    pub(super) dirty: BTreeSet<u64>,
    /// Firings that became dead letters.
    pub(super) letters: Vec<Change>,
    /// Rows of streams that are not in doubt once what changed is durable.
    pub(super) settling: Vec<Spot>,
    /// Who waits for a change to be durable: the number of the change, once nothing is to come before it.
    pub(super) waiters: Vec<(Option<u64>, oneshot::Sender<()>)>,
    /// Runs that may leave memory.
    pub(super) written: Vec<u64>,
    /// Keys that the store shows by now.
    shown: Vec<u128>,
    /// When the first of the changes was.
    since: Option<Duration>,
    /// Changes so far, and how many of them are durable.
    count: u64,
    durable: u64,
    under_way: bool,
    forgot_at: Duration,
}

/// The end of a commit.
#[derive(Debug)]
pub(super) struct Committed {
    /// Changes that are durable now.
    count: u64,
    runs: Vec<u64>,
    keys: Vec<u128>,
    settled: Vec<Spot>,
    forgotten: u64,
    loaded: Vec<Steps>,
    seconds: f64,
}

/// Runs that were read to be tried.
#[derive(Debug)]
pub(super) struct Loaded {
    numbers: Vec<u64>,
    runs: Vec<Run>,
}

impl Journal {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            dirty: BTreeSet::new(),
            letters: Vec::new(),
            settling: Vec::new(),
            waiters: Vec::new(),
            written: Vec::new(),
            shown: Vec::new(),
            since: None,
            count: 0,
            durable: 0,
            under_way: false,
            forgot_at: now,
        }
    }

    pub(super) fn note(&mut self, now: Duration) {
        self.count += 1;
        self.since.get_or_insert(now);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.since.is_none() && !self.under_way
    }

    /// When a commit is due.
    pub(super) fn due(&self, config: &WorkflowsConfig) -> Option<Duration> {
        self.since.filter(|_| !self.under_way).map(|since| since + config.commit_interval)
    }
}

impl Desk {
    /// A run changed.
    pub(super) fn changed(&mut self, number: u64) {
        if let Some(hot) = self.hot.get_mut(&number) {
            hot.dirty = true;
            self.journal.dirty.insert(number);
            self.journal.note(self.given.clock.monotonic());
        }
    }

    /// Begins a commit if one is due, with what is to be read from the store behind it.
    pub(super) fn start_commit(&mut self) {
        if self.journal.under_way {
            return;
        }
        self.answer_waiters();
        let now = self.now();
        let waited_for = self.journal.waiters.iter().any(|(count, _)| count.is_some());
        let due = self.journal.due(&self.given.config).is_some_and(|due| due <= now);
        let many = self.journal.dirty.len() >= limits::COMMIT_RUNS;
        let forgets = now.saturating_sub(self.journal.forgot_at) >= limits::FORGET_EVERY;
        let loads = self.loads();
        if !(due || many || waited_for || forgets || self.stopping && self.journal.since.is_some() || !loads.is_empty())
        {
            return;
        }
        let forget = forgets.then(|| self.forget(now));
        let (commit, mut committed) = self.take_commit(forget);
        let (store, clock) = (self.given.store.clone(), self.given.clock.clone());
        self.journal.under_way = true;
        self.tasks.spawn_blocking(move || {
            let begun = clock.monotonic();
            let outcome = carry_out(&store, &commit, &loads).map(|(forgotten, loaded)| {
                committed.forgotten = forgotten;
                committed.loaded = loaded;
                committed.seconds = clock.monotonic().saturating_sub(begun).as_secs_f64();
                committed
            });
            Event::Committed(outcome)
        });
    }

    pub(super) fn committed(&mut self, committed: Committed) {
        self.journal.under_way = false;
        self.journal.durable = self.journal.durable.max(committed.count);
        self.given.metrics.commit_seconds.observe(committed.seconds);
        for spot in &committed.settled {
            self.held.settle(spot);
        }
        self.dead = self.dead.saturating_sub(committed.forgotten);
        self.journal.shown.extend(committed.keys);
        self.forget_recent();
        self.journal.written.extend(committed.runs);
        for (target, steps) in committed.loaded {
            self.take_loaded(&target, &steps);
        }
        self.answer_waiters();
    }

    /// Reads runs that are to be tried.
    pub(super) fn start_load(&mut self) {
        let numbers: Vec<u64> = self
            .wanted
            .keys()
            .copied()
            .filter(|number| !self.reading.contains(number))
            .take(limits::LOAD_RUNS)
            .collect();
        if numbers.is_empty() {
            return;
        }
        self.reading.extend(&numbers);
        self.loading += 1;
        let store = self.given.store.clone();
        self.tasks.spawn_blocking(move || Event::Loaded(store.runs(&numbers).map(|runs| Loaded { numbers, runs })));
    }

    pub(super) fn loaded(&mut self, loaded: Loaded) {
        self.loading -= 1;
        loaded.runs.into_iter().for_each(|run| self.keep(run));
        for number in loaded.numbers {
            self.reading.remove(&number);
            let Some(trying) = self.wanted.remove(&number) else { continue };
            if self.hot.contains_key(&number) {
                self.start(number, trying);
            } else {
                tracing::error!(number, "the outbox lists a step of a run that it does not hold");
                self.skip(&trying);
            }
        }
    }

    /// Keys that the store shows need not be remembered, unless somebody looks at what it showed before.
    pub(super) fn forget_recent(&mut self) {
        if !self.looking_up {
            for key in self.journal.shown.drain(..) {
                self.recent.remove(&key);
            }
        }
    }

    /// Lets written runs leave memory.
    pub(super) fn evict(&mut self) {
        if self.loading > 0 {
            return;
        }
        for number in std::mem::take(&mut self.journal.written) {
            let Some(hot) = self.hot.get(&number) else { continue };
            let needed = hot.busy || hot.dirty || self.wanted.contains_key(&number);
            if !needed && (hot.run.state != RunState::Pending || self.hot.len() > limits::HOT_RUNS) {
                self.hot.remove(&number);
            }
        }
    }

    /// Tells those whose changes are durable.
    fn answer_waiters(&mut self) {
        let journal = &mut self.journal;
        let numbered = !self.appends.has_firings();
        for (number, waiter) in std::mem::take(&mut journal.waiters) {
            match number.or_else(|| numbered.then_some(journal.count)) {
                Some(number) if number <= journal.durable => reply(waiter, ()),
                number => journal.waiters.push((number, waiter)),
            }
        }
    }

    fn take_commit(&mut self, forget: Option<Forget>) -> (Commit, Committed) {
        let journal = &mut self.journal;
        let mut changes = std::mem::take(&mut journal.letters);
        let mut keys: Vec<u128> = changes.iter().filter_map(letter_key).collect();
        let runs: Vec<u64> = std::mem::take(&mut journal.dirty).into_iter().collect();
        for number in &runs {
            let Some(hot) = self.hot.get_mut(number) else { continue };
            hot.dirty = false;
            let before = hot.listed.replace(hot.run.place());
            if before.is_none() {
                keys.push(hot.run.key);
            }
            changes.push(Change::Run { run: Box::new(hot.run.clone()), before });
        }
        journal.since = None;
        let settled = std::mem::take(&mut journal.settling);
        let committed =
            Committed { count: journal.count, runs, keys, settled, forgotten: 0, loaded: Vec::new(), seconds: 0.0 };
        (Commit { changes, next_number: self.next_number, next_ticket: self.next_ticket, forget }, committed)
    }

    fn forget(&mut self, now: Duration) -> Forget {
        self.journal.forgot_at = now;
        let keep = i64::try_from(self.given.config.keep.as_micros()).unwrap_or(i64::MAX);
        let before = self.given.clock.now().as_micros().saturating_sub(keep);
        Forget { before, keep_runs: self.given.config.keep_runs }
    }

    /// Steps to read from the store.
    fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for (target, site) in &self.sites {
            if let Some(after) = site.lane.wants_load() {
                loads.push((target.clone(), after, site.lane.room().min(limits::LOAD_STEPS)));
            }
        }
        loads
    }

    fn take_loaded(&mut self, target: &Arc<str>, steps: &[Waiting]) {
        for step in steps {
            // What is in memory is newer than what was read.
            let is_there = self
                .hot
                .get(&step.number)
                .is_none_or(|hot| hot.run.state == RunState::Pending && hot.run.ticket == step.ticket);
            if is_there {
                self.site(target).lane.loaded(step);
            }
        }
    }
}

/// Target, behind which ticket, how many.
type Load = (Arc<str>, Option<u64>, usize);
/// Target, and what waits for it.
type Steps = (Arc<str>, Vec<Waiting>);

fn carry_out(store: &Store, commit: &Commit, loads: &[Load]) -> Result<(u64, Vec<Steps>), StoreError> {
    let mut forgotten = 0;
    if !commit.changes.is_empty() || commit.forget.is_some() {
        point(Point::OutboxCommit);
        forgotten = store.commit(commit)?;
        point(Point::OutboxCommitted);
    }
    let mut loaded = Vec::with_capacity(loads.len());
    for (target, after, limit) in loads {
        loaded.push((target.clone(), store.ready(target, *after, *limit)?));
    }
    Ok((forgotten, loaded))
}

fn letter_key(change: &Change) -> Option<u128> {
    match change {
        Change::Letter { key, .. } => Some(*key),
        Change::Run { .. } => None,
    }
}
