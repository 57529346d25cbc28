//! SenML JSON, RFC 8428: an array of records.
//!
//! * Base fields `bn bt bu bv` hold from their record on, for that record too, until one replaces them.
//! * Name: the metric is the record's `n`. A record without `n` takes the topic's metric, else, if the topic
//!   gives the device, its base name. All records of a message that are named by `n` or the topic share one base
//!   name: a message is of one device, and readings of two must not fall together in one.
//! * Device: the topic's, else the base name without its trailing `:` or `/`.
//! * Time: `bt + t`. From 2^28 seconds on it is absolute, below it is relative to the time of receipt, so that
//!   a pack without times is of that time.
//! * Value: exactly one of `v`, `vb`, `vs`; `bv` is added to every `v`, and to those of `boot` and `seq` too, as
//!   the RFC has it; there both must be whole.
//! * Records named `boot` and `seq`, whole numbers from 0 to 2^63 - 1, are the message's identity and no
//!   readings. One without the other gives no identity, and counts as ignored: half an identity would make
//!   messages look like resends.
//! * A record of nothing but base fields is a header, and no reading.
//! * Refused as unsupported: `vd` (data), `s` and `bs` (sums), a version `bver` past 10, unknown fields whose
//!   name ends with `_`, which the RFC says must be understood.
//! * Counted as ignored: `ut`, other unknown fields, a unit or time of `boot` and `seq`.
//! * A field of the RFC twice in one record is refused.

mod fields;
mod json;

use std::borrow::Cow;

use fields::{Field, Record};

use super::scalar::{Number, Scalar};
use super::{names, refusal};
use crate::clock::Timestamp;
use crate::limits;
use crate::message::{Identity, Message, Reading, Value};
use crate::rejection::{Reason, Rejection};
use crate::topic::TopicFields;

/// Decodes a pack. See the rules above.
pub(super) fn decode<'a>(
    text: &'a str,
    topic: &TopicFields<'a>,
    received_at: Timestamp,
) -> Result<Message<'a>, Rejection> {
    let mut pack = Pack::new(topic, received_at);
    json::read(text, &mut pack)?;
    pack.finish()
}

/// Times from here on are absolute: 2^28 seconds.
const ABSOLUTE_FROM_MICROS: i64 = 268_435_456 * 1_000_000;
/// The version of RFC 8428; later ones add features that must be understood (RFC 9100).
const VERSION: i64 = 10;

/// What was read of a pack so far.
struct Pack<'a> {
    topic: TopicFields<'a>,
    received_at: Timestamp,
    base_name: Cow<'a, str>,
    base_unit: Option<Cow<'a, str>>,
    base_micros: i64,
    base_value: Option<Number>,
    /// Device part of the base name of the first named reading; empty if it had none.
    named_under: Option<Cow<'a, str>>,
    boot: Option<i64>,
    seq: Option<i64>,
    readings: Vec<Reading<'a>>,
    ignored: u32,
}

impl<'a> Pack<'a> {
    fn new(topic: &TopicFields<'a>, received_at: Timestamp) -> Self {
        Self {
            topic: *topic,
            received_at,
            base_name: Cow::Borrowed(""),
            base_unit: None,
            base_micros: 0,
            base_value: None,
            named_under: None,
            boot: None,
            seq: None,
            readings: Vec::new(),
            ignored: 0,
        }
    }

    /// Takes the value of one field of `record`.
    fn field(&mut self, record: &mut Record<'a>, field: Field, value: Scalar<'a>) -> Result<(), Rejection> {
        let name = field.name();
        match field {
            Field::Name => record.name = Some(value.text(name)?),
            Field::Unit => record.unit = unit(name, value)?,
            Field::Time => record.micros = Some(micros(name, value)?),
            Field::Value => record.number = Some(value.number(name)?),
            Field::BoolValue => record.other = Some(Value::Bool(value.boolean(name)?)),
            Field::TextValue => record.other = Some(Value::Text(value.text_value(name)?)),
            Field::BaseName => self.base_name = value.text(name)?,
            Field::BaseTime => self.base_micros = micros(name, value)?,
            Field::BaseUnit => self.base_unit = unit(name, value)?,
            Field::BaseValue => self.base_value = Some(value.number(name)?),
            Field::BaseVersion => version(name, value)?,
            Field::UpdateTime => self.ignored = self.ignored.saturating_add(1),
        }
        Ok(())
    }

    /// Resolves `record`, whose fields are all read, to a reading or to a part of the identity.
    fn record(&mut self, mut record: Record<'a>) -> Result<(), Rejection> {
        if record.is_header() {
            return Ok(());
        }
        if record.has_two_values() {
            let detail = "more than one value, expected one of `v`, `vb`, `vs`";
            return Err(Rejection::new(Reason::InvalidField, detail));
        }
        match record.name.as_deref() {
            Some("boot") => self.boot = Some(self.counter(&record, self.boot)?),
            Some("seq") => self.seq = Some(self.counter(&record, self.seq)?),
            _ => {
                let value = self.value(&mut record)?;
                let metric = self.metric(record.name.take())?;
                let time = self.time(record.micros)?;
                let unit = record.unit.or_else(|| self.base_unit.clone());
                if self.readings.len() >= limits::READINGS_PER_MESSAGE {
                    let detail = format!("more than {} readings in one message", limits::READINGS_PER_MESSAGE);
                    return Err(Rejection::new(Reason::TooManyReadings, detail));
                }
                self.readings.push(Reading { metric, time, value, unit });
            }
        }
        Ok(())
    }

    /// The message number that `record`, named `boot` or `seq`, carries. `before` is that of an earlier record.
    fn counter(&mut self, record: &Record<'a>, before: Option<i64>) -> Result<i64, Rejection> {
        const EXPECTED: &str = "a whole number from 0 to 2^63 - 1";
        let name = record.name.as_deref().unwrap_or_default();
        if before.is_some() {
            return Err(refusal::invalid_text("n", name, "one record of this name in a message"));
        }
        let Some(number) = record.number else { return Err(refusal::missing("v", EXPECTED)) };
        let base = self.base_value.map_or(Some(0), Number::as_integer);
        let count = base.zip(number.as_integer()).and_then(|(base, number)| base.checked_add(number));
        let unused = u32::from(record.unit.is_some()) + u32::from(record.micros.is_some());
        self.ignored = self.ignored.saturating_add(unused);
        count.filter(|count| *count >= 0).ok_or_else(|| refusal::invalid_number("v", number, EXPECTED))
    }

    fn value(&self, record: &mut Record<'a>) -> Result<Value<'a>, Rejection> {
        let Some(number) = record.number.map(Number::as_f64) else {
            return record.other.take().ok_or_else(|| refusal::missing("v", "one of `v`, `vb`, `vs`"));
        };
        // Without a base value nothing is added: -0.0 + 0.0 would lose the sign.
        let sum = self.base_value.map_or(number, |base| base.as_f64() + number);
        if !sum.is_finite() {
            let detail = format!("field `v`: {number:e} plus `bv` is {sum}, expected a finite number");
            return Err(Rejection::new(Reason::NonFinite, detail));
        }
        Ok(Value::Number(sum))
    }

    fn metric(&mut self, name: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, Rejection> {
        let metric = match (name.filter(|name| !name.is_empty()), self.topic.metric) {
            (Some(name), _) => name,
            (None, Some(metric)) => Cow::Borrowed(metric),
            (None, None) if self.topic.device_id.is_some() && !self.base_name.is_empty() => {
                names::check("bn", &self.base_name, limits::METRIC_BYTES)?;
                return Ok(self.base_name.clone());
            }
            (None, None) => return Err(refusal::missing("n", "the name of what was measured")),
        };
        names::check("n", &metric, limits::METRIC_BYTES)?;
        self.one_base_name()?;
        Ok(metric)
    }

    /// Refuses a reading whose base name is of another device than that of the readings before it.
    fn one_base_name(&mut self) -> Result<(), Rejection> {
        let device = device_part(&self.base_name);
        match &self.named_under {
            Some(first) if *first == device => Ok(()),
            Some(first) => {
                let expected = format!("that of the readings before, {}", refusal::quoted(first));
                Err(refusal::invalid_text("bn", &self.base_name, &expected))
            }
            None if device.is_empty() && self.topic.device_id.is_none() => {
                Err(refusal::missing("bn", "the device in the topic or in the base name"))
            }
            None => {
                self.named_under = Some(device);
                Ok(())
            }
        }
    }

    fn time(&self, micros: Option<i64>) -> Result<Timestamp, Rejection> {
        let sum = self.base_micros.checked_add(micros.unwrap_or(0));
        let time = match sum {
            Some(absolute) if absolute >= ABSOLUTE_FROM_MICROS => Some(absolute),
            Some(relative) => self.received_at.as_micros().checked_add(relative),
            None => None,
        };
        time.map(Timestamp::from_micros).ok_or_else(|| {
            let detail = "field `t`: base time plus time is out of range, expected a time within 292,000 years";
            Rejection::new(Reason::InvalidField, detail)
        })
    }

    fn finish(mut self) -> Result<Message<'a>, Rejection> {
        if self.readings.is_empty() {
            let detail = "no readings: expected at least one record besides `boot` and `seq`";
            return Err(Rejection::new(Reason::MissingField, detail));
        }
        let device_id = match names::device(&self.topic)? {
            Some(device) => device,
            None => {
                let device = self.named_under.take().unwrap_or_default();
                names::check("bn", &device, limits::DEVICE_ID_BYTES)?;
                device
            }
        };
        let identity = match (self.boot, self.seq) {
            (Some(boot), Some(seq)) => Some(Identity { boot, seq }),
            (None, None) => None,
            _ => {
                self.ignored = self.ignored.saturating_add(1);
                None
            }
        };
        let site = names::site(&self.topic)?;
        Ok(Message { device_id, site, identity, readings: self.readings, ignored_fields: self.ignored })
    }
}

fn unit<'a>(field: &str, value: Scalar<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let unit = value.text(field)?;
    if unit.is_empty() {
        return Ok(None);
    }
    names::check(field, &unit, limits::UNIT_BYTES)?;
    Ok(Some(unit))
}

fn micros(field: &str, value: Scalar<'_>) -> Result<i64, Rejection> {
    let seconds = value.number(field)?;
    seconds.as_micros().ok_or_else(|| refusal::invalid_number(field, seconds, "seconds within 292,000 years"))
}

fn version(field: &str, value: Scalar<'_>) -> Result<(), Rejection> {
    let number = value.number(field)?;
    match number.as_integer() {
        Some(1..=VERSION) => Ok(()),
        Some(later) if later > VERSION => {
            Err(refusal::unsupported(field, &format!("found version {later}, expected at most {VERSION}")))
        }
        _ => Err(refusal::invalid_number(field, number, "a whole number from 1 on")),
    }
}

/// `base_name` without one trailing `:` or `/`.
fn device_part<'a>(base_name: &Cow<'a, str>) -> Cow<'a, str> {
    fn cut(name: &str) -> &str {
        name.strip_suffix([':', '/']).unwrap_or(name)
    }
    match base_name {
        Cow::Borrowed(name) => Cow::Borrowed(cut(name)),
        Cow::Owned(name) => Cow::Owned(cut(name).into()),
    }
}

#[cfg(test)]
mod tests;
