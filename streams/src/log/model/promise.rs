//! What the log has promised at a moment, and whether what a restart shows keeps it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::machine::{Change, Machine};
use super::recorder::Event;
use super::seen::Seen;
use crate::log::format::SegmentHeader;

/// A record on its way: slot, offset and payload.
pub(in crate::log) type Sent = (usize, u64, Bytes);
/// Positions of a group: offset and state by slot.
pub(in crate::log) type Held = BTreeMap<usize, (u64, Bytes)>;

/// A moment between two changes of the disk.
#[derive(Clone, Debug)]
pub(in crate::log) enum Mark {
    /// These records were submitted, and may be there from now on.
    Submitted(Vec<Sent>),
    /// The ticket of those submitted last was answered: they must be there.
    Acknowledged,
    /// This group is about to commit these positions, in one step.
    Committing(&'static str, Held),
    /// What it committed last was answered.
    Committed(&'static str),
    /// A start showed this. Consumers go on from it, so all of it must stay.
    Shown(Seen),
}

/// The simulated disk and the promises, after the events so far.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) machine: Machine,
    promise: Promise,
    /// A promise broken before any crash.
    pub(super) broken: Option<String>,
}

#[derive(Clone, Debug)]
struct Promise {
    /// What may be at each offset, by slot.
    submitted: Vec<BTreeMap<u64, Vec<Bytes>>>,
    /// What must be.
    acknowledged: Vec<BTreeMap<u64, Bytes>>,
    latest: Vec<Sent>,
    /// Up to where retention deleted.
    floor: Vec<u64>,
    groups: BTreeMap<&'static str, Group>,
}

/// Positions of a group after each of its commits.
#[derive(Clone, Debug)]
struct Group {
    held: Vec<Held>,
    /// Index of the last that was answered.
    answered: usize,
}

impl Story {
    /// A log of `slots` partitions that was never opened.
    pub(super) fn new(slots: usize) -> Self {
        let promise = Promise {
            submitted: vec![BTreeMap::new(); slots],
            acknowledged: vec![BTreeMap::new(); slots],
            latest: Vec::new(),
            floor: vec![0; slots],
            groups: BTreeMap::new(),
        };
        Self { machine: Machine::default(), promise, broken: None }
    }

    /// The same promises, on a disk that a crash left.
    pub(super) fn after_crash(&self, machine: Machine) -> Self {
        Self { machine, promise: self.promise.clone(), broken: self.broken.clone() }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        match event {
            Event::Mark(mark) => {
                if let Mark::Shown(seen) = mark
                    && let Err(why) = self.judge(seen)
                {
                    self.broken.get_or_insert(why);
                }
                self.promise.mark(mark);
            }
            Event::Change(change) => {
                if let Change::Remove { path } = change
                    && let Some(starts) = successor(&self.machine, path)
                    && let Err(why) = self.promise.delete(starts)
                {
                    self.broken.get_or_insert(why);
                }
                self.machine.apply(change);
            }
        }
    }

    /// What of the promise `seen` does not keep.
    pub(super) fn judge(&self, seen: &Seen) -> Result<(), String> {
        self.promise.judge(seen)
    }
}

impl Promise {
    fn mark(&mut self, mark: &Mark) {
        match mark {
            Mark::Submitted(records) => {
                for (slot, offset, payload) in records {
                    let slot = self.submitted.get_mut(*slot);
                    slot.into_iter().for_each(|offsets| offsets.entry(*offset).or_default().push(payload.clone()));
                }
                self.latest.clone_from(records);
            }
            Mark::Acknowledged => {
                for (slot, offset, payload) in std::mem::take(&mut self.latest) {
                    let slot = self.acknowledged.get_mut(slot);
                    slot.into_iter().for_each(|offsets| drop(offsets.insert(offset, payload.clone())));
                }
            }
            Mark::Committing(group, positions) => {
                let group = self.group(group);
                let mut held = group.held.last().cloned().unwrap_or_default();
                held.extend(positions.clone());
                group.held.push(held);
            }
            Mark::Committed(group) => {
                let group = self.group(group);
                group.answered = group.held.len() - 1;
            }
            Mark::Shown(seen) => self.show(seen),
        }
    }

    fn show(&mut self, seen: &Seen) {
        for (name, held) in &seen.held {
            let group = self.group(name);
            group.held.push(held.clone());
            group.answered = group.held.len() - 1;
        }
        for (offsets, slot) in self.acknowledged.iter_mut().zip(&seen.slots) {
            offsets.extend(slot.records.iter().cloned());
        }
    }

    fn group(&mut self, name: &'static str) -> &mut Group {
        self.groups.entry(name).or_insert_with(|| Group { held: vec![Held::new()], answered: 0 })
    }

    /// Retention deletes what is before `starts`: only what every group passed for good. A start that is not over
    /// may know a position that was committed and not answered, or not know a group whose first was not.
    fn delete(&mut self, starts: Vec<u64>) -> Result<(), String> {
        let before = std::mem::replace(&mut self.floor, starts);
        for (slot, (start, before)) in self.floor.iter().zip(before).enumerate() {
            for (name, group) in &self.groups {
                let known = group.held.iter().skip(group.answered).map(|held| held.get(&slot));
                // None where a commit that was not answered would have registered the group.
                let highest = known.map(|held| held.map(|(offset, _)| *offset)).collect::<Option<Vec<u64>>>();
                let highest = highest.and_then(|offsets| offsets.into_iter().max());
                if let Some(position) = highest.filter(|position| position < start && *start > before) {
                    return Err(format!("slot {slot} deleted up to {start}, group {name} stands at {position}"));
                }
            }
        }
        Ok(())
    }

    fn judge(&self, seen: &Seen) -> Result<(), String> {
        if (seen.quarantined, seen.damaged_bytes) != (0, 0) {
            let Seen { quarantined, damaged_bytes, .. } = seen;
            return Err(format!("a crash was taken for damage: {quarantined} records, {damaged_bytes} bytes"));
        }
        for slot in 0..self.floor.len() {
            self.judge_slot(slot, seen).map_err(|why| format!("slot {slot}: {why}"))?;
        }
        for (name, group) in &self.groups {
            group.judge(seen.held.get(name), seen).map_err(|why| format!("group {name}: {why}"))?;
        }
        Ok(())
    }

    fn judge_slot(&self, slot: usize, seen: &Seen) -> Result<(), String> {
        let (Some(found), Some(floor)) = (seen.slots.get(slot), self.floor.get(slot)) else {
            return Err("not there".to_owned());
        };
        if found.start > *floor {
            return Err(format!("begins at {}, deleted was up to {floor}", found.start));
        }
        for (index, (offset, payload)) in (found.start..).zip(&found.records) {
            let submitted = self.submitted.get(slot).and_then(|offsets| offsets.get(&index));
            if *offset != index {
                return Err(format!("offset {offset} where {index} belongs"));
            }
            if !submitted.is_some_and(|payloads| payloads.contains(payload)) {
                return Err(format!("offset {offset} was never submitted with this payload"));
            }
        }
        let there = found.start + u64::try_from(found.records.len()).unwrap_or(u64::MAX);
        if there != found.end {
            return Err(format!("ends at {there} and says {}", found.end));
        }
        let acknowledged = self.acknowledged.get(slot).into_iter().flatten();
        for (offset, payload) in acknowledged.filter(|(offset, _)| **offset >= found.start) {
            let index = usize::try_from(offset - found.start).unwrap_or(usize::MAX);
            if found.records.get(index).is_none_or(|(_, read)| read != payload) {
                return Err(format!("acknowledged offset {offset} is lost, the log ends at {}", found.end));
            }
        }
        Ok(())
    }
}

impl Group {
    fn judge(&self, shown: Option<&Held>, seen: &Seen) -> Result<(), String> {
        let none = Held::new();
        let shown = shown.unwrap_or(&none);
        if !self.held.iter().skip(self.answered).any(|held| held == shown) {
            let offsets = |held: &Held| held.iter().map(|(slot, (offset, _))| (*slot, *offset)).collect::<Vec<_>>();
            let answered = self.held.get(self.answered).map(offsets);
            return Err(format!("positions (slot, offset) {:?}, answered were {answered:?}", offsets(shown)));
        }
        for (slot, (offset, _)) in shown {
            let bounds = seen.slots.get(*slot).map_or(0..=0, |slot| slot.start..=slot.end);
            if !bounds.contains(offset) {
                return Err(format!("position {offset} of slot {slot} is outside of {bounds:?}"));
            }
        }
        Ok(())
    }
}

/// Where each slot begins once the oldest segment, `path`, is removed; `None` if it is not the oldest of several.
fn successor(machine: &Machine, path: &str) -> Option<Vec<u64>> {
    let mut segments = machine.paths().filter(|path| path.ends_with(".log"));
    if segments.next()? != path {
        return None;
    }
    let bytes = machine.read(segments.next()?)?;
    let slots = SegmentHeader::prefix(bytes)?.slots;
    Some(SegmentHeader::decode(bytes.get(..SegmentHeader::bytes(slots))?)?.starts)
}
