//! What the records of one partition of the topic mean, in their order: who owns what, and where each group stands. A
//! pure fold: everybody who reads the same records comes to the same verdicts.
//!
//! ```text
//!   claim A, expecting 0     epoch 1, A owns
//!   commit A, epoch 1        counts
//!   claim B, expecting 1     epoch 2, B owns: B saw A silent for a lease
//!   claim C, expecting 1     does not hold: the epoch is 2
//!   commit A, epoch 1        does not count: A woke up too late
//!   commit B, epoch 2        counts
//! ```
//!
//! A reader that begins behind the first record, because the cluster deleted it, does not know the epochs that records
//! build on. What it takes from them is uncertain until the group is carried; what is said later wins.

use std::collections::BTreeMap;

use super::record::{Carried, Committed, Key, Owner, Record};
use crate::contract::{Position, StreamName};

/// The verdicts.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Key, Entry>,
    bases: BTreeMap<StreamName, Base>,
    /// Whether the first record there ever was is in it.
    complete: bool,
    /// Bytes of all records so far: the measure of how far behind something was said.
    bytes: u64,
}

/// A group in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Goes up with each owner.
    pub(super) epoch: u64,
    pub(super) owner: Owner,
    /// Whether the owner left.
    pub(super) released: bool,
    /// Of the newest commit that counted.
    pub(super) version: u64,
    pub(super) position: Option<Position>,
    /// Whether records before those that were read could not say otherwise.
    certain: bool,
    /// Bytes before the record that last said all of it.
    stated_at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    version: u64,
    offset: u64,
    stated_at: u64,
}

impl Ledger {
    /// Nothing, before the first record that will be read; `complete` says that nothing was ever before that.
    pub(super) fn new(complete: bool) -> Self {
        Self { complete, ..Self::default() }
    }

    /// Takes the next record, of `size` bytes.
    pub(super) fn apply(&mut self, size: usize, record: Record) {
        match record {
            Record::Claim { key, expected, owner } => self.claim(key, expected, owner),
            Record::Release { key, epoch, process } => self.release(&key, epoch, process),
            Record::Commit { group, process, positions } => self.commit(&group, process, positions),
            Record::Base { stream, version, offset } => self.base(stream, version, offset),
            Record::Carry { key, carried } => self.carry(key, carried),
            Record::Renew { .. } => {}
        }
        self.bytes += u64::try_from(size).unwrap_or(u64::MAX);
    }

    pub(super) fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// What offsets of `stream` are counted from, with the version of that.
    pub(super) fn base_of(&self, stream: &StreamName) -> (u64, u64) {
        self.bases.get(stream).map_or((0, 0), |base| (base.offset, base.version))
    }

    /// Whether anything of `process` is in it.
    pub(super) fn knows(&self, process: u64) -> bool {
        self.entries.values().any(|entry| entry.owner.process == process)
    }

    /// Bytes of all that would have to be said again.
    pub(super) fn live_bytes(&self) -> u64 {
        let state = |entry: &Entry| entry.position.as_ref().map_or(0, |position| position.state.len());
        self.entries.values().map(|entry| u64::try_from(state(entry)).unwrap_or(u64::MAX)).sum()
    }

    /// Bytes of all records so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was last said when there were fewer than `mark` bytes, to be said again.
    pub(super) fn stated_before(&self, mark: u64) -> Vec<Record> {
        let bases = self.bases.iter().filter(|(_, base)| base.stated_at < mark);
        let bases = bases.map(|(stream, &Base { version, offset, .. })| {
            let stream = stream.clone();
            Record::Base { stream, version, offset }
        });
        let entries = self.entries.iter().filter(|(_, entry)| entry.stated_at < mark);
        bases.chain(entries.map(|(key, entry)| entry.carried(key))).collect()
    }

    fn claim(&mut self, key: Key, expected: u64, owner: Owner) {
        let stated_at = self.bytes;
        let Some(entry) = self.entries.get_mut(&key) else {
            let (epoch, certain) = (expected.saturating_add(1), self.complete);
            let entry = Entry { epoch, owner, released: false, version: 0, position: None, certain, stated_at };
            self.entries.insert(key, entry);
            return;
        };
        if expected == entry.epoch || (!entry.certain && expected > entry.epoch) {
            (entry.epoch, entry.owner, entry.released) = (expected.saturating_add(1), owner, false);
        }
    }

    fn release(&mut self, key: &Key, epoch: u64, process: u64) {
        if let Some(entry) = self.entries.get_mut(key)
            && (entry.epoch, entry.owner.process) == (epoch, process)
        {
            entry.released = true;
        }
    }

    fn commit(&mut self, group: &crate::contract::GroupName, process: u64, positions: Vec<Committed>) {
        let key = |committed: &Committed| (group.clone(), committed.stream.clone());
        let counts = |committed: &Committed| match self.entries.get(&key(committed)) {
            Some(entry) if entry.certain => {
                (entry.epoch, entry.owner.process) == (committed.epoch, process) && !entry.released
            }
            Some(entry) => committed.epoch >= entry.epoch,
            None => !self.complete,
        };
        if !positions.iter().all(counts) {
            return;
        }
        for committed in positions {
            let stated_at = self.bytes;
            let entry = self.entries.entry(key(&committed)).or_insert_with(|| Entry {
                epoch: committed.epoch,
                owner: unknown(process),
                released: false,
                version: 0,
                position: None,
                certain: false,
                stated_at,
            });
            if (entry.epoch, entry.owner.process) != (committed.epoch, process) {
                // Only of an uncertain one: who commits has seen its claim hold.
                (entry.epoch, entry.owner, entry.released) = (committed.epoch, unknown(process), false);
            }
            if committed.version > entry.version {
                (entry.version, entry.position) = (committed.version, Some(committed.position));
                // A reader that begins here still lacks the name of the owner, which matters to nobody for long.
                entry.stated_at = stated_at;
            }
        }
    }

    fn base(&mut self, stream: StreamName, version: u64, offset: u64) {
        let stated_at = self.bytes;
        let base = self.bases.entry(stream).or_insert(Base { version, offset, stated_at });
        if version >= base.version {
            *base = Base { version, offset, stated_at };
        }
    }

    fn carry(&mut self, key: Key, carried: Carried) {
        let stated_at = self.bytes;
        let entry = self.entries.get_mut(&key);
        let newer = |entry: &Entry| (carried.epoch, carried.version) >= (entry.epoch, entry.version);
        match entry {
            Some(entry) if entry.certain => {
                if (carried.epoch, carried.version) == (entry.epoch, entry.version) {
                    entry.stated_at = stated_at;
                }
            }
            Some(entry) if !newer(entry) => {}
            _ => {
                let Carried { epoch, owner, released, version, position } = carried;
                self.entries.insert(key, Entry { epoch, owner, released, version, position, certain: true, stated_at });
            }
        }
    }
}

impl Entry {
    fn carried(&self, key: &Key) -> Record {
        let Self { epoch, owner, released, version, position, .. } = self.clone();
        Record::Carry { key: key.clone(), carried: Carried { epoch, owner, released, version, position } }
    }
}

/// An owner of whom only a commit is left.
fn unknown(process: u64) -> Owner {
    Owner { process, lease_ms: 0, text: "a process whose claim is no longer retained".into() }
}
