//! Steps are tried.

use std::sync::Arc;
use std::time::Duration;

use streams::faults::{Point, Tooth, point, tooth};

use super::attempt::{attempted, letter_of, time_limit};
use super::{Desk, Event, Hot};
use crate::plan::{Action, Mqtt, OnFailure, Step};
use crate::workflows::append::{Content, From, Row};
use crate::workflows::breaker::Health;
use crate::workflows::limits;
use crate::workflows::metrics::StepEnd;
use crate::workflows::retry;
use crate::workflows::run::{RunState, StepState};
use crate::workflows::span::StepSpan;
use crate::workflows::store::Waiting;
use crate::workflows::target::{Attempt, Outcome, Target};

/// An attempt under way.
#[derive(Clone, Debug)]
pub(super) struct Trying {
    target: Arc<str>,
    device: Arc<str>,
    begun: Duration,
    /// Arrivals known when it began.
    arrivals: u64,
    /// If its firing is traced.
    span: Option<Arc<StepSpan>>,
}

/// The end of an attempt.
#[derive(Debug)]
pub(super) struct Ended {
    number: u64,
    outcome: Outcome,
}

impl Desk {
    pub(super) fn start_attempts(&mut self) {
        let (now, arrivals) = (self.now(), self.arrivals.count());
        let mut next = Vec::new();
        for (target, site) in &mut self.sites {
            while let Some(step) = site.lane.next(now) {
                let trying = Trying { target: target.clone(), device: step.device, begun: now, arrivals, span: None };
                next.push((step.number, trying));
            }
        }
        for (number, trying) in next {
            self.start(number, trying);
        }
    }

    /// Tries the step of a run, as soon as the run is in memory.
    pub(super) fn start(&mut self, number: u64, trying: Trying) {
        let Some(hot) = self.hot.get_mut(&number) else {
            self.wanted.insert(number, trying);
            return;
        };
        hot.busy = true;
        self.busy += 1;
        let step = hot.run.current();
        let found = step.and_then(|step| u32::try_from(step).ok()).map(|step| (hot.run.key, step));
        hot.trying = Some(trying);
        if hot.run.state != RunState::Pending {
            self.leave(number, Health::Unknown);
            self.rest(number);
        } else if let Some(spot) = found.and_then(|key| self.found.letters.remove(&key)) {
            self.leave(number, Health::Unknown);
            self.given_up(number, spot);
        } else if let Some(spot) = found.and_then(|key| self.found.events.remove(&key)) {
            let said = format!("{} at {}, found after a restart", spot.0, spot.1);
            self.journal.settling.push(spot);
            self.tried(number, Outcome::Done(said));
        } else {
            self.begin_attempt(number);
        }
    }

    fn begin_attempt(&mut self, number: u64) {
        self.note_begin(number);
        self.begin_span(number);
        if let Some(stream) = self.emits_to(number) {
            return self.queue_event(number, stream);
        }
        let Some(attempt) = self.attempt_of(number) else { return };
        match self.target_of(number, &attempt) {
            Err(why) => self.tried(number, Outcome::Refused(why)),
            Ok(target) => {
                let limit = attempt.step().map_or(limits::ATTEMPT, time_limit);
                let is_done = tooth(Tooth::StepDoneBeforeAttempt);
                self.tasks.spawn(async move {
                    point(Point::StepAttempt);
                    let outcome = attempted(target, &attempt, limit).await;
                    point(Point::StepDone);
                    if is_done { Event::Nothing } else { Event::Ended(Box::new(Ended { number, outcome })) }
                });
                if is_done {
                    self.tried(number, Outcome::Done(String::new()));
                }
            }
        }
    }

    pub(super) fn attempt_of(&self, number: u64) -> Option<Attempt> {
        let hot = self.hot.get(&number)?;
        let run = &hot.run;
        let step = run.current()?;
        let key = run.firing.step_key(step).into();
        let span = hot.trying.as_ref().and_then(|trying| trying.span.clone());
        Some(Attempt { firing: run.firing.clone(), plan: run.plan.clone(), step, key, span })
    }

    fn begin_span(&mut self, number: u64) {
        let Some(Hot { run, trying: Some(trying), .. }) = self.hot.get_mut(&number) else { return };
        let Some((receive, step)) = run.firing.trace.zip(run.current()) else { return };
        if let Some(context) = self.given.tracing.child(receive) {
            let now = self.given.clock.now();
            trying.span = Some(Arc::new(StepSpan::begin(context, receive, run, step, &trying.target, now)));
        }
    }

    pub(super) fn ended(&mut self, ended: Ended) {
        self.tried(ended.number, ended.outcome);
    }

    /// Takes the outcome of an attempt at the step of a run.
    pub(super) fn tried(&mut self, number: u64, outcome: Outcome) {
        let now = self.now();
        let Some(hot) = self.hot.get_mut(&number) else { return };
        let Some(trying) = hot.trying.clone() else { return };
        if let Some(site) = self.sites.get(&trying.target) {
            site.metrics.attempt(&outcome);
            site.metrics.seconds.observe(now.saturating_sub(trying.begun).as_secs_f64());
        }
        if let Some(span) = &trying.span {
            self.given.tracing.ended(span.ended(self.given.clock.now(), &outcome));
        }
        let Some((at, step)) = hot.run.current().and_then(|at| Some((at, hot.run.plan.steps.get(at)?.clone()))) else {
            self.leave(number, Health::Unknown);
            return self.rest(number);
        };
        match outcome {
            Outcome::Done(said) => {
                self.note_end(number, at, StepState::Done, said);
                self.leave(number, Health::Well);
                self.rest(number);
                self.go_on(number, &trying.target, StepEnd::Done);
            }
            Outcome::Failed(why) => self.failed(number, at, &step, why, (Health::Ill, None)),
            Outcome::Busy { reason, after } => {
                if let (Some(after), Some(site)) = (after, self.sites.get_mut(&trying.target)) {
                    site.lane.pause(now + after);
                }
                self.failed(number, at, &step, reason, (Health::Well, after));
            }
            Outcome::Refused(why) => {
                self.note_attempt(number, at, why);
                self.give_up(number, at, &step, Health::Unknown);
            }
            Outcome::Absent { topic } => self.absent(number, at, &step, topic),
        }
    }

    /// The target did not do it; it is tried again, unless that was the last attempt.
    fn failed(
        &mut self,
        number: u64,
        at: usize,
        step: &Step,
        why: String,
        (health, after): (Health, Option<Duration>),
    ) {
        let attempts = self.note_attempt(number, at, why);
        if attempts >= step.retry.attempts {
            return self.give_up(number, at, step, health);
        }
        let now = self.now();
        let Some(hot) = self.hot.get_mut(&number) else { return };
        let pause = retry::pause(&step.retry, &hot.run.firing.step_key(at), attempts).max(after.unwrap_or_default());
        if let Some(trying) = hot.trying.take()
            && let Some(site) = self.sites.get_mut(&trying.target)
        {
            site.lane.retry(&trying.device, health, now, now + pause);
        }
        self.rest(number);
        self.withdraw(number);
    }

    /// Nobody is there: it waits, at most for what is left of its time to live.
    fn absent(&mut self, number: u64, at: usize, step: &Step, topic: Arc<str>) {
        let Action::Mqtt(Mqtt { ttl, .. }) = &step.action else {
            return self.failed(
                number,
                at,
                step,
                "the target says nobody is there".to_owned(),
                (Health::Unknown, None),
            );
        };
        let (now, wall) = (self.given.clock.monotonic(), self.given.clock.now());
        let Some(hot) = self.hot.get_mut(&number) else { return };
        let left = (hot.run.firing.received_at + *ttl).since(wall);
        if left.is_zero() {
            let why = format!("no device subscribed to {topic} within {} s", ttl.as_secs());
            self.note_attempt(number, at, why);
            return self.give_up(number, at, step, Health::Unknown);
        }
        if let Some(progress) = hot.run.steps.get_mut(at) {
            progress.last = format!("waits for a device that subscribes to {topic}");
        }
        if let Some(trying) = hot.trying.take()
            && let Some(site) = self.sites.get_mut(&trying.target)
        {
            if self.arrivals.since(&topic, trying.arrivals) {
                site.lane.retry(&trying.device, Health::Unknown, now, now);
            } else {
                site.lane.park(&trying.device, topic, now, now + left);
            }
        }
        self.rest(number);
        self.withdraw(number);
    }

    /// The step failed for good.
    fn give_up(&mut self, number: u64, at: usize, step: &Step, health: Health) {
        let Some(hot) = self.hot.get_mut(&number) else { return };
        let target = step.action.target();
        if hot.run.state != RunState::Pending {
            // Cancelled while it was tried.
            self.leave(number, health);
            return self.rest(number);
        }
        if step.on_failure == OnFailure::DeadLetter {
            let letter = letter_of(&hot.run, at, &target);
            self.appends.push(Row { from: From::GivenUp(number), content: Content::Letter(letter) });
            self.count_step(&target, StepEnd::Dead);
            return self.leave(number, health);
        }
        if let Some(progress) = hot.run.steps.get_mut(at) {
            progress.state = StepState::Failed;
            progress.ended_at = Some(self.given.clock.now().as_micros());
        }
        self.leave(number, health);
        self.rest(number);
        if step.on_failure == OnFailure::Stop {
            self.count_step(&target, StepEnd::Failed);
            self.end(number, RunState::Failed);
        } else {
            self.go_on(number, &target, StepEnd::Failed);
        }
    }

    /// The next step of a run, or its end.
    fn go_on(&mut self, number: u64, target: &str, end: StepEnd) {
        self.count_step(target, end);
        let ticket = self.ticket();
        let Some(hot) = self.hot.get_mut(&number) else { return };
        if hot.run.state != RunState::Pending {
            self.changed(number);
        } else if hot.run.current().is_some() {
            hot.run.ticket = ticket;
            self.changed(number);
            self.enqueue(number);
        } else {
            self.end(number, RunState::Done);
        }
    }

    /// Puts the current step of a run into the queue of its target.
    pub(super) fn enqueue(&mut self, number: u64) {
        let Some(run) = self.hot.get(&number).map(|hot| &hot.run) else { return };
        let Some(target) = run.target() else { return };
        let step = Waiting { ticket: run.ticket, number, device: run.firing.device_id.as_str().into() };
        self.site(&Arc::from(target)).lane.push(&step);
    }

    /// Ends a run.
    pub(super) fn end(&mut self, number: u64, state: RunState) {
        let now = self.given.clock.now();
        let Some(hot) = self.hot.get_mut(&number) else { return };
        if hot.run.state == RunState::Pending {
            hot.run.end(state, now);
            self.count_end(state);
        }
        self.changed(number);
    }

    pub(super) fn count_end(&mut self, state: RunState) {
        self.pending = self.pending.saturating_sub(1);
        self.given.metrics.run(state);
    }

    /// Gives the place of an attempt to the next step of its device.
    fn leave(&mut self, number: u64, health: Health) {
        let now = self.now();
        let Some(trying) = self.hot.get_mut(&number).and_then(|hot| hot.trying.take()) else { return };
        if let Some(site) = self.sites.get_mut(&trying.target) {
            site.lane.done(&trying.device, health, now);
        }
    }

    /// Passes over a step whose run is not there.
    pub(super) fn skip(&mut self, trying: &Trying) {
        let now = self.now();
        if let Some(site) = self.sites.get_mut(&trying.target) {
            site.lane.done(&trying.device, Health::Unknown, now);
        }
    }

    /// Nothing of a run is under way any more.
    fn rest(&mut self, number: u64) {
        self.busy = self.busy.saturating_sub(1);
        if let Some(hot) = self.hot.get_mut(&number) {
            hot.busy = false;
            self.journal.written.push(number);
        }
    }

    fn note_begin(&mut self, number: u64) {
        let wall = self.given.clock.now();
        let Some(Hot { run, .. }) = self.hot.get_mut(&number) else { return };
        let Some(at) = run.current() else { return };
        let is_first = at == 0 && run.redrives == 0;
        let received_at = run.firing.received_at;
        let Some(progress) = run.steps.get_mut(at).filter(|progress| progress.begun_at.is_none()) else { return };
        progress.begun_at = Some(wall.as_micros());
        if is_first {
            self.given.metrics.start_seconds.observe(wall.since(received_at).as_secs_f64());
        }
    }

    /// Counts an attempt that failed; gives their number.
    fn note_attempt(&mut self, number: u64, at: usize, why: String) -> u32 {
        let attempts = match self.hot.get_mut(&number).and_then(|hot| hot.run.steps.get_mut(at)) {
            Some(progress) => {
                progress.attempts = progress.attempts.saturating_add(1);
                progress.last = why;
                progress.attempts
            }
            None => 0,
        };
        self.changed(number);
        attempts
    }

    fn note_end(&mut self, number: u64, at: usize, state: StepState, said: String) {
        let wall = self.given.clock.now();
        let step = self.hot.get_mut(&number).and_then(|hot| hot.run.steps.get_mut(at));
        if let Some(progress) = step {
            progress.attempts = progress.attempts.saturating_add(1);
            progress.last = said;
            progress.state = state;
            progress.ended_at = Some(wall.as_micros());
        }
    }

    /// The target that an attempt is made at, opened when it is first needed.
    fn target_of(&mut self, number: u64, attempt: &Attempt) -> Result<Arc<dyn Target>, String> {
        let none = || "the run has no step to do".to_owned();
        let trying = self.hot.get(&number).and_then(|hot| hot.trying.as_ref()).ok_or_else(none)?;
        let site = self.sites.get_mut(&trying.target).ok_or_else(none)?;
        let step = attempt.step().ok_or_else(none)?;
        if let Action::Emit { stream } = &step.action {
            return Err(format!("`{stream}` is no name of a stream"));
        }
        site.target.get_or_insert_with(|| self.given.targets.open(step)).clone()
    }
}
