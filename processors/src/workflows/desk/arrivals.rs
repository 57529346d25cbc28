//! Who subscribed lately.

use std::collections::HashMap;
use std::sync::Arc;

use crate::workflows::limits;

/// Subscribers that came lately: one that comes between the answer "absent" and its being read here must not be
/// missed.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    count: u64,
    by_topic: HashMap<Arc<str>, u64>,
    /// The newest of those that are not kept by topic.
    others: u64,
}

impl Arrivals {
    /// Arrivals so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn note(&mut self, topic: Option<Arc<str>>) {
        self.count += 1;
        match topic {
            Some(topic) if self.by_topic.len() < limits::HOT_RUNS => {
                self.by_topic.insert(topic, self.count);
            }
            _ => {
                self.by_topic.clear();
                self.others = self.count;
            }
        }
    }

    /// Whether one came for `topic` after the first `count`.
    pub(super) fn since(&self, topic: &str, count: u64) -> bool {
        self.others > count || self.by_topic.get(topic).is_some_and(|at| *at > count)
    }
}
