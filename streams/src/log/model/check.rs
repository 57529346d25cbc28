//! Building the states that a crash may leave, and opening the log on them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draw::Draw;
use super::machine::{Dimension, Image, Machine};
use super::promise::{Mark, Story};
use super::recorder::{Event, Recorder};
use super::seen::{Opener, Seen, partitions, text};
use crate::log::LogConfig;
use crate::log::disk::{Disk, DiskFile};

/// A disk whose syncs cost nothing.
#[derive(Debug)]
pub(in crate::log) struct Unsynced;

impl Disk for Unsynced {
    fn sync(&self, _: &DiskFile) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }
}

/// Opens states of one sequence; each that is different, once.
pub(super) struct Checker<'a> {
    opener: &'a Opener,
    dir: PathBuf,
    config: LogConfig,
    known: BTreeMap<u64, Result<Seen, String>>,
}

impl<'a> Checker<'a> {
    /// Works in `dir`, which it fills and empties.
    pub(super) fn new(opener: &'a Opener, dir: &Path, config: &LogConfig) -> Result<Self, String> {
        fs::create_dir_all(dir.join("segments")).map_err(text)?;
        let config = LogConfig { dir: dir.to_owned(), ..config.clone() };
        Ok(Self { opener, dir: dir.to_owned(), config, known: BTreeMap::new() })
    }

    /// States opened.
    pub(super) fn states(&self) -> u64 {
        u64::try_from(self.known.len()).unwrap_or(u64::MAX)
    }

    /// Judges the state that `choices` leave.
    pub(super) fn check(&mut self, story: &Story, open: &[Dimension], choices: &[u64]) -> Result<(), String> {
        let image = story.machine.left(open, choices);
        let hash = image.hash();
        if !self.known.contains_key(&hash) {
            self.lay(&image)?;
            // Nothing is deleted here, so that what is missing was missing before.
            let config = LogConfig { retention_bytes: u64::MAX, quota_bytes: u64::MAX, ..self.config.clone() };
            let seen = self.look(Arc::new(Unsynced), config, None);
            self.known.insert(hash, seen);
        }
        match self.known.get(&hash) {
            Some(Ok(seen)) => story.judge(seen),
            Some(Err(why)) => Err(why.clone()),
            None => Err("not opened".to_owned()),
        }
    }

    /// Opens the state that `choices` leave, goes on, and crashes again at `crashes` moments of that. Gives the
    /// violations with the choices of the second crash.
    pub(super) fn check_twice(
        &mut self,
        story: &Story,
        open: &[Dimension],
        choices: &[u64],
        (draw, crashes): (&mut Draw, u64),
    ) -> Result<(), String> {
        let image = story.machine.left(open, choices);
        self.lay(&image)?;
        let known: Vec<String> = image.files.keys().cloned().collect();
        let recorder = Arc::new(Recorder::new(&self.dir, &known, None).map_err(text)?);
        self.look(recorder.clone(), self.config.clone(), Some(&recorder))?;
        let events = recorder.take();
        let mut second = story.after_crash(Machine::of(&image));
        let moments = moments(&events);
        let chosen: BTreeSet<u64> = (0..crashes).map(|_| draw.below(moments)).collect();
        let mut moment = 0;
        for (at, event) in events.iter().enumerate() {
            second.tell(event);
            if !is_moment(&events, at) {
                continue;
            }
            if chosen.contains(&moment) {
                let open = second.machine.open();
                let choices = Machine::draw(&open, draw);
                self.check(&second, &open, &choices)
                    .map_err(|why| format!("{why}; second crash at {moment}, {choices:?}"))?;
            }
            moment += 1;
        }
        second.broken.map_or(Ok(()), Err)
    }

    /// Puts the files of `image` into the directory, and nothing else.
    fn lay(&self, image: &Image) -> Result<(), String> {
        for dir in ["", "segments"] {
            for entry in fs::read_dir(self.dir.join(dir)).map_err(text)? {
                let entry = entry.map_err(text)?;
                let name = entry.file_name().into_string().unwrap_or_default();
                let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                if entry.file_type().is_ok_and(|kind| kind.is_file()) && !image.files.contains_key(&path) {
                    fs::remove_file(entry.path()).map_err(text)?;
                }
            }
        }
        for (path, left) in &image.files {
            fs::write(self.dir.join(path), left.bytes()).map_err(text)?;
        }
        Ok(())
    }

    /// Opens the log, reads all of it, and appends to every partition.
    fn look(&self, disk: Arc<dyn Disk>, config: LogConfig, recorder: Option<&Recorder>) -> Result<Seen, String> {
        let look = || {
            let log = self.opener.open(disk, config).map_err(|why| format!("does not open: {why}"))?;
            let seen = Seen::of(&log)?;
            recorder.into_iter().for_each(|recorder| recorder.mark(Mark::Shown(seen.clone())));
            let records = (0..partitions().len()).map(|slot| (slot, format!("goes on at {slot}").into_bytes()));
            match self.opener.append(&log, recorder, records.collect())? {
                true => Ok(seen),
                false => Err("the log fails after the restart".to_owned()),
            }
        };
        catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| Err("a panic".to_owned()))
    }
}

/// Moments at which a crash is tried.
fn moments(events: &[Event]) -> u64 {
    (0..events.len()).filter(|at| is_moment(events, *at)).map(|_| 1).sum()
}

/// After a change of the disk and all that was promised before the next.
pub(super) fn is_moment(events: &[Event], at: usize) -> bool {
    events.get(at + 1).is_none_or(|next| matches!(next, Event::Change(_)))
}
