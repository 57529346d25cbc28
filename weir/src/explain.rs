//! The way of one message, told from what is there: the streams, the tables, the outbox of workflows, the dead letters.
//! Nothing is recorded for it, so any message can be asked for, and it costs nothing when nobody asks.
//!
//! ```text
//!  table readings ─ files by name, row groups by statistics ─> rows, and roughly when and at which offset
//!  stream readings ─ from there on ─> each copy      (not in the table: from its position on, then backwards)
//!  streams alerts, workflows ─ from the time of the first copy on ─> what fired ─> outbox: runs; table alerts: rows
//!  streams of dead letters ─ backwards ─> what was refused
//! ```
//!
//! All of it is bounded ([`limits`]), and what was searched is told. It works on streams of either backend, in a process
//! that runs ([`crate::api`]) and on what one left ([`crate::commands`]).
//!
//! In reading order: [`view`] (what is told), `search` (bounded reads), `columns` (rows out of batches), `readings`,
//! `table` with `file`, `fired`, `runs`, `letters`, `judge` (the verdict) with `notes`, [`text`] (for a person), [`limits`].

mod columns;
mod file;
mod fired;
mod judge;
mod letters;
pub(crate) mod limits;
mod notes;
mod readings;
mod runs;
mod search;
mod table;
pub(crate) mod text;
pub(crate) mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use streams::{Partition, StreamName, Streams, seek};
use telemetry::{Clock, Timestamp};

pub(crate) use self::runs::Runs;

use self::fired::{Alerts, Firings};
use self::letters::Letters;
use self::readings::{Finder, Found};
use self::search::Search;
use self::table::Wanted;
use self::view::{Explanation, Letter, Progress, Searched, Stored, Verdict, Who};
use crate::dlq::Dlq;
use crate::dlq::view::Source as LetterSource;

/// Where a message is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) tables: Tables,
    pub(crate) runs: Runs,
    /// What was done about dead letters; `None` where that is not known.
    pub(crate) letters: Option<Dlq>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Directories of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    readings: PathBuf,
    alerts: PathBuf,
}

impl Tables {
    /// The tables of the data directory `data`.
    pub(crate) fn of_data(data: &Path) -> Self {
        Self::beside(&data.join("tables").join("readings"))
    }

    /// The table of readings in `readings`, and that of alerts beside it.
    pub(crate) fn beside(readings: &Path) -> Self {
        Self { readings: readings.to_owned(), alerts: readings.with_file_name("alerts") }
    }
}

/// How much may be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    /// Of the stream of readings.
    pub(crate) bytes: u64,
}

impl Bounds {
    /// For a request to a process that has other things to do.
    pub(crate) const REQUEST: Self = Self { time: limits::REQUEST, bytes: limits::REQUEST_BYTES };
    /// For a command that has the streams to itself.
    pub(crate) const COMMAND: Self = Self { time: limits::COMMAND, bytes: u64::MAX };
}

/// Tells what is known of the message `who`.
///
/// # Errors
/// If streams cannot be read. What cannot be read of tables and outbox is told.
pub(crate) async fn explain(sources: &Sources, who: Who, bounds: Bounds) -> anyhow::Result<Explanation> {
    let explainer = Explainer::new(sources, &who, bounds)?;
    let mut table = explainer.table_of_readings(&[]).await?;
    let (found, searched) = explainer.copies(&table).await?;
    if let (true, Some(first)) = (table.rows.is_empty() && table.version.is_some(), found.first()) {
        // It may have been committed meanwhile.
        let again = explainer.table_of_readings(&[first.offset]).await?;
        if !again.rows.is_empty() {
            table = again;
        }
    }
    let kept = judge::kept(&found, &table);
    let since = kept.and_then(|kept| found.get(kept)).map(|found| found.appended_at);
    let since = since.or_else(|| judge::received_at(&table)).or_else(|| found.first().map(|found| found.appended_at));
    let (alerts, alerts_searched) = explainer.alerts(since).await?;
    let (firings, firings_searched) = explainer.firings(since).await?;
    let runs = sources.runs.of(&who, firings, &alerts).await;
    let offsets: Vec<u64> = alerts.iter().map(|alert| alert.offset).collect();
    let alerts_table =
        explainer.wanted(&sources.tables.alerts, "alerts", &offsets, explainer.until(90)).search().await?;
    let (letters, letters_searched) = explainer.letters().await?;
    let told = kept.and_then(|kept| found.get(kept)).or(found.first()).map(|found| found.readings.clone());
    let mut explanation = Explanation {
        verdict: Verdict::Unknown,
        says: String::new(),
        notes: Vec::new(),
        partition: explainer.partition,
        readings: told.unwrap_or_else(|| table.rows.iter().map(|row| row.reading.clone()).collect()),
        copies: judge::sightings(&found, kept),
        searched,
        groups: explainer.groups().await?,
        table,
        alerts,
        alerts_searched,
        alerts_table,
        runs,
        firings_searched,
        letters,
        letters_searched,
        who: who.clone(),
    };
    judge::judge(&mut explanation);
    Ok(explanation)
}

/// Looks into other tables than those that `explanation` was made with, and judges again. For tables that the process asked
/// does not have.
///
/// # Errors
/// If the search panics.
pub(crate) async fn look_into(
    explanation: &mut Explanation,
    tables: &Tables,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<()> {
    let until = clock.monotonic().saturating_add(limits::COMMAND);
    let wanted = |dir: &Path, name, offsets| Wanted {
        dir: dir.to_owned(),
        name,
        who: explanation.who.clone(),
        partition: explanation.partition,
        offsets,
        clock: clock.clone(),
        until,
    };
    let offsets = explanation.alerts.iter().map(|alert| alert.offset).collect();
    let (readings, alerts) =
        (wanted(&tables.readings, "readings", Vec::new()), wanted(&tables.alerts, "alerts", offsets));
    explanation.table = readings.search().await?;
    explanation.alerts_table = alerts.search().await?;
    judge::keep(explanation);
    judge::judge(explanation);
    Ok(())
}

/// What all parts of one explanation need.
struct Explainer<'a> {
    sources: &'a Sources,
    who: &'a Who,
    partition: u32,
    begun: Duration,
    bounds: Bounds,
}

impl<'a> Explainer<'a> {
    fn new(sources: &'a Sources, who: &'a Who, bounds: Bounds) -> anyhow::Result<Self> {
        let readings = StreamName::readings();
        let spec = sources.streams.specs().iter().find(|spec| spec.name == readings);
        let partitions = spec.context("there is no stream readings")?.partitions;
        let partition = telemetry::partition::of_device(&who.device, partitions);
        Ok(Self { sources, who, partition, begun: sources.clock.monotonic(), bounds })
    }

    /// When a part must have ended: so many hundredths of the time after the beginning. None leaves the next without any.
    fn until(&self, hundredths: u32) -> Duration {
        self.begun.saturating_add(self.bounds.time.saturating_mul(hundredths) / 100)
    }

    fn wanted(&self, dir: &Path, name: &'static str, offsets: &[u64], until: Duration) -> Wanted {
        Wanted {
            dir: dir.to_owned(),
            name,
            who: self.who.clone(),
            partition: self.partition,
            offsets: offsets.to_owned(),
            clock: self.sources.clock.clone(),
            until,
        }
    }

    async fn table_of_readings(&self, offsets: &[u64]) -> anyhow::Result<Stored> {
        self.wanted(&self.sources.tables.readings, "readings", offsets, self.until(40)).search().await
    }

    fn search(&self, of: Partition, from: u64, bytes: u64, until: Duration) -> anyhow::Result<Search> {
        let streams = self.sources.streams.clone();
        Ok(Search::new(streams, of, from, (self.sources.clock.clone(), until), bytes)?)
    }

    /// Each time that the message is in the stream, beginning where `table` says that it can be.
    async fn copies(&self, table: &Stored) -> anyhow::Result<(Vec<Found>, Searched)> {
        let of = Partition::new(StreamName::readings(), self.partition);
        let streams = self.sources.streams.as_ref();
        let range = judge::offsets(table);
        let (from, floor) = match (judge::received_at(table), range) {
            (Some(received_at), Some((first, last))) => {
                let appended = seek::at_time(streams, &of, received_at).await?;
                (appended.max(first).min(last), first)
            }
            // Not in the table, or in a file of another program: what the table has not passed comes first.
            _ if table.version.is_some() => (table.position.unwrap_or(0), 0),
            _ => (u64::MAX, 0),
        };
        let mut finder = Finder::new(self.who);
        let mut search = self.search(of, from, self.bounds.bytes, self.until(70))?;
        search
            .forward(|record, batch| {
                finder.look(record, batch)?;
                // A resend may come at any time.
                Ok(false)
            })
            .await?;
        if !finder.has_stored(table) {
            search.backward(floor, |record, batch| finder.look(record, batch)).await?;
        }
        Ok((finder.into_found(), search.searched()))
    }

    /// Where in `of` to begin to look for what followed a record appended at `since`; its end if there was none.
    async fn after(&self, of: &Partition, since: Option<Timestamp>) -> anyhow::Result<u64> {
        let Some(since) = since else { return Ok(u64::MAX) };
        let slack = i64::try_from(limits::CLOCKS.as_micros()).unwrap_or(0);
        let time = Timestamp::from_micros(since.as_micros().saturating_sub(slack));
        Ok(seek::at_time(self.sources.streams.as_ref(), of, time).await?)
    }

    async fn alerts(&self, since: Option<Timestamp>) -> anyhow::Result<(Vec<view::Alert>, Searched)> {
        let of = Partition::new(StreamName::alerts(), self.partition);
        let from = self.after(&of, since).await?;
        let (mut search, mut alerts) =
            (self.search(of, from, limits::DERIVED_BYTES, self.until(80))?, Alerts::new(self.who));
        search.forward(|record, batch| alerts.look(record, batch)).await?;
        Ok((alerts.found, search.searched()))
    }

    async fn firings(&self, since: Option<Timestamp>) -> anyhow::Result<(Vec<fired::Firing>, Searched)> {
        let of = Partition::new(StreamName::workflows(), self.partition);
        let from = self.after(&of, since).await?;
        let (mut search, mut firings) =
            (self.search(of, from, limits::DERIVED_BYTES, self.until(80))?, Firings::new(self.who));
        search.forward(|record, batch| firings.look(record, batch)).await?;
        Ok((firings.found, search.searched()))
    }

    /// Letters of both sources, newest first.
    async fn letters(&self) -> anyhow::Result<(Vec<Letter>, Vec<Searched>)> {
        let (mut found, mut searched) = (Vec::new(), Vec::new());
        let streams = [
            (LetterSource::Ingest, StreamName::dead_letters()),
            (LetterSource::Workflows, StreamName::workflow_dead_letters()),
        ];
        for (source, stream) in streams {
            let mut search =
                self.search(Partition::new(stream, 0), u64::MAX, limits::DERIVED_BYTES, self.until(100))?;
            let mut letters = Letters::new(self.who, source);
            search.backward(0, |record, batch| letters.look(record, batch)).await?;
            found.extend(letters.into_found());
            searched.push(search.searched());
        }
        if let Some(dlq) = &self.sources.letters {
            for letter in found.iter_mut().filter(|letter| dlq.check_source(letter.id.source).is_ok()) {
                letter.state = dlq.show(letter.id).await?.map(|shown| shown.state);
            }
        }
        Ok((found, searched))
    }

    /// Where the groups stand that read what the message is in, or leads to.
    async fn groups(&self) -> anyhow::Result<Vec<Progress>> {
        let followed = [StreamName::readings(), StreamName::alerts(), StreamName::workflows()];
        let mut groups = Vec::new();
        for at in self.sources.streams.groups().await? {
            let of = at.partition;
            if of.index != self.partition || !followed.contains(&of.stream) {
                continue;
            }
            let end = self.sources.streams.bounds(&of)?.end;
            let (group, stream) = (at.group.to_string(), of.stream.to_string());
            groups.push(Progress { group, stream, position: at.offset, end });
        }
        groups.sort_by(|a, b| (&a.stream, &a.group).cmp(&(&b.stream, &b.group)));
        Ok(groups)
    }
}

#[cfg(test)]
mod tests;
