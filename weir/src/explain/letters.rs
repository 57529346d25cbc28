//! Dead letters that are the message, or may be: what was refused is not known by device, boot and seq.

use arrow::array::RecordBatch;
use processors::workflows::firing_of;
use streams::Record;
use telemetry::topic::TopicFields;
use telemetry::{Identity, Timestamp, formats};

use super::columns::Rows;
use super::limits::{LETTERS, UNCERTAIN_LETTERS};
use super::view::{Letter, Who};
use crate::dlq::view::{LetterId, Source, time};

/// Finds letters in the records of one source.
#[derive(Debug)]
pub(super) struct Letters<'a> {
    who: &'a Who,
    source: Source,
    found: Vec<Letter>,
}

impl<'a> Letters<'a> {
    pub(super) fn new(who: &'a Who, source: Source) -> Self {
        Self { who, source, found: Vec::new() }
    }

    /// Looks at a record; whether that is enough.
    pub(super) fn look(&mut self, record: &Record, batch: &RecordBatch) -> anyhow::Result<bool> {
        let rows = Rows::of(batch, (0..u32::try_from(batch.num_rows())?).collect())?;
        for (number, row) in (0..).zip(0..rows.len()) {
            let matched = match self.source {
                Source::Ingest => refused(&rows, row, self.who),
                Source::Workflows => given_up(&rows, row, self.who),
            };
            let Some(matched) = matched else { continue };
            if self.count(matched) < self.most(matched) {
                let id = LetterId { source: self.source, offset: record.offset, row: number };
                self.found.push(letter(&rows, row, id, matched == Match::Exact));
            }
        }
        Ok(self.count(Match::Exact) >= LETTERS)
    }

    /// Those that are the message; where there are none, those that may be.
    pub(super) fn into_found(mut self) -> Vec<Letter> {
        if self.count(Match::Exact) > 0 {
            self.found.retain(|letter| letter.exact);
        }
        self.found.sort_by_key(|letter| letter.id);
        self.found
    }

    fn count(&self, matched: Match) -> usize {
        self.found.iter().filter(|letter| letter.exact == (matched == Match::Exact)).count()
    }

    fn most(&self, matched: Match) -> usize {
        if matched == Match::Exact { LETTERS } else { UNCERTAIN_LETTERS }
    }
}

/// How a letter fits the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// By device, boot and seq.
    Exact,
    /// By device; boot and seq are not known.
    Device,
}

/// Whether a letter of the door is the message. Its identity is in the payload, if that can be decoded, or was given by the
/// transport; its device is in the payload, a level of the topic, or the client.
fn refused(rows: &Rows, row: usize, who: &Who) -> Option<Match> {
    let (topic, payload) = (rows.text("topic", row)?, rows.bytes("payload", row));
    let outside = topic.split('/').any(|level| level == who.device) || rows.text("client_id", row)? == who.device;
    let inside = std::str::from_utf8(payload).is_ok_and(|text| text.contains(&who.device));
    if !outside && !inside {
        return None;
    }
    let fields = TopicFields { device_id: outside.then_some(who.device.as_str()), ..TopicFields::default() };
    let received_at: Timestamp = rows.time("received_at", row);
    let message = formats::decode(payload, &fields, received_at).ok();
    if message.as_ref().is_some_and(|message| message.device_id != who.device) {
        return None;
    }
    let said = message.and_then(|message| message.identity).or_else(|| transport(rows, row));
    match said {
        Some(identity) => (identity == Identity { boot: who.boot, seq: who.seq }).then_some(Match::Exact),
        None => Some(Match::Device),
    }
}

/// Whether a letter of workflows is about the message: a rule failed on it, or a firing was not taken. Steps are told with
/// their runs.
fn given_up(rows: &Rows, row: usize, who: &Who) -> Option<Match> {
    let identity = Identity { boot: who.boot, seq: who.seq };
    if rows.text("client_id", row) == Some(who.device.as_str()) && transport(rows, row) == Some(identity) {
        return Some(Match::Exact);
    }
    let firing = firing_of(rows.bytes("payload", row)).ok()?;
    let same = firing.device_id == who.device && firing.boot == Some(who.boot) && firing.seq == Some(who.seq);
    same.then_some(Match::Exact)
}

fn transport(rows: &Rows, row: usize) -> Option<Identity> {
    Some(Identity { boot: rows.number("boot", row)?, seq: rows.number("seq", row)? })
}

fn letter(rows: &Rows, row: usize, id: LetterId, exact: bool) -> Letter {
    Letter {
        id,
        reason: rows.owned("reason", row),
        detail: rows.owned("detail", row),
        topic: rows.owned("topic", row),
        received_at: time(rows.time("received_at", row)),
        exact,
        state: None,
    }
}
