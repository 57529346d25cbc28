//! What devices write: SenML JSON (RFC 8428), or a flat JSON object.
//!
//! Numbers are written in the shortest form that reads back as the same double, times to the microsecond.

use std::fmt::Write;

use telemetry::Timestamp;

/// `text` as a JSON string, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The start of a pack: base name `device`, base time if there is one, and the identity of the message.
pub(crate) fn senml_start(out: &mut String, device: &str, time: Option<Timestamp>, boot: i64, seq: i64) {
    put(out, format_args!("[{{\"bn\":{},", quoted(&format!("{device}:"))));
    if let Some(time) = time {
        out.push_str("\"bt\":");
        put_seconds(out, time);
        out.push(',');
    }
    put(out, format_args!("\"n\":\"boot\",\"v\":{boot}}},{{\"n\":\"seq\",\"v\":{seq}}}"));
}

/// One reading of a pack. `metric` and `unit` are [`quoted`]; `time` is that of the pack if there is none.
pub(crate) fn senml_reading(out: &mut String, metric: &str, unit: Option<&str>, time: Option<Timestamp>, value: f64) {
    put(out, format_args!(",{{\"n\":{metric}"));
    if let Some(unit) = unit {
        put(out, format_args!(",\"u\":{unit}"));
    }
    if let Some(time) = time {
        out.push_str(",\"t\":");
        put_seconds(out, time);
    }
    put(out, format_args!(",\"v\":{value:?}}}"));
}

/// The end of a pack.
pub(crate) fn senml_end(out: &mut String) {
    out.push(']');
}

/// A flat object: the fields of the message, then one field a reading.
pub(crate) fn flat(out: &mut String, device: &str, time: Timestamp, boot: i64, seq: i64, readings: &[(&str, f64)]) {
    put(out, format_args!("{{\"device_id\":{},\"time\":", quoted(device)));
    put_seconds(out, time);
    put(out, format_args!(",\"boot\":{boot},\"seq\":{seq}"));
    for (metric, value) in readings {
        put(out, format_args!(",{}:{value:?}", quoted(metric)));
    }
    out.push('}');
}

fn put_seconds(out: &mut String, time: Timestamp) {
    let (seconds, micros) = (time.as_micros().div_euclid(1_000_000), time.as_micros().rem_euclid(1_000_000));
    match micros {
        0 => put(out, format_args!("{seconds}")),
        _ => put(out, format_args!("{seconds}.{micros:06}")),
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    out.write_fmt(text).ok();
}
