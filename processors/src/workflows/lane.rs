//! The queue of one target: first in, first out for each device, one attempt of a device at a time, so that the order
//! of a device's steps is kept and one that waits delays no other device.
//!
//! ```text
//!   memory: at most `window` steps, by device             store: the rest, in order of ticket
//!   pump-1:  17 (in an attempt)  19  24                    31 32 33 ...
//!   pump-2:  18 (retry at 12 s)                              ^
//!   pump-3:  20 (absent: site/pump-3/commands)               loaded when there is room
//! ```
//!
//! Nothing here waits or reads a clock: time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Breaker, BreakerState, Health, Permit};
use super::config::WorkflowsConfig;
use super::store::Waiting;

/// The queue of one target.
#[derive(Debug)]
pub(super) struct Lane {
    concurrency: usize,
    window: usize,
    breaker: Breaker,
    /// What the target asked for.
    paused_until: Duration,
    devices: HashMap<Arc<str>, Device>,
    /// Devices whose first step may be tried now, the oldest step first.
    able: BTreeSet<(u64, Arc<str>)>,
    /// Devices whose first step waits for a time.
    delayed: BTreeSet<(Duration, Arc<str>)>,
    /// Devices whose first step waits for a subscriber, by topic.
    absent: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    running: usize,
    in_memory: usize,
    /// Steps in the store that are not in memory, all behind `loaded_to`.
    spilled: u64,
    loaded_to: Option<u64>,
}

#[derive(Debug, Default)]
struct Device {
    queue: VecDeque<Step>,
    head: Head,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    ticket: u64,
    number: u64,
}

/// How the first step of a device stands.
#[derive(Clone, Debug, Default)]
enum Head {
    #[default]
    Able,
    Running(Permit),
    Delayed(Duration),
    /// Its deadline is in `delayed` too.
    Absent(Arc<str>, Duration),
}

/// A step to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) number: u64,
    pub(super) device: Arc<str>,
}

impl Lane {
    pub(super) fn new(config: &WorkflowsConfig, concurrency: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            window: config.window.max(1),
            breaker: Breaker::new(config),
            paused_until: Duration::ZERO,
            devices: HashMap::new(),
            able: BTreeSet::new(),
            delayed: BTreeSet::new(),
            absent: BTreeMap::new(),
            running: 0,
            in_memory: 0,
            spilled: 0,
            loaded_to: None,
        }
    }

    /// Puts a step behind all others. Beyond the window it is only counted: it is in the store.
    pub(super) fn push(&mut self, step: &Waiting) {
        if self.spilled > 0 || self.in_memory >= self.window {
            self.spilled += 1;
        } else {
            self.take(step);
        }
    }

    /// So many steps of it are in the store at the start.
    pub(super) fn spill(&mut self, count: u64) {
        self.spilled += count;
    }

    /// The ticket behind which to read on in the store, if there is room for what waits there.
    pub(super) fn wants_load(&self) -> Option<Option<u64>> {
        (self.spilled > 0 && self.in_memory <= self.window / 2).then_some(self.loaded_to)
    }

    /// Most steps to read.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.in_memory)
    }

    /// Takes a step that was read from the store.
    pub(super) fn loaded(&mut self, step: &Waiting) {
        self.spilled = self.spilled.saturating_sub(1);
        self.take(step);
    }

    /// The next step to try: it runs until [`Lane::done`], [`Lane::retry`] or [`Lane::park`].
    pub(super) fn next(&mut self, now: Duration) -> Option<Next> {
        self.wake_delayed(now);
        if self.running >= self.concurrency || now < self.paused_until || self.able.is_empty() {
            return None;
        }
        let permit = self.breaker.permit(now)?;
        let (_, device) = self.able.pop_first()?;
        let entry = self.devices.get_mut(&device)?;
        entry.head = Head::Running(permit);
        self.running += 1;
        let number = entry.queue.front()?.number;
        Some(Next { number, device })
    }

    /// The attempt of `device` ended with its step done or given up: its next step may be tried.
    pub(super) fn done(&mut self, device: &Arc<str>, health: Health, now: Duration) {
        self.stop_running(device, health, now);
        self.pop(device);
    }

    /// The attempt ended, the step is tried again at `at`.
    pub(super) fn retry(&mut self, device: &Arc<str>, health: Health, now: Duration, at: Duration) {
        self.stop_running(device, health, now);
        if let Some(entry) = self.devices.get_mut(device) {
            entry.head = Head::Delayed(at);
            self.delayed.insert((at, device.clone()));
        }
    }

    /// Nobody was there: the step waits for a subscriber of `topic`, and until `deadline` at most.
    pub(super) fn park(&mut self, device: &Arc<str>, topic: Arc<str>, now: Duration, deadline: Duration) {
        self.stop_running(device, Health::Unknown, now);
        if let Some(entry) = self.devices.get_mut(device) {
            self.delayed.insert((deadline, device.clone()));
            self.absent.entry(topic.clone()).or_default().insert(device.clone());
            entry.head = Head::Absent(topic, deadline);
        }
    }

    /// A subscriber of `topic` came; of any topic, if none is named.
    pub(super) fn arrived(&mut self, topic: Option<&str>) {
        let woken: Vec<Arc<str>> = match topic {
            Some(topic) => self.absent.get(topic).into_iter().flatten().cloned().collect(),
            None => self.absent.values().flatten().cloned().collect(),
        };
        for device in woken {
            self.wake(&device);
        }
    }

    /// Leaves the whole target alone until `until`.
    pub(super) fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Takes out a step that shall not be done any more, unless it runs.
    pub(super) fn remove(&mut self, device: &str, ticket: u64) {
        let Some((device, entry)) = self.devices.get_key_value(device) else {
            self.spilled = self.spilled.saturating_sub(1);
            return;
        };
        let device = device.clone();
        match entry.queue.iter().position(|step| step.ticket == ticket) {
            None => self.spilled = self.spilled.saturating_sub(1),
            Some(0) if matches!(entry.head, Head::Running(_)) => {}
            Some(0) => {
                self.unlist(&device);
                self.pop(&device);
            }
            Some(at) => {
                if let Some(entry) = self.devices.get_mut(&device) {
                    entry.queue.remove(at);
                    self.in_memory -= 1;
                }
            }
        }
    }

    /// When [`Lane::next`] may next find something, if only time is missing.
    pub(super) fn due(&self) -> Option<Duration> {
        let delayed = self.delayed.first().map(|(at, _)| *at);
        let held = self.breaker.opens_up().map(|at| at.max(self.paused_until));
        let able = held.filter(|_| !self.able.is_empty() && self.running < self.concurrency);
        delayed.into_iter().chain(able).min()
    }

    pub(super) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Steps that wait or run, in memory and in the store.
    pub(super) fn pending(&self) -> u64 {
        u64::try_from(self.in_memory).unwrap_or(u64::MAX).saturating_add(self.spilled)
    }

    fn take(&mut self, step: &Waiting) {
        self.loaded_to = Some(self.loaded_to.map_or(step.ticket, |to| to.max(step.ticket)));
        self.in_memory += 1;
        let entry = self.devices.entry(step.device.clone()).or_default();
        entry.queue.push_back(Step { ticket: step.ticket, number: step.number });
        if entry.queue.len() == 1 {
            self.able.insert((step.ticket, step.device.clone()));
        }
    }

    fn stop_running(&mut self, device: &Arc<str>, health: Health, now: Duration) {
        let Some(entry) = self.devices.get_mut(device) else { return };
        if let Head::Running(permit) = entry.head {
            entry.head = Head::Able;
            self.running -= 1;
            self.breaker.ended(permit, health, now);
        }
    }

    /// Takes out the first step of a device that is in no list.
    fn pop(&mut self, device: &Arc<str>) {
        let Some(entry) = self.devices.get_mut(device) else { return };
        if entry.queue.pop_front().is_some() {
            self.in_memory -= 1;
        }
        entry.head = Head::Able;
        match entry.queue.front() {
            Some(step) => drop(self.able.insert((step.ticket, device.clone()))),
            None => drop(self.devices.remove(device)),
        }
    }

    fn wake_delayed(&mut self, now: Duration) {
        while let Some((at, device)) = self.delayed.first().cloned() {
            if at > now {
                return;
            }
            self.wake(&device);
        }
    }

    /// Makes the first step of a device that waits able.
    fn wake(&mut self, device: &Arc<str>) {
        self.unlist(device);
        if let Some(entry) = self.devices.get_mut(device) {
            entry.head = Head::Able;
            if let Some(step) = entry.queue.front() {
                self.able.insert((step.ticket, device.clone()));
            }
        }
    }

    /// Takes a device whose first step does not run out of the list it is in.
    fn unlist(&mut self, device: &Arc<str>) {
        let Some(entry) = self.devices.get(device) else { return };
        match entry.head.clone() {
            Head::Able => {
                if let Some(step) = entry.queue.front() {
                    self.able.remove(&(step.ticket, device.clone()));
                }
            }
            Head::Delayed(at) => drop(self.delayed.remove(&(at, device.clone()))),
            Head::Absent(topic, deadline) => {
                self.delayed.remove(&(deadline, device.clone()));
                if let Some(devices) = self.absent.get_mut(&topic) {
                    devices.remove(device);
                    if devices.is_empty() {
                        self.absent.remove(&topic);
                    }
                }
            }
            Head::Running(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
