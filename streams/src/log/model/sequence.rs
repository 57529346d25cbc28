//! Something that happens to a log, drawn from a seed: appends, sealed segments, positions, deletion, restarts
//! of the process, and now and then a disk that fails once.

use std::path::Path;
use std::sync::Arc;

use super::draw::Draw;
use super::promise::{Held, Mark};
use super::recorder::{Event, Fault, Kind, Recorder};
use super::seen::{GROUPS, Opener, Seen, held, partitions, text};
use crate::contract::{GroupName, Position};
use crate::log::{EmbeddedLog, LogConfig};

/// How a sequence goes.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    /// So short and of such small records that every state can be tried.
    pub(super) short: bool,
}

impl Script {
    /// Settings of the log in `dir`.
    pub(super) fn config(&self, dir: &Path) -> LogConfig {
        let mut draw = Draw::new(self.seed ^ 0xC0);
        let segment_bytes = 1024 + draw.below(if self.short { 1 } else { 3000 });
        LogConfig {
            dir: dir.to_owned(),
            segment_bytes,
            retention_bytes: segment_bytes * (1 + draw.below(3)),
            ..LogConfig::default()
        }
    }

    /// Plays it in the empty directory `dir`; gives what happened.
    pub(super) fn play(&self, opener: &Opener, dir: &Path) -> Result<Vec<Event>, String> {
        let mut draw = Draw::new(self.seed);
        let steps = if self.short { draw.size(3, 6) } else { draw.size(8, 24) };
        let fault = match draw.below(6) {
            0 => Some(Fault { of: Kind::Any, left: draw.below(if self.short { 60 } else { 200 }) }),
            1 => Some(Fault { of: Kind::SegmentWrite, left: draw.below(12) }),
            2 => Some(Fault { of: Kind::SegmentSync, left: draw.below(12) }),
            3 => Some(Fault { of: Kind::StoreSync, left: draw.below(12) }),
            _ => None,
        };
        let recorder = Arc::new(Recorder::new(dir, &[], fault).map_err(text)?);
        let mut player =
            Player { opener, recorder, config: self.config(dir), draw, short: self.short, log: None, made: 0 };
        player.restart()?;
        for _ in 0..steps {
            player.step()?;
        }
        player.log = None;
        Ok(player.recorder.take())
    }
}

struct Player<'a> {
    opener: &'a Opener,
    recorder: Arc<Recorder>,
    config: LogConfig,
    draw: Draw,
    short: bool,
    log: Option<Arc<EmbeddedLog>>,
    /// Records made, so that no two are alike.
    made: u64,
}

impl Player<'_> {
    fn step(&mut self) -> Result<(), String> {
        match self.draw.below(12) {
            0 => self.restart(),
            1..=3 => self.commit(),
            _ => self.append(),
        }
    }

    /// The process ends and begins again; what the system has in its cache stays.
    fn restart(&mut self) -> Result<(), String> {
        self.log = None;
        let open = || self.opener.open(self.recorder.clone(), self.config.clone());
        // The one fault may hit the opening, and then the next attempt meets what it left.
        let log = open().or_else(|_| open())?;
        self.recorder.mark(Mark::Shown(Seen::of(&log)?));
        self.log = Some(log);
        Ok(())
    }

    fn log(&self) -> Result<Arc<EmbeddedLog>, String> {
        self.log.clone().ok_or_else(|| "the log is not open".to_owned())
    }

    fn append(&mut self) -> Result<(), String> {
        let count = match self.draw.below(8) {
            0 => self.draw.size(4, 12),
            _ => self.draw.size(1, 3),
        };
        let records = (0..count).map(|_| (self.draw.size(0, partitions().len() - 1), self.payload())).collect();
        let log = self.log()?;
        let stands = self.opener.append(&log, Some(&self.recorder), records)?;
        drop(log);
        if stands { Ok(()) } else { self.restart() }
    }

    fn payload(&mut self) -> Vec<u8> {
        self.made += 1;
        let length = match self.draw.below(16) {
            0 if !self.short => self.draw.size(4097, 9000),
            1..=3 if !self.short => self.draw.size(300, 1500),
            _ => self.draw.size(0, 60),
        };
        let mut payload = self.made.to_le_bytes().to_vec();
        payload.extend(self.draw.bytes(length));
        payload
    }

    fn commit(&mut self) -> Result<(), String> {
        let log = self.log()?;
        let at = self.draw.size(0, GROUPS.len() - 1);
        let Some((name, stream)) = GROUPS.get(at).copied() else { return Ok(()) };
        let before = held(&log, name)?;
        let (mut positions, mut placed) = (Held::new(), Vec::new());
        for (slot, of) in partitions().into_iter().enumerate().filter(|(_, of)| of.stream.as_str() == stream) {
            let bounds = log.shared.view().bounds(slot);
            let from = before.get(&slot).map_or(bounds.start, |(offset, _)| *offset);
            let offset = if self.draw.one_in(3) { bounds.end } else { from + self.draw.below(bounds.end - from + 1) };
            let length = if self.draw.one_in(8) { self.draw.size(3000, 7000) } else { self.draw.size(0, 200) };
            let state = bytes::Bytes::from(self.draw.bytes(length));
            positions.insert(slot, (offset, state.clone()));
            let place = log.shared.layout.find(&of).ok_or("no place")?;
            placed.push((place, of, Position { offset, state }));
        }
        self.recorder.mark(Mark::Committing(name, positions));
        let shared = log.shared.clone();
        let outcome = shared.positions.commit(&GroupName::from(name), &placed, |slot| shared.view().bounds(slot));
        let answered = outcome.is_ok();
        if answered {
            self.recorder.mark(Mark::Committed(name));
        }
        shared.queue.nudge();
        let stands = self.opener.settle(&log);
        drop((shared, log));
        if answered && stands { Ok(()) } else { self.restart() }
    }
}
