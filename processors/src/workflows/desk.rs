//! The one owner of runs, queues and the outbox. Everything that takes time runs as a task and comes back as an
//! event; what is decided here takes microseconds.

mod admission;
mod appends;
mod arrivals;
mod attempt;
mod attempts;
mod changes;
mod commits;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use streams::Streams;
use telemetry::Clock;
use telemetry::trace::Tracing;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::admission::Looked;
use self::appends::Appends;
use self::arrivals::Arrivals;
use self::attempts::{Ended, Trying};
use self::changes::Fetched;
use self::commits::{Committed, Journal, Loaded};
use super::append::{NotAppended, Written};
use super::breaker::BreakerState;
use super::config::WorkflowsConfig;
use super::handle::{Admission, Request, WorkflowsError};
use super::lane::Lane;
use super::limits;
use super::metrics::{TargetMetrics, WorkflowsMetrics};
use super::recovery::{Found, Held, Keeper, Spot};
use super::run::{Place, Run};
use super::store::{Begin, Store, StoreError};
use super::target::{Target, Targets};

/// What the owner is given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) config: WorkflowsConfig,
    pub(super) streams: Arc<dyn Streams>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tracing: Tracing,
    pub(super) metrics: WorkflowsMetrics,
    pub(super) targets: Arc<dyn Targets>,
    pub(super) store: Arc<Store>,
    pub(super) keeper: Keeper,
}

/// The owner.
#[derive(Debug)]
pub(super) struct Desk {
    given: Given,
    admissions: mpsc::Receiver<Admission>,
    requests: mpsc::Receiver<Request>,
    /// Whatever is under way.
    tasks: JoinSet<Event>,
    sites: BTreeMap<Arc<str>, Site>,
    /// Runs in memory, by number: all that changed and are not written, all that are tried, and some more.
    hot: HashMap<u64, Hot>,
    /// Keys that the store does not show yet: number, and whether it is a run.
    recent: HashMap<u128, (u64, bool)>,
    /// Firings being looked up; one at a time.
    looking_up: bool,
    /// Runs that are to be tried and must be read before.
    wanted: HashMap<u64, Trying>,
    /// Those of them that are being read.
    reading: HashSet<u64>,
    /// Reads of runs under way: meanwhile no run leaves memory, so that none comes back older than it was.
    loading: usize,
    journal: Journal,
    appends: Appends,
    found: Found,
    held: Held,
    passing: bool,
    passed_at: Duration,
    arrivals: Arrivals,
    next_number: u64,
    next_ticket: u64,
    pending: u64,
    dead: u64,
    /// Steps that are being tried or appended.
    busy: usize,
    stopping: bool,
}

/// A target, and what waits for it.
#[derive(Debug)]
struct Site {
    lane: Lane,
    /// Made when it is first needed; the error is why there can be none.
    target: Option<Result<Arc<dyn Target>, String>>,
    metrics: TargetMetrics,
}

/// A run in memory.
#[derive(Debug)]
struct Hot {
    run: Run,
    /// Where the store lists it once the commit under way is done.
    listed: Option<Place>,
    /// Whether its step is being tried, or waits to be appended.
    busy: bool,
    /// The attempt under way.
    trying: Option<Trying>,
    /// Whether it changed since the last commit began.
    dirty: bool,
}

/// The end of something that was under way.
#[derive(Debug)]
enum Event {
    Looked(Result<Looked, StoreError>),
    Loaded(Result<Loaded, StoreError>),
    Fetched(Result<Fetched, StoreError>),
    Ended(Box<Ended>),
    Appended(Result<Vec<Written>, NotAppended>),
    Committed(Result<Committed, StoreError>),
    Passed(Result<(), streams::Error>),
    Settled(Result<Vec<Spot>, StoreError>),
    Nothing,
}

impl Desk {
    pub(super) fn new(
        given: Given,
        (admissions, requests): (mpsc::Receiver<Admission>, mpsc::Receiver<Request>),
        begin: &Begin,
        (found, held): (Found, Held),
    ) -> Self {
        let now = given.clock.monotonic();
        let mut desk = Self {
            admissions,
            requests,
            tasks: JoinSet::new(),
            sites: BTreeMap::new(),
            hot: HashMap::new(),
            recent: HashMap::new(),
            looking_up: false,
            wanted: HashMap::new(),
            reading: HashSet::new(),
            loading: 0,
            journal: Journal::new(now),
            appends: Appends::default(),
            found,
            held,
            passing: false,
            passed_at: now,
            arrivals: Arrivals::default(),
            next_number: begin.next_number,
            next_ticket: begin.next_ticket,
            pending: begin.ready.iter().map(|(_, count)| count).sum(),
            dead: begin.dead,
            busy: 0,
            stopping: false,
            given,
        };
        for (target, count) in &begin.ready {
            desk.site(&Arc::from(target.as_str())).lane.spill(*count);
        }
        desk
    }

    /// Works until `stop`, then waits for attempts under way, a few seconds, and commits.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), WorkflowsError> {
        let mut deadline = None;
        loop {
            self.turn();
            if self.stopping && self.is_at_rest(deadline) {
                return Ok(());
            }
            let (takes_firings, wait) = (self.takes_firings(), self.wait());
            tokio::select! {
                biased;
                changed = stop.wait_for(|stop| *stop), if !self.stopping => {
                    // The sender gone is a stop as well: nobody is left who wants this.
                    drop(changed);
                    self.stopping = true;
                    deadline = Some(self.now() + limits::STOP);
                }
                Some(request) = self.requests.recv() => self.asked(request),
                Some(admission) = self.admissions.recv(), if takes_firings => self.look_up(admission),
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => self.happened(joined(ended))?,
                () = tokio::time::sleep(wait) => {}
            }
            for _ in 0..limits::EVENTS_PER_TURN {
                let Some(ended) = self.tasks.try_join_next() else { break };
                self.happened(joined(ended))?;
            }
        }
    }

    /// Begins whatever can begin.
    fn turn(&mut self) {
        if !self.stopping {
            self.start_attempts();
            self.start_load();
        }
        self.evict();
        self.start_append();
        self.start_commit();
        self.start_pass();
        self.show();
    }

    fn happened(&mut self, event: Event) -> Result<(), WorkflowsError> {
        match event {
            Event::Looked(looked) => self.looked_up(looked?),
            Event::Loaded(loaded) => self.loaded(loaded?),
            Event::Fetched(fetched) => self.fetched(fetched?),
            Event::Ended(ended) => self.ended(*ended),
            Event::Appended(written) => {
                self.appended(written.map_err(|error| WorkflowsError::Streams(error.to_string()))?);
            }
            Event::Committed(committed) => self.committed(committed?),
            Event::Passed(passed) => {
                passed.map_err(|error| WorkflowsError::Streams(error.to_string()))?;
                self.passing = false;
            }
            Event::Settled(spots) => spots?.iter().for_each(|spot| self.held.settle(spot)),
            Event::Nothing => {}
        }
        Ok(())
    }

    /// Commits the positions in the streams of events, if they moved.
    fn start_pass(&mut self) {
        let now = self.now();
        if self.passing || now.saturating_sub(self.passed_at) < limits::PASS_EVERY {
            return;
        }
        self.passed_at = now;
        let positions = self.held.take_positions();
        if !positions.is_empty() {
            self.passing = true;
            let pass = super::recovery::pass(self.given.streams.clone(), self.given.keeper.clone(), positions);
            self.tasks.spawn(async move { Event::Passed(pass.await) });
        }
    }

    fn show(&mut self) {
        for (target, site) in &mut self.sites {
            if site.lane.breaker() == BreakerState::Open && site.metrics.shown() == BreakerState::Closed {
                tracing::warn!(%target, "target fails, its circuit breaker is open");
            }
            site.metrics.show(site.lane.pending(), site.lane.breaker());
        }
        self.given.metrics.open(self.pending, self.dead);
    }

    /// Nothing is under way that a stop waits for; what it does not wait for is repeated at the next start.
    fn is_at_rest(&self, deadline: Option<Duration>) -> bool {
        let late = deadline.is_some_and(|deadline| self.now() >= deadline);
        let begun = self.busy == 0 && self.appends.len() == 0;
        (begun || late) && !self.looking_up && self.journal.is_clean() && self.journal.waiters.is_empty()
    }

    /// Until the next timer.
    fn wait(&self) -> Duration {
        let lanes = self.sites.values().filter_map(|site| site.lane.due());
        let next = lanes.chain(self.journal.due(&self.given.config)).min();
        let wait = next.map_or(limits::TICK, |next| next.saturating_sub(self.now()).min(limits::TICK));
        // Of timers that are due and cannot begin yet only events can make something.
        wait.max(Duration::from_millis(1))
    }

    fn site(&mut self, target: &Arc<str>) -> &mut Site {
        let (config, metrics) = (&self.given.config, &self.given.metrics);
        self.sites.entry(target.clone()).or_insert_with(|| Site {
            lane: Lane::new(config, concurrency(config, target)),
            target: None,
            metrics: metrics.of(target),
        })
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    fn now(&self) -> Duration {
        self.given.clock.monotonic()
    }
}

fn concurrency(config: &WorkflowsConfig, target: &str) -> usize {
    match target {
        // Events are appended many at once; one at a time would be slower than the streams are.
        emit if emit.starts_with("emit ") => limits::APPEND_ROWS,
        "mqtt devices" => limits::DEVICES.max(config.concurrency),
        _ => config.concurrency,
    }
}

fn joined(ended: Result<Event, tokio::task::JoinError>) -> Event {
    match ended {
        Ok(event) => event,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only the end of the owner aborts what is under way.
        Err(_) => Event::Nothing,
    }
}

/// A reply nobody waits for any more is no error.
fn reply<T>(to: oneshot::Sender<T>, value: T) {
    drop(to.send(value));
}

/// The queue of letters and events.
type Queue<T> = VecDeque<T>;
