//! A device's side of SenML: messages to payloads, as plainly as the RFC allows.

use telemetry::{Message, Value};

/// `message` as a pack. The first time is `bt` if `based`, the others relative to it; else all are absolute.
pub(crate) fn senml(message: &Message<'_>, based: bool) -> String {
    let first = message.readings.first().map_or(0, |reading| reading.time.as_micros());
    let mut records = vec![format!("{{\"bn\":{}", text(&format!("{}:", message.device_id)))];
    if based {
        records[0].push_str(&format!(",\"bt\":{}", seconds(first)));
    }
    if let Some(identity) = message.identity {
        records[0].push_str(&format!(",\"n\":\"boot\",\"v\":{}}}", identity.boot));
        records.push(format!("{{\"n\":\"seq\",\"v\":{}}}", identity.seq));
    } else {
        records[0].push('}');
    }
    for reading in &message.readings {
        let since = if based { first } else { 0 };
        let time = seconds(reading.time.as_micros() - since);
        let value = match &reading.value {
            Value::Number(number) => format!("\"v\":{}", serde_json::to_string(number).unwrap()),
            Value::Bool(truth) => format!("\"vb\":{truth}"),
            Value::Text(value) => format!("\"vs\":{}", text(value)),
        };
        let unit = reading.unit.as_deref().map_or(String::new(), |unit| format!(",\"u\":{}", text(unit)));
        records.push(format!("{{\"n\":{},\"t\":{time},{value}{unit}}}", text(&reading.metric)));
    }
    format!("[{}]", records.join(","))
}

/// Microseconds as decimal seconds, every digit of them.
pub(crate) fn seconds(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
