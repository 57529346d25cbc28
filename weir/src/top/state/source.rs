//! One process that is watched.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::delays::Delays;
use super::rates::{self, Counts, Series};
use crate::snapshot::Snapshot;
use crate::top::figures::float;

/// CPU is counted in whole seconds, so a share of it is told of this time, within a tenth.
const CPU_WINDOW: Duration = Duration::from_secs(30);
/// Least time to tell it of.
const CPU_WATCHED: Duration = Duration::from_secs(10);

/// A process at an address.
#[derive(Clone, Debug)]
pub(in crate::top) struct Source {
    address: SocketAddr,
    newest: Option<Newest>,
    presence: Presence,
    /// When it had used how many seconds of CPU, over the last [`CPU_WINDOW`].
    cpu: VecDeque<(Duration, f64)>,
    /// Times that its counts began anew while it was watched.
    restarts: u32,
}

/// Whether a process answers.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::top) enum Presence {
    /// It was not heard of yet.
    Asked,
    /// It answered last time.
    Here,
    /// It did not answer, since a moment, and why.
    Away(Duration, String),
}

#[derive(Clone, Debug)]
struct Newest {
    snapshot: Snapshot,
    counts: Counts,
    at: Duration,
    /// `None` of the first snapshot.
    changes: Option<Changes>,
}

/// What happened since the snapshot before.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    /// In a second.
    pub(super) rates: BTreeMap<Series, f64>,
    pub(super) delays: Delays,
}

impl Source {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, newest: None, presence: Presence::Asked, cpu: VecDeque::new(), restarts: 0 }
    }

    /// Takes an answer that came at `now`.
    pub(super) fn take(&mut self, answer: Result<Snapshot, String>, now: Duration) {
        match answer {
            Ok(snapshot) => {
                self.presence = Presence::Here;
                self.newest = Some(match self.newest.take() {
                    None => Newest { counts: rates::counts(&snapshot), snapshot, at: now, changes: None },
                    Some(before) => self.newer(before, snapshot, now),
                });
                self.note_cpu(now);
            }
            Err(reason) => {
                let since = if let Presence::Away(since, _) = &self.presence { *since } else { now };
                self.presence = Presence::Away(since, reason);
            }
        }
    }

    fn newer(&mut self, mut before: Newest, snapshot: Snapshot, now: Duration) -> Newest {
        let counts = rates::counts(&snapshot);
        if rates::restarted((&before.snapshot, &before.counts), (&snapshot, &counts)) {
            self.restarts += 1;
            before.counts.clear();
            before.snapshot.latencies.clear();
            before.changes = None;
            self.cpu.clear();
        }
        let rates = rates::between(&before.counts, &counts, now.saturating_sub(before.at));
        let mut delays = Delays::between(&before.snapshot.latencies, &snapshot.latencies);
        if let Some(changes) = &before.changes {
            delays = delays.or(&changes.delays);
        }
        Newest { snapshot, counts, at: now, changes: Some(Changes { rates, delays }) }
    }

    pub(in crate::top) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(in crate::top) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The newest snapshot, also of a process that is away.
    pub(in crate::top) fn snapshot(&self) -> Option<&Snapshot> {
        self.newest.as_ref().map(|newest| &newest.snapshot)
    }

    /// What happens; `None` of a process that is away or was heard of only once.
    pub(super) fn changes(&self) -> Option<&Changes> {
        if self.presence == Presence::Here { self.newest.as_ref()?.changes.as_ref() } else { None }
    }

    /// How much of all series that `is` accepts happens in a second.
    pub(in crate::top) fn rate_of(&self, is: fn(&Series) -> bool) -> Option<f64> {
        let rates = &self.changes()?.rates;
        Some(rates.iter().filter(|(series, _)| is(series)).map(|(_, rate)| rate).sum())
    }

    fn note_cpu(&mut self, now: Duration) {
        if let Some(seconds) = self.snapshot().and_then(|snapshot| snapshot.totals.cpu_seconds) {
            self.cpu.push_back((now, seconds));
        }
        while self.cpu.front().is_some_and(|(at, _)| now.saturating_sub(*at) > CPU_WINDOW) {
            self.cpu.pop_front();
        }
    }

    /// Share of one CPU that it used of late, or in all its life while it is not watched for long enough to tell.
    pub(in crate::top) fn cpu(&self) -> Option<f64> {
        let snapshot = self.snapshot().filter(|_| self.presence == Presence::Here)?;
        let ((from, before), (to, after)) = (self.cpu.front()?, self.cpu.back()?);
        let watched = to.saturating_sub(*from);
        if watched >= CPU_WATCHED {
            return Some((after - before) / watched.as_secs_f64());
        }
        let life_ms = u64::try_from(snapshot.time_ms - snapshot.started_ms?).ok().filter(|life| *life > 0)?;
        Some(after / (float(life_ms) / 1e3))
    }

    pub(in crate::top) fn restarts(&self) -> u32 {
        self.restarts
    }
}
