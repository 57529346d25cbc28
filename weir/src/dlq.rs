//! Dead letters: what ingest refused and what workflows gave up, as one list, and the way back.
//!
//! ```text
//!  dead_letters/0 ───────────┐            ┌─ redrive ─> ingest: back to the intake, same topic, payload, identity
//!  workflow_dead_letters/0 ──┴─ list, show┼─ redrive ─> workflows: the run goes on at its step, same key
//!                                         └─ drop     ─> out of the list
//!  dlq.redb: which letters were redriven or dropped
//! ```
//!
//! The letters themselves are records of streams: nothing changes them, no consumer group holds them, and they live
//! as long as the log retains them. What was done about a letter is a mark in a small file. A mark is a convenience:
//! one that is lost, or was not written because the process was killed after it had put a letter back, shows the
//! letter as waiting, and redriving it again happens with the same idempotency key.
//!
//! In reading order: [`view`] (what the API and the commands speak), `letter` (a row of the streams), `scan`
//! (bounded reads), `marks` (the file), `change` (redrive and drop), `runs` and `executor` (what it needs of
//! workflows), `limits`.

mod change;
mod executor;
mod letter;
mod limits;
mod marks;
mod runs;
mod scan;
pub(crate) mod view;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use ingest::Intake;
use streams::Streams;
use telemetry::Clock;

pub(crate) use self::limits::PAGE_LETTERS;
pub(crate) use self::runs::Runs;

use self::letter::Letter;
use self::marks::{Mark, Marks};
use self::scan::Scan;
use self::view::{Detail, Filter, LetterId, Listing, Source, Summary};

/// The dead letters of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Dlq {
    streams: Arc<dyn Streams>,
    /// The sources whose letters are told here; those of others are in other processes.
    sources: Vec<Source>,
    /// `None` where there is no door: then letters of ingest are told elsewhere.
    intake: Option<Intake>,
    /// `None` where no workflows run: their letters can be read at most, and neither redriven nor dropped.
    runs: Option<Arc<dyn Runs>>,
    marks: Arc<Marks>,
    clock: Arc<dyn Clock>,
    /// One change at a time: two clients must not put one letter back twice.
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl Dlq {
    /// Opens or creates the marks in `dir`; blocks. Letters of a source are told where what they go back to is, or all
    /// of them if this process is the only one, `alone`.
    pub(crate) fn open(
        dir: &Path,
        streams: Arc<dyn Streams>,
        intake: Option<Intake>,
        runs: Option<Arc<dyn Runs>>,
        alone: bool,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let marks = Marks::open(&dir.join("dlq.redb"));
        let marks = marks.context("marks of dead letters (each process needs a data directory of its own)")?;
        let told = |source: &Source| match source {
            Source::Ingest => alone || intake.is_some(),
            Source::Workflows => alone || runs.is_some(),
        };
        let sources = Source::ALL.into_iter().filter(told).collect();
        Ok(Self { streams, sources, intake, runs, marks: Arc::new(marks), clock, changing: Arc::default() })
    }

    /// Refuses a source whose letters are in another process; the text says in which.
    pub(crate) fn check_source(&self, source: Source) -> Result<(), String> {
        if self.sources.contains(&source) { Ok(()) } else { Err(source.elsewhere()) }
    }

    /// Those of `source`, or all that are told here.
    fn chosen(&self, source: Option<Source>) -> Vec<Source> {
        self.sources.iter().copied().filter(|of| source.is_none_or(|source| source == *of)).collect()
    }

    /// Letters that `filter` chooses, oldest first, those of ingest before those of workflows; after letter `after`.
    /// At most [`PAGE_LETTERS`] and at most so many that were looked at in one go; [`Listing::next`] says where to go
    /// on.
    pub(crate) async fn list(&self, filter: &Filter, limit: usize, after: Option<LetterId>) -> anyhow::Result<Listing> {
        let limit = limit.clamp(1, PAGE_LETTERS);
        let mut scan = Scan::new(self.streams.clone(), self.chosen(filter.source), after, None)?;
        let mut listing = Listing::default();
        while let Some(letters) = scan.next().await? {
            let letters = letters.into_iter().filter(|letter| filter.wants_reason(&letter.reason)).collect();
            for (letter, mark) in self.marked(letters).await? {
                if !filter.wants_state(mark.state()) {
                    continue;
                }
                if listing.letters.len() == limit {
                    listing.next = listing.letters.last().map(|last| last.id);
                    return Ok(listing);
                }
                listing.letters.push(summary(&letter, &mark));
            }
        }
        listing.next = scan.stopped();
        Ok(listing)
    }

    /// One letter with its original bytes; `None` if it is not, or no longer, in the stream.
    pub(crate) async fn show(&self, id: LetterId) -> anyhow::Result<Option<Detail>> {
        let Some(letter) = scan::one(self.streams.as_ref(), id).await? else { return Ok(None) };
        let Some((letter, mark)) = self.marked(vec![letter]).await?.pop() else { return Ok(None) };
        let mut detail = detail(&letter, &mark);
        if let (Some(runs), Some(step)) = (&self.runs, letter.step()) {
            detail.attempts = runs.attempts(&step).await.or(detail.attempts);
        }
        Ok(Some(detail))
    }

    /// Each letter with its mark, in their order.
    async fn marked(&self, letters: Vec<Letter>) -> anyhow::Result<Vec<(Letter, Mark)>> {
        let marks = self.marks.clone();
        let marked = move || {
            let ids: Vec<LetterId> = letters.iter().map(|letter| letter.id).collect();
            anyhow::Ok(letters.into_iter().zip(marks.of(&ids)?).collect())
        };
        tokio::task::spawn_blocking(marked).await.context("marks of dead letters")?
    }
}

fn summary(letter: &Letter, mark: &Mark) -> Summary {
    Summary {
        id: letter.id,
        source: letter.id.source,
        state: mark.state(),
        reason: letter.reason.clone(),
        detail: view::shortened(&letter.detail),
        topic: view::shortened(&letter.topic),
        client_id: view::shortened(&letter.client_id),
        received_at: view::time(letter.received_at),
        bytes: letter.payload.len(),
        attempts: attempts(letter, mark),
    }
}

fn detail(letter: &Letter, mark: &Mark) -> Detail {
    Detail {
        id: letter.id,
        source: letter.id.source,
        state: mark.state(),
        reason: letter.reason.clone(),
        detail: letter.detail.clone(),
        topic: letter.topic.clone(),
        client_id: letter.client_id.clone(),
        received_at: view::time(letter.received_at),
        boot: letter.identity.map(|identity| identity.boot),
        seq: letter.identity.map(|identity| identity.seq),
        attempts: attempts(letter, mark),
        redrives: mark.redrives,
        marked_at: mark.at.map(view::time),
        bytes: letter.payload.len(),
        text: std::str::from_utf8(&letter.payload).ok().map(str::to_owned),
        base64: view::base64(&letter.payload),
    }
}

/// Of ingest: how often the message was offered. Of workflows the run knows.
fn attempts(letter: &Letter, mark: &Mark) -> Option<u32> {
    match letter.id.source {
        Source::Ingest => Some(mark.redrives.saturating_add(1)),
        Source::Workflows => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
