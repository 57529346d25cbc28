//! The outbox: a redb file with every run, where each stands, and the keys that were seen. Everything here blocks.
//!
//! ```text
//! runs   number           -> run as JSON, its plan by hash
//! plans  hash             -> plan as JSON
//! ready  (target, ticket) -> (number, device)     one entry a pending run: the step to do next
//! dead   (time, number)   -> key                  runs that wait with a dead letter
//! ended  (time, number)   -> key                  runs that ended, and firings that became dead letters whole
//! seen   key              -> (number, is a run)   every key, as long as its run is kept
//! owner  partitions, name                         whose runs these are
//! ```
//!
//! After a failed write or sync nothing that redb shows can be believed, so every error ends the process; the next
//! start writes the file over itself and syncs it before redb sees it (docs/adr/0009, 0010).

mod copy;
mod file;
mod list;
mod owner;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition};

use super::limits;
use super::run::{Place, Plans, Record, Run};

pub(super) use self::owner::Owner;

const RUNS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("runs");
const PLANS: TableDefinition<'_, u128, &str> = TableDefinition::new("plans");
const READY: TableDefinition<'_, (&str, u64), (u64, &str)> = TableDefinition::new("ready");
const DEAD: TableDefinition<'_, (i64, u64), u128> = TableDefinition::new("dead");
const ENDED: TableDefinition<'_, (i64, u64), u128> = TableDefinition::new("ended");
const SEEN: TableDefinition<'_, u128, (u64, bool)> = TableDefinition::new("seen");
/// `number`, `ticket`: the next ones. `ended_runs`: runs in `ended` that have details.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// Counter: whether consumers were told to begin again, which a store that begins empty needs.
const BEGUN: &str = "begun";
/// One entry: up to where `ended` was looked through for details to forget.
const TRIMMED: TableDefinition<'_, (), (i64, u64)> = TableDefinition::new("trimmed");

/// Why the store failed. The process must restart: nothing it shows can be believed any more.
#[derive(Debug, thiserror::Error)]
#[error("outbox {path}: {source}")]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// What failed.
    #[source]
    pub source: Box<redb::Error>,
}

/// A store that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<Store>,
    /// Whether it begins empty: whatever was in it is forgotten, so what is retained must be read again. It stays so,
    /// over restarts, until [`Store::confirm`].
    pub(super) fresh: bool,
    pub(super) begin: Begin,
}

/// What the executor begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) next_number: u64,
    pub(super) next_ticket: u64,
    /// Pending runs by target.
    pub(super) ready: Vec<(String, u64)>,
    pub(super) dead: u64,
}

/// What becomes durable in one step.
#[derive(Debug, Default)]
pub(super) struct Commit {
    pub(super) changes: Vec<Change>,
    pub(super) next_number: u64,
    pub(super) next_ticket: u64,
    pub(super) forget: Option<Forget>,
}

/// One entry that changed.
#[derive(Debug)]
pub(super) enum Change {
    /// A run, and where the store listed it before.
    Run { run: Box<Run>, before: Option<Place> },
    /// A firing that became a dead letter whole.
    Letter { key: u128, number: u64, at: i64 },
}

/// What is not kept any longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forget {
    /// All that ended before this, microseconds.
    pub(super) before: i64,
    /// Details beyond so many.
    pub(super) keep_runs: u64,
}

/// A step that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) number: u64,
    pub(super) device: Arc<str>,
}

/// A key that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) number: u64,
    /// Not so if its firing became a dead letter whole.
    pub(super) is_run: bool,
}

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    database: Database,
    plans: Plans,
}

impl Store {
    /// Opens or creates `workflows.redb` in `dir`. A damaged file is renamed to `workflows.redb.damaged-N`, and the
    /// store begins empty.
    pub(super) fn open(dir: &Path) -> Result<Opened, StoreError> {
        let path = dir.join("workflows.redb");
        let failed = |source: redb::Error| StoreError { path: path.clone(), source: Box::new(source) };
        let database = file::open(&path).map_err(failed)?;
        let store = Self { path: path.clone(), database, plans: Plans::default() };
        let (begin, fresh) = store.begin().map_err(failed)?;
        Ok(Opened { store: Arc::new(store), fresh, begin })
    }

    /// Says that what is retained is being read again: from now on the store is not fresh.
    pub(super) fn confirm(&self) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(COUNTERS)?.insert(BEGUN, 1)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.failed(error))
    }

    /// Decoded plans.
    pub(super) fn plans(&self) -> &Plans {
        &self.plans
    }

    /// Makes a commit durable; gives the number of runs that waited with a dead letter and were forgotten.
    pub(super) fn commit(&self, commit: &Commit) -> Result<u64, StoreError> {
        self.write(commit).map_err(|error| self.failed(error))
    }

    /// What is known of each key.
    pub(super) fn seen(&self, keys: &[u128]) -> Result<Vec<Option<Seen>>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(SEEN)?;
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                let entry = table.get(*key)?.map(|entry| entry.value());
                found.push(entry.map(|(number, is_run)| Seen { number, is_run }));
            }
            Ok(found)
        };
        read().map_err(|error| self.failed(error))
    }

    /// The next steps of `target` behind ticket `after`, at most `limit`.
    pub(super) fn ready(&self, target: &str, after: Option<u64>, limit: usize) -> Result<Vec<Waiting>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(READY)?;
            let from = after.map_or(0, |after| after.saturating_add(1));
            let mut found = Vec::new();
            for entry in table.range((target, from)..=(target, u64::MAX))?.take(limit) {
                let (key, value) = entry?;
                let (number, device) = value.value();
                found.push(Waiting { ticket: key.value().1, number, device: device.into() });
            }
            Ok(found)
        };
        read().map_err(|error| self.failed(error))
    }

    /// The runs of these numbers, as far as they are there.
    pub(super) fn runs(&self, numbers: &[u64]) -> Result<Vec<Run>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let (runs, plans) = (transaction.open_table(RUNS)?, transaction.open_table(PLANS)?);
            let mut found = Vec::with_capacity(numbers.len());
            for number in numbers {
                if let Some(json) = runs.get(*number)? {
                    found.push(self.decode(json.value(), &plans)?);
                }
            }
            Ok(found)
        };
        read().map_err(|error| self.failed(error))
    }

    fn decode(&self, json: &[u8], plans: &impl ReadableTable<u128, &'static str>) -> Result<Run, redb::Error> {
        let record: Record = serde_json::from_slice(json).map_err(corrupted)?;
        let hash = record.plan().ok_or_else(|| corrupted("a run names no plan"))?;
        let decoded = match self.plans.find(hash) {
            Some(decoded) => decoded,
            None => {
                let json = plans.get(hash)?.ok_or_else(|| corrupted("the plan of a run is missing"))?;
                self.plans.decode(json.value()).map_err(corrupted)?
            }
        };
        Ok(record.into_run(decoded))
    }

    fn begin(&self) -> Result<(Begin, bool), redb::Error> {
        let transaction = self.database.begin_read()?;
        let counters = transaction.open_table(COUNTERS)?;
        let counter = |name| Ok::<u64, redb::Error>(counters.get(name)?.map_or(0, |found| found.value()));
        let mut ready: Vec<(String, u64)> = Vec::new();
        for entry in transaction.open_table(READY)?.iter()? {
            let (key, _) = entry?;
            let (target, _) = key.value();
            match ready.last_mut().filter(|(last, _)| last == target) {
                Some((_, count)) => *count += 1,
                None => ready.push((target.to_owned(), 1)),
            }
        }
        let dead = transaction.open_table(DEAD)?.len()?;
        // Numbers and tickets begin at 1.
        let (next_number, next_ticket) = (counter("number")?.max(1), counter("ticket")?.max(1));
        let fresh = counters.get(BEGUN)?.is_none();
        Ok((Begin { next_number, next_ticket, ready, dead }, fresh))
    }

    fn write(&self, commit: &Commit) -> Result<u64, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let forgotten = {
            let mut tables = Tables {
                runs: transaction.open_table(RUNS)?,
                plans: transaction.open_table(PLANS)?,
                ready: transaction.open_table(READY)?,
                dead: transaction.open_table(DEAD)?,
                ended: transaction.open_table(ENDED)?,
                seen: transaction.open_table(SEEN)?,
                counters: transaction.open_table(COUNTERS)?,
                trimmed: transaction.open_table(TRIMMED)?,
            };
            for change in &commit.changes {
                match change {
                    Change::Run { run, before } => tables.put(run, before.as_ref())?,
                    Change::Letter { key, number, at } => {
                        tables.ended.insert((*at, *number), *key)?;
                        tables.seen.insert(*key, (*number, false))?;
                    }
                }
            }
            tables.counters.insert("number", commit.next_number)?;
            tables.counters.insert("ticket", commit.next_ticket)?;
            match commit.forget {
                Some(forget) => tables.forget(forget)?,
                None => 0,
            }
        };
        transaction.commit()?;
        Ok(forgotten)
    }

    fn failed(&self, error: redb::Error) -> StoreError {
        StoreError { path: self.path.clone(), source: Box::new(error) }
    }
}

/// The tables of a write.
struct Tables<'t> {
    runs: Table<'t, u64, &'static [u8]>,
    plans: Table<'t, u128, &'static str>,
    ready: Table<'t, (&'static str, u64), (u64, &'static str)>,
    dead: Table<'t, (i64, u64), u128>,
    ended: Table<'t, (i64, u64), u128>,
    seen: Table<'t, u128, (u64, bool)>,
    counters: Table<'t, &'static str, u64>,
    trimmed: Table<'t, (), (i64, u64)>,
}

impl Tables<'_> {
    fn put(&mut self, run: &Run, before: Option<&Place>) -> Result<(), redb::Error> {
        let json = serde_json::to_vec(&Record::of(run)).map_err(corrupted)?;
        self.runs.insert(run.number, json.as_slice())?;
        let hash = Plans::hash(&run.firing.plan);
        if self.plans.get(hash)?.is_none() {
            self.plans.insert(hash, &*run.firing.plan)?;
        }
        if before.is_none() {
            self.seen.insert(run.key, (run.number, true))?;
        }
        let place = run.place();
        if before == Some(&place) {
            return Ok(());
        }
        match before {
            Some(Place::Ready { target, ticket }) => drop(self.ready.remove((target.as_str(), *ticket))?),
            Some(Place::Dead { at }) => drop(self.dead.remove((*at, run.number))?),
            Some(Place::Ended { at }) => drop(self.ended.remove((*at, run.number))?),
            None => {}
        }
        match &place {
            Place::Ready { target, ticket } => {
                self.ready.insert((target.as_str(), *ticket), (run.number, run.firing.device_id.as_str()))?;
            }
            Place::Dead { at } => drop(self.dead.insert((*at, run.number), run.key)?),
            Place::Ended { at } => {
                self.ended.insert((*at, run.number), run.key)?;
                self.count_ended(|count| count + 1)?;
            }
        }
        Ok(())
    }

    fn count_ended(&mut self, change: impl FnOnce(u64) -> u64) -> Result<(), redb::Error> {
        let count = self.counters.get("ended_runs")?.map_or(0, |count| count.value());
        self.counters.insert("ended_runs", change(count))?;
        Ok(())
    }

    /// Forgets what ended too long ago, and details beyond those that are kept; some at a time.
    fn forget(&mut self, forget: Forget) -> Result<u64, redb::Error> {
        let begin = (i64::MIN, 0)..(forget.before, 0);
        let dead = entries(&self.dead, begin.clone(), limits::FORGET)?;
        for (at, key) in &dead {
            self.dead.remove(*at)?;
            self.forget_key(*key, at.1)?;
            self.runs.remove(at.1)?;
        }
        for (at, key) in entries(&self.ended, begin, limits::FORGET)? {
            self.ended.remove(at)?;
            self.forget_key(key, at.1)?;
            self.forget_details(at.1)?;
        }
        let kept = self.counters.get("ended_runs")?.map_or(0, |count| count.value());
        let excess = usize::try_from(kept.saturating_sub(forget.keep_runs)).unwrap_or(usize::MAX);
        if excess > 0 {
            let trimmed =
                self.trimmed.get(())?.map_or((i64::MIN, 0), |at| (at.value().0, at.value().1.saturating_add(1)));
            for (at, _) in entries(&self.ended, trimmed..(i64::MAX, u64::MAX), excess.min(limits::FORGET))? {
                self.forget_details(at.1)?;
                self.trimmed.insert((), at)?;
            }
        }
        Ok(u64::try_from(dead.len()).unwrap_or(u64::MAX))
    }

    /// Unless the key is that of a later run.
    fn forget_key(&mut self, key: u128, number: u64) -> Result<(), redb::Error> {
        let same = self.seen.get(key)?.is_some_and(|seen| seen.value().0 == number);
        if same {
            self.seen.remove(key)?;
        }
        Ok(())
    }

    fn forget_details(&mut self, number: u64) -> Result<(), redb::Error> {
        if self.runs.remove(number)?.is_some() {
            self.count_ended(|count| count.saturating_sub(1))?;
        }
        Ok(())
    }
}

type Entry = ((i64, u64), u128);

fn entries(
    table: &Table<'_, (i64, u64), u128>,
    range: std::ops::Range<(i64, u64)>,
    limit: usize,
) -> Result<Vec<Entry>, redb::Error> {
    let mut found = Vec::new();
    for entry in table.range(range)?.take(limit) {
        let (at, key) = entry?;
        found.push((at.value(), key.value()));
    }
    Ok(found)
}

fn corrupted(why: impl std::fmt::Display) -> redb::Error {
    redb::Error::Corrupted(why.to_string())
}

#[cfg(test)]
mod tests;
