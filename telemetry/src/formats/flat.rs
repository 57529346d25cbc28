//! A flat JSON object: one message, each field a reading.
//!
//! * Reserved fields: `device_id` (or `device`), `site`, `time`, `boot`, `seq`. Every other field is a metric by
//!   its key; its value is a number, `true`, `false` or a text. Arrays, objects and `null` are refused: an object
//!   in an object is no measurement, and to skip it would be to lose it.
//! * Device and site are the topic's, else the payload's. If both give one and they differ, the payload's counts
//!   as ignored.
//! * If the topic gives a metric, a field `value` is a reading of that metric.
//! * `time` is in seconds since the Unix epoch, as a number, or RFC 3339 text. Without it the time is that of
//!   receipt. Unlike SenML's, small numbers are not relative.
//! * `boot` and `seq` are whole numbers from 0 to 2^63 - 1, together the message's identity. One without the
//!   other gives none, and counts as ignored.
//! * There are no units: the format has no place for them that could not be a metric.
//! * A key twice is refused, whether reserved or metric.

mod json;

use std::borrow::Cow;

use chrono::DateTime;

use super::scalar::{Number, Scalar};
use super::{names, refusal};
use crate::clock::Timestamp;
use crate::limits;
use crate::message::{Identity, Message, Reading, Value};
use crate::rejection::{Reason, Rejection};
use crate::topic::TopicFields;

/// Decodes an object. See the rules above.
pub(super) fn decode<'a>(
    text: &'a str,
    topic: &TopicFields<'a>,
    received_at: Timestamp,
) -> Result<Message<'a>, Rejection> {
    let mut object = Object::new(topic);
    json::read(text, &mut object)?;
    object.finish(received_at)
}

/// What was read of the object so far.
#[derive(Default)]
struct Object<'a> {
    topic: TopicFields<'a>,
    device_id: Option<Cow<'a, str>>,
    site: Option<Cow<'a, str>>,
    time: Option<Timestamp>,
    boot: Option<i64>,
    seq: Option<i64>,
    /// Metrics, by their own key or the topic's, in the order of the payload.
    values: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    fn new(topic: &TopicFields<'a>) -> Self {
        Self { topic: *topic, ..Self::default() }
    }

    /// Takes one field.
    fn field(&mut self, key: Cow<'a, str>, value: Scalar<'a>) -> Result<(), Rejection> {
        match &*key {
            "device_id" | "device" => once(&mut self.device_id, &key, name(&key, value, limits::DEVICE_ID_BYTES)?),
            "site" => once(&mut self.site, &key, name(&key, value, limits::SITE_BYTES)?),
            "time" => once(&mut self.time, &key, time(&key, value)?),
            "boot" => once(&mut self.boot, &key, counter(&key, value)?),
            "seq" => once(&mut self.seq, &key, counter(&key, value)?),
            _ => self.metric(key, value),
        }
    }

    fn metric(&mut self, key: Cow<'a, str>, value: Scalar<'a>) -> Result<(), Rejection> {
        let value = match value {
            Scalar::Number(number) => Value::Number(number.as_f64()),
            Scalar::Bool(truth) => Value::Bool(truth),
            text @ Scalar::Text(_) => Value::Text(text.text_value(&key)?),
            other => return Err(refusal::invalid(&key, &other, "a number, true, false or a text")),
        };
        let metric = match self.topic.metric {
            Some(metric) if key == "value" => Cow::Borrowed(metric),
            _ => key,
        };
        names::check("metric", &metric, limits::METRIC_BYTES)?;
        if self.values.len() >= limits::READINGS_PER_MESSAGE {
            let detail = format!("more than {} readings in one message", limits::READINGS_PER_MESSAGE);
            return Err(Rejection::new(Reason::TooManyReadings, detail));
        }
        self.values.push((metric, value));
        Ok(())
    }

    fn finish(self, received_at: Timestamp) -> Result<Message<'a>, Rejection> {
        if self.values.is_empty() {
            let detail = "no readings: expected at least one field besides the reserved ones";
            return Err(Rejection::new(Reason::MissingField, detail));
        }
        if let Some(metric) = repeated(&self.values) {
            return Err(refusal::repeated(metric));
        }
        let mut ignored_fields = 0;
        let device_id = of_topic_or_payload(names::device(&self.topic)?, self.device_id, &mut ignored_fields);
        let site = of_topic_or_payload(names::site(&self.topic)?, self.site, &mut ignored_fields);
        let Some(device_id) = device_id else {
            return Err(refusal::missing("device_id", "the device in the topic or in the payload"));
        };
        let identity = match (self.boot, self.seq) {
            (Some(boot), Some(seq)) => Some(Identity { boot, seq }),
            (None, None) => None,
            _ => {
                ignored_fields += 1;
                None
            }
        };
        let time = self.time.unwrap_or(received_at);
        let reading = |(metric, value)| Reading { metric, time, value, unit: None };
        let readings = self.values.into_iter().map(reading).collect();
        Ok(Message { device_id, site, identity, readings, ignored_fields })
    }
}

/// Sets `place`, unless it is set already: `key`, or another name for it, occurred before.
fn once<T>(place: &mut Option<T>, key: &str, value: T) -> Result<(), Rejection> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(refusal::repeated(key)),
    }
}

fn name<'a>(key: &str, value: Scalar<'a>, limit: usize) -> Result<Cow<'a, str>, Rejection> {
    let name = value.text(key)?;
    names::check(key, &name, limit)?;
    Ok(name)
}

fn counter(key: &str, value: Scalar<'_>) -> Result<i64, Rejection> {
    let number = value.number(key)?;
    let count = number.as_integer().filter(|count| *count >= 0);
    count.ok_or_else(|| refusal::invalid_number(key, number, "a whole number from 0 to 2^63 - 1"))
}

fn time(key: &str, value: Scalar<'_>) -> Result<Timestamp, Rejection> {
    const EXPECTED: &str = "seconds since 1970 within 292,000 years, or RFC 3339 text";
    let micros = match &value {
        Scalar::Number(seconds) => Number::as_micros(*seconds),
        Scalar::Text(text) => micros_of_rfc3339(text),
        _ => None,
    };
    micros.map(Timestamp::from_micros).ok_or_else(|| refusal::invalid(key, &value, EXPECTED))
}

fn micros_of_rfc3339(text: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let fraction = i64::from((time.timestamp_subsec_nanos() + 500) / 1000);
    time.timestamp().checked_mul(1_000_000)?.checked_add(fraction)
}

fn of_topic_or_payload<'a>(
    topic: Option<Cow<'a, str>>,
    payload: Option<Cow<'a, str>>,
    ignored_fields: &mut u32,
) -> Option<Cow<'a, str>> {
    if let (Some(topic), Some(payload)) = (&topic, &payload)
        && topic != payload
    {
        *ignored_fields += 1;
    }
    topic.or(payload)
}

/// A metric that occurs twice, if there is one. Sorts large objects: comparing all pairs would take a hostile
/// payload's 10,000 fields squared.
fn repeated<'v>(values: &'v [(Cow<'_, str>, Value<'_>)]) -> Option<&'v str> {
    const FEW: usize = 16;
    if values.len() <= FEW {
        let mut rest = values.iter();
        while let Some((metric, _)) = rest.next() {
            if rest.as_slice().iter().any(|(other, _)| other == metric) {
                return Some(metric);
            }
        }
        return None;
    }
    let mut metrics: Vec<&str> = values.iter().map(|(metric, _)| &**metric).collect();
    metrics.sort_unstable();
    metrics.array_windows().find(|[one, next]| one == next).map(|[one, _]| *one)
}

#[cfg(test)]
mod tests;
