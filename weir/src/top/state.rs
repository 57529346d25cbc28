//! What is known of the processes that are watched, and what of it is on the screen.
//!
//! ```text
//! answers ──> Source: newest snapshot, rates since the one before ──┐
//!                                          … each interval ─────────┴──> Picture of all, rates of all, histories
//! ```

mod delays;
mod picture;
mod rates;
mod source;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) use self::delays::Delays;
pub(super) use self::picture::{Fired, Picture, Reader, Sides, Stored, Target, Values};
pub(super) use self::rates::Series;
pub(super) use self::source::{Presence, Source};
use super::figures::float;
use super::history::History;
use super::input::Action;
use crate::snapshot::Snapshot;

/// Most figures whose history is kept; a process tells of no more than 256 pairs of metric and site.
const HISTORIES: usize = 2048;

/// What the screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum View {
    /// The way of a reading, and the newest of everything
    #[default]
    Overview,
    /// Values by metric and site, and what was refused
    Fleet,
    /// Rules, workflows, breakers, alerts
    Rules,
    /// Log, groups of consumers, tables
    Storage,
}

impl View {
    /// All, in the order of their keys.
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Fleet, Self::Rules, Self::Storage];

    /// Its name on the screen.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Fleet => "fleet",
            Self::Rules => "rules and workflows",
            Self::Storage => "storage",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Overview => Self::Fleet,
            Self::Fleet => Self::Rules,
            Self::Rules => Self::Storage,
            Self::Storage => Self::Overview,
        }
    }

    fn previous(self) -> Self {
        self.next().next().next()
    }
}

/// A figure with a history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trace {
    /// What happened in a second.
    Rate(Series),
    /// Records that a group of consumers has yet to read in a stream.
    Lag(String, String),
    /// The mean of a metric at a site in each full minute.
    Mean(String, String),
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(crate) struct State {
    sources: Vec<Source>,
    picture: Picture,
    rates: BTreeMap<Series, f64>,
    delays: Delays,
    histories: BTreeMap<Trace, History>,
    /// The minute whose means were recorded last.
    minute: i64,
    now: Duration,
    view: View,
    scroll: usize,
    paused: bool,
    help: bool,
}

impl State {
    /// Nothing known yet of the processes at `addresses`.
    pub(crate) fn new(addresses: &[SocketAddr], view: View) -> Self {
        Self {
            sources: addresses.iter().map(|address| Source::new(*address)).collect(),
            picture: Picture::default(),
            rates: BTreeMap::new(),
            delays: Delays::default(),
            histories: BTreeMap::new(),
            minute: 0,
            now: Duration::ZERO,
            view,
            scroll: 0,
            paused: false,
            help: false,
        }
    }

    /// Takes what the process number `source` answered at `now` of the monotonic clock. While paused it is dropped.
    pub(crate) fn take(&mut self, source: usize, answer: Result<Snapshot, String>, now: Duration) {
        if self.paused {
            return;
        }
        self.now = now;
        if let Some(source) = self.sources.get_mut(source) {
            source.take(answer, now);
        }
        let snapshots: Vec<&Snapshot> = self.sources.iter().filter_map(Source::snapshot).collect();
        self.picture = Picture::of(&snapshots);
        let changes = || self.sources.iter().filter_map(Source::changes);
        let (rates, delays) = (
            rates::sum(changes().map(|changes| &changes.rates)),
            Delays::sum(changes().map(|changes| &changes.delays)),
        );
        (self.rates, self.delays) = (rates, delays);
    }

    /// An interval has passed: figures go into their histories.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.paused {
            return;
        }
        self.now = now;
        let mut points = self.points();
        points.truncate(HISTORIES);
        let mut histories = BTreeMap::new();
        // What is told of no more is forgotten.
        for (trace, value) in points {
            let mut history = self.histories.remove(&trace).unwrap_or_default();
            if let Some(value) = value {
                history.push(value);
            }
            histories.insert(trace, history);
        }
        self.histories = histories;
    }

    /// Does what a key asks for; whether to go on.
    pub(crate) fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Quit => return false,
            // Any key leaves the help.
            _ if self.help => self.help = false,
            Action::Next => self.show(self.view.next()),
            Action::Previous => self.show(self.view.previous()),
            Action::Show(view) => self.show(view),
            Action::Up(lines) => self.scroll = self.scroll.saturating_sub(lines),
            Action::Down(lines) => self.scroll = self.scroll.saturating_add(lines).min(self.longest()),
            Action::Pause => self.paused = !self.paused,
            Action::Help => self.help = true,
            Action::Redraw => {}
        }
        true
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.scroll = 0;
    }

    /// Rows of the longest list that can be scrolled.
    fn longest(&self) -> usize {
        let Picture { fleet, rules, tables, groups, .. } = &self.picture;
        fleet.len().max(rules.len()).max(tables.len()).max(groups.len()).saturating_sub(1)
    }

    /// The newest value of all figures with a history, those first that must not be missed.
    fn points(&mut self) -> Vec<(Trace, Option<f64>)> {
        let rate = |series: Series| (self.rates.get(&series).copied(), Trace::Rate(series));
        let mut series = vec![Series::ReceivedReadings];
        series.extend(self.picture.tables.keys().map(|table| Series::TableRows(table.clone())));
        series.extend(self.picture.fleet.keys().map(|(metric, site)| Series::Fleet(metric.clone(), site.clone())));
        let mut points: Vec<_> = Vec::new();
        for ((group, stream), reader) in &self.picture.groups {
            points.push((Trace::Lag(group.clone(), stream.clone()), Some(float(reader.lag_records))));
        }
        points.extend(series.into_iter().map(rate).map(|(value, trace)| (trace, value)));
        let minute = self.picture.time_ms.div_euclid(60_000);
        let is_new = std::mem::replace(&mut self.minute, minute) != minute;
        for ((metric, site), values) in &self.picture.fleet {
            points.push((Trace::Mean(metric.clone(), site.clone()), values.mean.filter(|_| is_new)));
        }
        points
    }

    /// The processes, in the order of their addresses.
    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// All processes together.
    pub(super) fn picture(&self) -> &Picture {
        &self.picture
    }

    /// How much of `series` happens in a second, in all processes; `None` before there are two snapshots.
    pub(super) fn rate(&self, series: &Series) -> Option<f64> {
        let known = self.sources.iter().any(|source| source.changes().is_some());
        known.then(|| self.rates.get(series).copied().unwrap_or(0.0))
    }

    /// How much of all series that `is` accepts happens in a second, in all processes.
    pub(super) fn rate_of(&self, is: fn(&Series) -> bool) -> Option<f64> {
        let known: Vec<f64> = self.sources.iter().filter_map(|source| source.rate_of(is)).collect();
        if known.is_empty() { None } else { Some(known.iter().sum()) }
    }

    /// How long hops took since the snapshots before, in all processes.
    pub(super) fn delays(&self) -> &Delays {
        &self.delays
    }

    /// What a figure was.
    pub(super) fn history(&self, trace: &Trace) -> Option<&History> {
        self.histories.get(trace)
    }

    /// When it is, on the clock of [`State::take`].
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    /// Rows of the list of the view that are above its first visible one.
    pub(super) fn scroll(&self) -> usize {
        self.scroll
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn shows_help(&self) -> bool {
        self.help
    }
}

#[cfg(test)]
pub(super) mod tests;
