//! One file of the simulated disk: what is durable, what the system's cache holds, and what a crash may leave.
//!
//! A sector (512 bytes) holds what the cache held of it at some moment since the last sync, or what is durable;
//! each sector on its own. The length is one that the file had since the last sync, or, where a write made it
//! longer, any in between. After a failed sync sectors are adrift: the system takes them for clean, so later
//! syncs pass them by, and only another write to them brings them back.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

pub(super) const SECTOR: usize = 512;

/// Content of a sector, zero where the file ends before.
type Sector = Arc<[u8]>;

#[derive(Clone, Debug)]
pub(super) struct File {
    durable: Vec<u8>,
    /// Of `durable`, see [`sector_hash`].
    hash: u64,
    cache: Vec<u8>,
    /// Contents since the last sync.
    dirty: BTreeMap<usize, Vec<Sector>>,
    /// Contents of failed syncs.
    adrift: BTreeMap<usize, Vec<Sector>>,
    /// Lengths since the last sync.
    lengths: Vec<RangeInclusive<usize>>,
}

/// What a crash left of a file.
#[derive(Clone, Debug)]
pub(super) struct Left {
    base: Vec<u8>,
    hash: u64,
}

impl File {
    /// A file of durable bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        Self {
            hash: content_hash(&bytes),
            cache: bytes.clone(),
            durable: bytes,
            dirty: BTreeMap::new(),
            adrift: BTreeMap::new(),
            lengths: vec![length..=length],
        }
    }

    /// What a program reads.
    pub(super) fn cache(&self) -> &[u8] {
        &self.cache
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let (before, end) = (self.cache.len(), at + bytes.len());
        if end > before {
            self.cache.resize(end, 0);
            self.lengths.push(before + 1..=end);
        }
        if let Some(to) = self.cache.get_mut(at..end) {
            to.copy_from_slice(bytes);
        }
        self.remember(at..end);
    }

    /// Sets the length, in one step.
    pub(super) fn truncate(&mut self, length: usize) {
        let before = self.cache.len();
        self.cache.resize(length, 0);
        self.lengths.push(length..=length);
        // What is cut off reads as zero if the file grows again.
        self.remember(length.min(before)..before);
    }

    pub(super) fn sync(&mut self, failed: bool) {
        for (at, contents) in std::mem::take(&mut self.dirty) {
            if failed {
                self.adrift.entry(at).or_default().extend(contents);
            } else if let Some(content) = contents.last() {
                self.adrift.remove(&at);
                self.hash ^= sector_hash(at, &sector(&self.durable, at)) ^ sector_hash(at, content);
                self.durable.resize(self.durable.len().max((at + 1) * SECTOR), 0);
                if let Some(to) = self.durable.get_mut(at * SECTOR..(at + 1) * SECTOR) {
                    to.copy_from_slice(content);
                }
            }
        }
        if !failed {
            self.cut_durable(self.cache.len());
            self.lengths = vec![self.cache.len()..=self.cache.len()];
        }
    }

    /// Sectors that may hold one of several contents, with the number of them.
    pub(super) fn open_sectors(&self) -> impl Iterator<Item = (usize, u64)> {
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        for (at, contents) in self.dirty.iter().chain(&self.adrift) {
            *counts.entry(*at).or_insert(1) += u64::try_from(contents.len()).unwrap_or(u64::MAX);
        }
        counts.into_iter()
    }

    /// Number of lengths it may have.
    pub(super) fn open_lengths(&self) -> u64 {
        self.lengths.iter().map(|range| u64::try_from(range.end() - range.start() + 1).unwrap_or(u64::MAX)).sum()
    }

    /// What is left with these contents of the open sectors, and this length. The last content is the newest.
    pub(super) fn left(&self, sectors: &[(usize, u64)], length: u64) -> Left {
        let length = self.length(length);
        let mut left = Left { base: self.durable.clone(), hash: self.hash };
        left.base.resize(length, 0);
        left.hash ^= self.cut_hash(length);
        for &(at, choice) in sectors {
            let Some(content) = self.content(at, choice) else { continue };
            let (from, to) = (at * SECTOR, ((at + 1) * SECTOR).min(length));
            let Some(place) = left.base.get_mut(from..to.max(from)) else { continue };
            let before = sector(place, 0);
            place.copy_from_slice(content.get(..place.len()).unwrap_or_default());
            left.hash ^= sector_hash(at, &before) ^ sector_hash(at, &sector(place, 0));
        }
        left
    }

    fn content(&self, at: usize, choice: u64) -> Option<&Sector> {
        let index = usize::try_from(choice.checked_sub(1)?).ok()?;
        let of = |from: &'_ BTreeMap<usize, Vec<Sector>>| from.get(&at).map_or(0, Vec::len);
        let adrift = of(&self.adrift);
        if index < adrift { self.adrift.get(&at)?.get(index) } else { self.dirty.get(&at)?.get(index - adrift) }
    }

    fn length(&self, mut choice: u64) -> usize {
        for range in &self.lengths {
            let count = u64::try_from(range.end() - range.start() + 1).unwrap_or(u64::MAX);
            if choice < count {
                return range.start() + usize::try_from(choice).unwrap_or(0);
            }
            choice -= count;
        }
        self.cache.len()
    }

    fn remember(&mut self, bytes: std::ops::Range<usize>) {
        if bytes.is_empty() {
            return;
        }
        for at in bytes.start / SECTOR..bytes.end.div_ceil(SECTOR) {
            let content = sector(&self.cache, at);
            self.dirty.entry(at).or_default().push(content);
        }
    }

    fn cut_durable(&mut self, length: usize) {
        self.hash ^= self.cut_hash(length);
        self.durable.resize(length, 0);
    }

    /// How the hash of `durable` changes when it is cut to `length`.
    fn cut_hash(&self, length: usize) -> u64 {
        let kept = self.durable.get(..length).unwrap_or(&self.durable);
        let gone = kept.len() / SECTOR..self.durable.len().div_ceil(SECTOR);
        gone.fold(0, |hash, at| hash ^ sector_hash(at, &sector(&self.durable, at)) ^ sector_hash(at, &sector(kept, at)))
    }
}

impl Left {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.base
    }

    /// Of content and length.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.hash);
        hasher.write_usize(self.base.len());
        hasher.finish()
    }
}

fn sector(bytes: &[u8], at: usize) -> Sector {
    let from = (at * SECTOR).min(bytes.len());
    let found = bytes.get(from..(from + SECTOR).min(bytes.len())).unwrap_or_default();
    let mut content = found.to_vec();
    content.resize(SECTOR, 0);
    content.into()
}

/// The hash of a file is all of these combined, so that it changes with a sector at a time. Zeros count nothing.
fn sector_hash(at: usize, content: &[u8]) -> u64 {
    if content.iter().all(|byte| *byte == 0) {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(at);
    hasher.write(content);
    hasher.finish()
}

fn content_hash(bytes: &[u8]) -> u64 {
    (0..bytes.len().div_ceil(SECTOR)).fold(0, |hash, at| hash ^ sector_hash(at, &sector(bytes, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(file: &File) -> Vec<(usize, u64)> {
        file.open_sectors().map(|(at, count)| (at, count - 1)).collect()
    }

    #[test]
    fn what_is_synced_stays_and_the_rest_is_open() {
        let mut file = File::of(vec![1; 700]);
        file.write(600, &[2; 600]);
        assert_eq!(file.open_sectors().collect::<Vec<_>>(), [(1, 2), (2, 2)]);
        assert_eq!(file.open_lengths(), 1 + 500);
        let nothing = file.left(&[(1, 0), (2, 0)], 0);
        assert_eq!(nothing.bytes(), [1; 700]);
        let newest = file.left(&all(&file), file.open_lengths() - 1);
        assert_eq!(newest.bytes(), file.cache());
        let hole = file.left(&[(1, 0), (2, 1)], file.open_lengths() - 1);
        assert_eq!((hole.bytes()[699], hole.bytes()[700], hole.bytes()[1024]), (1, 0, 2));
        file.sync(false);
        assert_eq!((file.open_sectors().count(), file.open_lengths()), (0, 1));
        assert_eq!(file.left(&[], 0).bytes(), file.cache());
    }

    #[test]
    fn after_a_failed_sync_only_another_write_helps() {
        let mut file = File::of(vec![0; 1024]);
        file.write(0, &[5; 1024]);
        file.sync(true);
        file.write(512, &[6; 10]);
        file.sync(false);
        assert_eq!(file.open_sectors().collect::<Vec<_>>(), [(0, 2)]);
        let left = file.left(&[(0, 0)], 0);
        assert_eq!((left.bytes()[0], left.bytes()[512], left.bytes()[600]), (0, 6, 5));
    }

    #[test]
    fn hashes_tell_contents_and_nothing_else() {
        let mut draw = super::super::draw::Draw::new(7);
        for _ in 0..200 {
            let length = draw.size(0, 3000);
            let mut file = File::of(draw.bytes(length));
            for _ in 0..draw.size(1, 6) {
                match draw.below(4) {
                    0 => file.truncate(draw.size(0, 3000)),
                    1 => file.sync(draw.one_in(2)),
                    _ => {
                        let (at, length) = (draw.size(0, 2000), draw.size(1, 900));
                        file.write(at, &draw.bytes(length));
                    }
                }
            }
            let sectors: Vec<_> = file.open_sectors().map(|(at, count)| (at, draw.below(count))).collect();
            let left = file.left(&sectors, draw.below(file.open_lengths()));
            assert_eq!(left.hash(), File::of(left.bytes().to_vec()).left(&[], 0).hash());
        }
    }
}
