//! Readings for those who watch: topic and JSON object of each durable reading, only while somebody does.
//!
//! Best effort by design: QoS 0, bounded at every step, dropped and counted rather than waited for.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use telemetry::{Message, Reading, Timestamp, Value};

/// Live readings kept of one group; more are dropped and counted.
pub(crate) const READINGS_PER_GROUP: usize = 1024;
/// Groups of live readings a thread may fall behind.
pub(crate) const GROUPS_BEHIND: usize = 8;

const PREFIX: &str = "weir/live/";

/// Whether a filter or topic stays within `weir/live/#`.
#[must_use]
pub fn is_within(filter: &str) -> bool {
    filter.starts_with(PREFIX)
}

/// One durable reading, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveReading {
    /// `weir/live/{device_id}/{metric}`.
    pub topic: String,
    /// A JSON object: `device_id`, `metric`, `time` (seconds since 1970), `value`, and `unit`, `site` if known.
    pub payload: String,
}

/// How many watch: nothing is prepared while nobody does.
#[derive(Debug, Default)]
pub(crate) struct Audience(AtomicUsize);

impl Audience {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn join(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The live readings of `message`.
pub(crate) fn readings(message: &Message<'_>) -> Vec<LiveReading> {
    message.readings.iter().take(READINGS_PER_GROUP).filter_map(|reading| live(message, reading)).collect()
}

fn live(message: &Message<'_>, reading: &Reading<'_>) -> Option<LiveReading> {
    let mut topic = String::with_capacity(PREFIX.len() + message.device_id.len() + reading.metric.len() + 1);
    topic.push_str(PREFIX);
    push_level(&mut topic, &message.device_id);
    topic.push('/');
    push_level(&mut topic, &reading.metric);
    let object = Object {
        device_id: &message.device_id,
        metric: &reading.metric,
        time: seconds(reading.time),
        value: match &reading.value {
            Value::Number(number) => ObjectValue::Number(*number),
            Value::Bool(truth) => ObjectValue::Bool(*truth),
            Value::Text(text) => ObjectValue::Text(text),
        },
        unit: reading.unit.as_deref(),
        site: message.site.as_deref(),
    };
    // Only a type that is no JSON could fail here.
    serde_json::to_string(&object).ok().map(|payload| LiveReading { topic, payload })
}

#[derive(Serialize)]
struct Object<'a> {
    device_id: &'a str,
    metric: &'a str,
    time: f64,
    value: ObjectValue<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ObjectValue<'a> {
    Number(f64),
    Bool(bool),
    Text(&'a str),
}

fn seconds(time: Timestamp) -> f64 {
    time.as_seconds()
}

/// Adds `text` as one level: what would end it, or is forbidden in a topic, is percent-encoded.
fn push_level(topic: &mut String, text: &str) {
    for character in text.chars() {
        if matches!(character, '/' | '+' | '#' | '%') || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing to a string never fails.
                write!(topic, "%{byte:02X}").unwrap_or_default();
            }
        } else {
            topic.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use telemetry::topic::Filter;

    use super::*;

    fn message<'a>(device_id: &'a str, metric: &'a str, value: Value<'a>) -> Message<'a> {
        let reading = Reading {
            metric: Cow::Borrowed(metric),
            time: Timestamp::from_micros(1_700_000_000_250_000),
            value,
            unit: Some(Cow::Borrowed("Cel")),
        };
        Message {
            device_id: Cow::Borrowed(device_id),
            site: None,
            identity: None,
            readings: vec![reading],
            ignored_fields: 0,
        }
    }

    #[test]
    fn a_reading_becomes_a_topic_and_an_object() {
        let live = readings(&message("pump-1", "temperature", Value::Number(21.5)));
        assert_eq!(live[0].topic, "weir/live/pump-1/temperature");
        assert_eq!(
            live[0].payload,
            r#"{"device_id":"pump-1","metric":"temperature","time":1700000000.25,"value":21.5,"unit":"Cel"}"#
        );
    }

    #[test]
    fn names_stay_within_their_level() {
        let live = readings(&message("a/b", "+#%\u{7}", Value::Bool(true)));
        assert_eq!(live[0].topic, "weir/live/a%2Fb/%2B%23%25%07");
        assert!(Filter::parse("weir/live/+/+").unwrap().matches(&live[0].topic));
    }

    #[test]
    fn filters_stay_within_live() {
        for allowed in ["weir/live/#", "weir/live/+/temperature", "weir/live/pump-1/#", "weir/live/pump-1/temperature"]
        {
            assert!(is_within(allowed), "{allowed}");
        }
        for other in ["#", "weir/#", "weir/+/#", "weir/live", "+/live/#", "$share/g/weir/live/#"] {
            assert!(!is_within(other), "{other}");
        }
    }
}
