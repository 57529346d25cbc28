//! What went through the door since the start: one end of the balance.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::intake::{Encoded, Tally};

/// What went through the door since the start, as of one moment. What came in is counted as it comes in, what went on
/// is counted in the records that went on, so that both can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Messages that came in, refused ones too.
    pub received_messages: u64,
    /// Messages in durable records of readings.
    pub accepted_messages: u64,
    /// Messages in durable records of dead letters.
    pub dead_lettered_messages: u64,
    /// Messages refused without being kept, because they were too large.
    pub rejected_messages: u64,
    /// Messages taken for a commit that is under way.
    pub committing_messages: u64,
    /// Readings that came in.
    pub received_readings: u64,
    /// Readings in durable records.
    pub durable_readings: u64,
    /// Readings taken for a commit that is under way.
    pub committing_readings: u64,
}

/// The passage of this process. Locked once or twice a group, never for a message that is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting(Arc<Mutex<Passage>>);

impl Counting {
    pub(super) fn now(&self) -> Passage {
        *self.passage()
    }

    /// A group is taken for its commit.
    pub(super) fn taken(&self, tally: &Tally) {
        let mut passage = self.passage();
        passage.received_messages += tally.messages;
        passage.received_readings += tally.readings;
        passage.committing_messages += tally.messages;
        passage.committing_readings += tally.readings;
    }

    /// The group that came in as `tally` is durable as `encoded`.
    pub(super) fn durable(&self, tally: &Tally, encoded: &Encoded) {
        let mut passage = self.passage();
        passage.accepted_messages += encoded.messages;
        passage.dead_lettered_messages += encoded.dead_letters;
        passage.durable_readings += encoded.readings;
        passage.committing_messages = passage.committing_messages.saturating_sub(tally.messages);
        passage.committing_readings = passage.committing_readings.saturating_sub(tally.readings);
    }

    /// A message came in and was not kept.
    pub(super) fn rejected(&self) {
        let mut passage = self.passage();
        passage.received_messages += 1;
        passage.rejected_messages += 1;
    }

    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
