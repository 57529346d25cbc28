//! Redrive and drop.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use ingest::{Closed, Incoming};

use super::Dlq;
use super::letter::Letter;
use super::limits::{PAGE_LETTERS, PUT_BACK};
use super::marks::Mark;
use super::scan::{self, Scan};
use super::view::{Change, Changed, Failure, LetterId, Source, State};

/// What to do about letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Redrive,
    Drop,
}

/// What became of one letter.
enum Done {
    Yes,
    /// It was put back, and is a new letter now.
    RefusedAgain,
}

impl Dlq {
    /// Puts letters back, in their order: those of ingest into the intake, those of workflows into the executor, each
    /// with the key that it had. Returns when that is durable.
    ///
    /// # Errors
    /// If `change` asks for nothing, or the log or the marks failed. What was put back by then is put back.
    pub(crate) async fn redrive(&self, change: Change) -> anyhow::Result<Changed> {
        self.detached(Action::Redrive, change).await
    }

    /// Takes letters off the list. A run that waits with one ends.
    ///
    /// # Errors
    /// As [`Dlq::redrive`].
    pub(crate) async fn drop_letters(&self, change: Change) -> anyhow::Result<Changed> {
        self.detached(Action::Drop, change).await
    }

    /// In a task of its own: a client that goes away must not stop it between a letter and its mark.
    async fn detached(&self, action: Action, change: Change) -> anyhow::Result<Changed> {
        let dlq = self.clone();
        let work = async move {
            let _one_at_a_time = dlq.changing.lock().await;
            if change.all { dlq.change_all(action, change).await } else { dlq.change_named(action, change).await }
        };
        tokio::spawn(work).await.context("a change of dead letters")?
    }

    async fn change_named(&self, action: Action, change: Change) -> anyhow::Result<Changed> {
        let mut rows: BTreeMap<(Source, u64), Vec<LetterId>> = BTreeMap::new();
        for id in change.ids {
            rows.entry((id.source, id.offset)).or_default().push(id);
        }
        let mut changed = Changed::default();
        for ((source, offset), ids) in rows {
            if let Err(why) = self.check_source(source) {
                changed.failed.extend(ids.into_iter().map(|id| failure(id, why.clone())));
                continue;
            }
            let mut letters = scan::record(self.streams.as_ref(), source, offset).await?;
            letters.retain(|letter| ids.contains(&letter.id));
            let gone = ids.into_iter().filter(|id| letters.iter().all(|letter| letter.id != *id));
            changed.failed.extend(gone.map(|id| failure(id, "there is no such letter, or none any more".to_owned())));
            let mut wanted = Vec::new();
            for (letter, mark) in self.marked(letters).await? {
                match refusal(action, &mark, change.again) {
                    Some(why) => changed.failed.push(failure(letter.id, why)),
                    None => wanted.push((letter, mark)),
                }
            }
            self.apply(action, wanted, &mut changed).await?;
        }
        Ok(changed)
    }

    async fn change_all(&self, action: Action, change: Change) -> anyhow::Result<Changed> {
        // Letters that come while this goes on are not meant: a letter that is refused again would be put back for
        // ever.
        let until = match change.until {
            Some(until) => until,
            None => scan::ends(self.streams.as_ref())?,
        };
        let mut changed = Changed { until: Some(until), ..Changed::default() };
        let mut scan = Scan::new(self.streams.clone(), self.chosen(change.source), change.after, Some(until))?;
        let (mut room, mut cursor) = (PAGE_LETTERS, change.after);
        while let Some(letters) = scan.next().await? {
            let chosen = |letter: &Letter| change.reason.as_deref().is_none_or(|reason| reason == letter.reason);
            let mut waiting = self.marked(letters.into_iter().filter(chosen).collect()).await?;
            waiting.retain(|(_, mark)| mark.state() == State::Waiting);
            let more = waiting.len() > room;
            waiting.truncate(room);
            room -= waiting.len();
            cursor = waiting.last().map(|(letter, _)| letter.id).or(cursor);
            self.apply(action, waiting, &mut changed).await?;
            if more {
                changed.next = cursor;
                return Ok(changed);
            }
        }
        changed.next = scan.stopped();
        Ok(changed)
    }

    /// Does it, and marks what was done.
    async fn apply(&self, action: Action, letters: Vec<(Letter, Mark)>, changed: &mut Changed) -> anyhow::Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let done = match action {
            Action::Redrive => self.put_back(&letters).await,
            Action::Drop => self.give_up(&letters).await,
        };
        let mut marks = Vec::new();
        let now = self.clock.now();
        for ((letter, mark), done) in letters.iter().zip(done) {
            match done {
                Ok(Done::Yes) => {}
                Ok(Done::RefusedAgain) => changed.refused.push(letter.id),
                Err(why) => {
                    changed.failed.push(failure(letter.id, why));
                    continue;
                }
            }
            changed.done += 1;
            let redrives = mark.redrives.saturating_add(u32::from(action == Action::Redrive));
            marks.push((letter.id, Mark { redrives, dropped: action == Action::Drop, at: Some(now) }));
        }
        self.mark(marks).await
    }

    async fn put_back(&self, letters: &[(Letter, Mark)]) -> Vec<Result<Done, String>> {
        let mut done = Vec::with_capacity(letters.len());
        let mut last_group = None;
        for (letter, _) in letters {
            done.push(match letter.id.source {
                Source::Ingest => self.accept(letter, &mut last_group).await,
                Source::Workflows => self.go_on(letter).await.map(|()| Done::Yes),
            });
        }
        // Groups become durable in order: one wait for all of them.
        if let (Some(group), Some(intake)) = (last_group, &self.intake)
            && let Err(why) = within(intake.durable(group)).await
        {
            let why = format!("{why}; it may have been put back, and will be with the same key if it is tried again");
            for (done, (letter, _)) in done.iter_mut().zip(letters) {
                if letter.id.source == Source::Ingest && done.is_ok() {
                    *done = Err(why.clone());
                }
            }
        }
        done
    }

    async fn accept(&self, letter: &Letter, last_group: &mut Option<u64>) -> Result<Done, String> {
        let intake = self.intake.as_ref().ok_or_else(|| Source::Ingest.elsewhere())?;
        within(intake.room()).await?;
        let incoming = Incoming {
            topic: &letter.topic,
            payload: &letter.payload,
            identity: letter.identity,
            client_id: &letter.client_id,
            traceparent: None,
        };
        let receipt = intake.accept_again(&incoming, letter.received_at).map_err(|closed| closed.to_string())?;
        *last_group = Some(receipt.group);
        Ok(if receipt.is_refused() { Done::RefusedAgain } else { Done::Yes })
    }

    async fn go_on(&self, letter: &Letter) -> Result<(), String> {
        let runs = self.runs.as_ref().ok_or("no workflows run in this process")?;
        match letter.reason.as_str() {
            "workflow_backlog" => runs.admit(&letter.payload).await,
            "workflow_step" => {
                let step = letter.step().ok_or_else(|| format!("topic {} names no step of a run", letter.topic))?;
                runs.redrive(&step).await
            }
            "rule_error" => Err("a rule that failed on a reading is not tried again: the reading itself is stored, \
                                 correct the rule and run `weir rules backtest` over the table"
                .to_owned()),
            reason => Err(format!("letters with reason {reason} cannot be redriven")),
        }
    }

    async fn give_up(&self, letters: &[(Letter, Mark)]) -> Vec<Result<Done, String>> {
        let mut done = Vec::with_capacity(letters.len());
        for (letter, _) in letters {
            let given_up = match (&self.runs, letter.step()) {
                // Only a step has a run that waits with it.
                (_, None) => Ok(()),
                (Some(runs), Some(step)) => runs.give_up(&step).await,
                (None, Some(_)) => Err("no workflows run in this process".to_owned()),
            };
            done.push(given_up.map(|()| Done::Yes));
        }
        done
    }

    async fn mark(&self, marks: Vec<(LetterId, Mark)>) -> anyhow::Result<()> {
        let start = |source| anyhow::Ok((source, scan::start(self.streams.as_ref(), source)?));
        let starts = Source::ALL.map(start).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let store = self.marks.clone();
        tokio::task::spawn_blocking(move || store.set(&marks, &starts))
            .await
            .context("marks of dead letters")?
            .context("the letters were handled, but not marked; they show as waiting")
    }
}

impl Change {
    /// Checks that it asks for something.
    ///
    /// # Errors
    /// A text that names the field.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match (self.ids.len(), self.all) {
            (0, false) => bail!("ids is empty: expected ids of letters, or all = true"),
            (1.., true) => bail!("ids and all exclude each other"),
            (count, _) if count > PAGE_LETTERS => bail!("ids has {count} letters: expected at most {PAGE_LETTERS}"),
            _ => {}
        }
        let narrowed = self.source.is_some() || self.reason.is_some() || self.after.is_some() || self.until.is_some();
        if !self.all && narrowed {
            bail!("source, reason, after and until need all = true");
        }
        if self.all && self.again {
            bail!("again needs ids: all means the letters that wait");
        }
        Ok(())
    }
}

/// Why `action` is not for a letter with `mark`.
fn refusal(action: Action, mark: &Mark, again: bool) -> Option<String> {
    let when = mark.at.map(super::view::time).unwrap_or_default();
    match (mark.state(), action) {
        (State::Waiting, _) => None,
        (State::Redriven, Action::Redrive) if again => None,
        (State::Redriven, Action::Redrive) => Some(format!(
            "redriven at {when}; with `again` it is put back once more, and a message without boot and seq stored twice"
        )),
        (State::Redriven, Action::Drop) => Some(format!("redriven at {when}: there is nothing left to drop")),
        (State::Dropped, _) => Some(format!("dropped at {when}")),
    }
}

/// Waits for the intake, but not for ever: the log may be full.
async fn within(step: impl Future<Output = Result<(), Closed>>) -> Result<(), String> {
    match tokio::time::timeout(PUT_BACK, step).await {
        Ok(taken) => taken.map_err(|closed| closed.to_string()),
        Err(_) => Err(format!("nothing was acknowledged for {} s, see /readyz", PUT_BACK.as_secs())),
    }
}

fn failure(id: LetterId, error: String) -> Failure {
    Failure { id, error }
}
