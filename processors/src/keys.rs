//! Names of firings, from what was measured alone: the same wherever and whenever a reading is evaluated.

use std::fmt;

use twox_hash::xxhash3_128;

use crate::evaluation::count;
use crate::readings::Readings;
use crate::rules::Rule;

/// Name of a firing: id of its alert, of its run, and root of its idempotency keys. 128 bits, shown as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u128);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What follows rule, version and device in what is hashed. In each version of Weir the same: a changed number is
/// another name for all that fired.
mod tag {
    pub(super) const BUCKET: u8 = 1;
    pub(super) const NAMED_READING: u8 = 2;
    pub(super) const UNNAMED_READING: u8 = 3;
    pub(super) const NAMED_MESSAGE: u8 = 4;
    pub(super) const UNNAMED_MESSAGE: u8 = 5;
}

/// Makes names of what fired on the readings of one batch.
///
/// A name is the XXH3-128 of these bytes, integers little-endian, texts with their length before them in 8 bytes:
///
/// | part | when |
/// |---|---|
/// | id of the rule, version in 8 bytes, device | always |
/// | 1, floor(time / cool-down) in 8 bytes | the rule has a cool-down |
/// | 2, boot, seq, metric, time | else, of a reading with boot and seq |
/// | 3, metric, time | of another reading |
/// | 4, boot, seq | of a message with both, if the rule is over messages |
/// | 5, time | of another message |
///
/// Times are those of the device in microseconds; that of a message is that of its earliest reading.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    readings: &'a Readings<'a>,
    encoded: Vec<u8>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(readings: &'a Readings<'a>) -> Self {
        Self { readings, encoded: Vec::new() }
    }

    /// The name of what `rule` fired on `row`, which is any row of the message if the rule is over messages.
    pub(crate) fn run_id(&mut self, rule: &Rule, row: usize) -> RunId {
        let readings = self.readings;
        self.encoded.clear();
        self.text(rule.id());
        self.number(rule.version());
        self.text(readings.device_id(row));
        let over_messages = rule.is_over_messages();
        let time = if over_messages { readings.earliest(readings.message(row)) } else { readings.time(row) };
        let time = time.as_micros();
        match (rule.cooldown(), readings.identity(row)) {
            (Some(cooldown), _) => {
                self.encoded.push(tag::BUCKET);
                let length = i64::try_from(cooldown.as_micros()).unwrap_or(i64::MAX).max(1);
                self.number(time.div_euclid(length));
            }
            (None, Some((boot, seq))) => {
                self.encoded.push(if over_messages { tag::NAMED_MESSAGE } else { tag::NAMED_READING });
                self.number(boot);
                self.number(seq);
                if !over_messages {
                    self.text(readings.metric(row));
                    self.number(time);
                }
            }
            (None, None) => {
                self.encoded.push(if over_messages { tag::UNNAMED_MESSAGE } else { tag::UNNAMED_READING });
                if !over_messages {
                    self.text(readings.metric(row));
                }
                self.number(time);
            }
        }
        RunId(xxhash3_128::Hasher::oneshot(&self.encoded))
    }

    fn number(&mut self, number: i64) {
        self.encoded.extend_from_slice(&number.to_le_bytes());
    }

    /// Length first: two texts in a row are never taken for two others.
    fn text(&mut self, text: &str) {
        self.encoded.extend_from_slice(&count(text.len()).to_le_bytes());
        self.encoded.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
