//! Entries of sealed segments that were read lately: a consumer that catches up reads a segment in many steps.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::Entry;

/// Entries kept at most, of 16 bytes each, unless one slot of one segment alone has more.
const ENTRIES: usize = 1024 * 1024;
/// Slots kept at most: what bounds the search.
const ITEMS: usize = 256;

/// The last used entries, by segment number and slot; the least recently used in front.
#[derive(Debug, Default)]
pub(super) struct Cache {
    items: Mutex<VecDeque<Item>>,
}

#[derive(Debug)]
struct Item {
    segment: u64,
    slot: usize,
    entries: Arc<[Entry]>,
}

impl Cache {
    pub(super) fn get(&self, segment: u64, slot: usize) -> Option<Arc<[Entry]>> {
        let mut items = self.lock();
        let found = items.iter().position(|item| item.segment == segment && item.slot == slot)?;
        let item = items.remove(found)?;
        let entries = item.entries.clone();
        items.push_back(item);
        Some(entries)
    }

    pub(super) fn put(&self, segment: u64, slot: usize, entries: Arc<[Entry]>) {
        let mut items = self.lock();
        items.retain(|item| item.segment != segment || item.slot != slot);
        items.push_back(Item { segment, slot, entries });
        while items.len() > 1 && (items.len() > ITEMS || count(&items) > ENTRIES) {
            items.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(items: &VecDeque<Item>) -> usize {
    items.iter().map(|item| item.entries.len()).sum()
}
