//! Places such as `{device_id}` in URLs and topics.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};
use telemetry::Timestamp;

use crate::firing::Firing;
use crate::workflows::outside::limits;

/// The places: columns of a reading, as in messages of rules. `{value}` is the value of whatever kind.
pub const PLACES: [&str; 11] =
    ["device_id", "metric", "time", "value", "value_bool", "value_text", "unit", "site", "boot", "seq", "received_at"];

/// The URL of a webhook with the places of its path and query filled in, percent-encoded.
///
/// # Errors
/// A text for a person: a place that is none or has no value, a value that would lead to another folder.
pub fn url(text: &str, firing: &Firing) -> Result<url::Url, String> {
    let (origin, rest) = split_origin(text);
    // A parser takes a backslash for a slash.
    if origin.contains(['{', '}', '\\']) {
        return Err(format!("`{origin}` cannot have places or backslashes: they are for path and query"));
    }
    let filled = fill(
        rest,
        firing,
        |place, value| {
            if value.is_empty() { Err(empty(place)) } else { Ok(percent_encoded(value)) }
        },
    )?;
    let path = filled.split(['?', '#']).next().unwrap_or_default();
    if path.contains('\\') || path.split('/').any(climbs) {
        return Err(format!("the path `{path}` leads to another folder: a segment is `.` or `..`"));
    }
    url::Url::parse(&format!("{origin}{filled}")).map_err(|error| format!("`{text}` is not a URL: {error}"))
}

/// A topic with its places filled in.
///
/// # Errors
/// A text for a person: a place that is none or has no value, a value with `/`, `+`, `#` or NUL, a topic of the
/// broker (`$...`), one too long.
pub fn topic(text: &str, firing: &Firing) -> Result<String, String> {
    let topic = fill(text, firing, |place, value| match value {
        "" => Err(empty(place)),
        value if value.contains(['/', '+', '#', '\0']) => {
            Err(format!("place `{{{place}}}` has a value with `/`, `+`, `#` or NUL, which a topic cannot take"))
        }
        value => Ok(value.to_owned()),
    })?;
    if topic.is_empty() || topic.starts_with('$') || topic.contains(['+', '#', '\0']) {
        return Err(format!("`{topic}` is not a topic to publish to: it is empty, begins with `$`, or has wildcards"));
    }
    if topic.len() > limits::TOPIC_BYTES {
        return Err(format!("topic has {} bytes, the limit is {}", topic.len(), limits::TOPIC_BYTES));
    }
    Ok(topic)
}

fn empty(place: &str) -> String {
    format!("place `{{{place}}}` has no value in this firing")
}

/// What comes before the path, and the rest. No place is filled in before.
fn split_origin(text: &str) -> (&str, &str) {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let length = text.get(begin..).unwrap_or_default().find(['/', '?', '#']);
    text.split_at_checked(length.map_or(text.len(), |length| begin + length)).unwrap_or((text, ""))
}

/// Whether a URL parser takes a segment for the folder above, or the same.
fn climbs(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `{{` and `}}` stand for the braces themselves, as in messages of rules.
fn fill(text: &str, firing: &Firing, written: impl Fn(&str, &str) -> Result<String, String>) -> Result<String, String> {
    let measured: Map<String, Value> = serde_json::from_str(&firing.data).unwrap_or_default();
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.find(['{', '}']).and_then(|at| rest.split_at_checked(at)) {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix("{{") {
            filled.push('{');
            rest = after;
        } else if let Some(after) = after.strip_prefix("}}") {
            filled.push('}');
            rest = after;
        } else {
            let inner = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, after) = inner.ok_or_else(|| format!("`{text}` has a brace without its partner"))?;
            filled.push_str(&written(name, &value(name, firing, &measured)?)?);
            rest = after;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn value(name: &str, firing: &Firing, measured: &Map<String, Value>) -> Result<String, String> {
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    let of = |name: &str| measured.get(name).map_or_else(String::new, shown);
    let typed =
        |is: fn(&Value) -> bool| measured.get("value").filter(|value| is(value)).map_or_else(String::new, shown);
    Ok(match name {
        "device_id" => firing.device_id.clone(),
        "site" => firing.site.clone().unwrap_or_default(),
        "time" => rfc3339(firing.time),
        "received_at" => rfc3339(firing.received_at),
        "boot" => number(firing.boot),
        "seq" => number(firing.seq),
        "metric" | "value" | "unit" => of(name),
        "value_bool" => typed(Value::is_boolean),
        "value_text" => typed(Value::is_string),
        _ => return Err(format!("unknown place `{{{name}}}`; the places are {}", PLACES.join(", "))),
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        // A whole number reads as in messages: 80, not 80.0.
        Value::Number(number) => match number.as_f64() {
            Some(value) if value == 0.0 || (1e-5..1e15).contains(&value.abs()) => value.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A time as bodies and places have it: UTC, with as many digits as it needs.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let micros = time.as_micros();
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| micros.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests;
