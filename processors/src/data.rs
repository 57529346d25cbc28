//! What was measured, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use telemetry::Value;

use crate::readings::Readings;
use crate::rules::Rule;

/// What `rule` fired on at `row`: [`crate::Firing::data`].
pub(crate) fn of_firing(rule: &Rule, readings: &Readings<'_>, row: usize) -> String {
    to_json(&Measured::of(rule, readings, row))
}

/// The same with all else that is known of the reading or message: what a dead letter holds.
pub(crate) fn whole(rule: &Rule, readings: &Readings<'_>, row: usize) -> String {
    let (boot, seq) = readings.identity(row).unzip();
    to_json(&Whole {
        device_id: readings.device_id(row),
        site: readings.site(row),
        measured: Measured::of(rule, readings, row),
        time: readings.shown_time(row),
        boot,
        seq,
        received_at: readings.shown_received_at(row),
    })
}

#[derive(Serialize)]
struct Whole<'a> {
    device_id: &'a str,
    site: Option<&'a str>,
    #[serde(flatten)]
    measured: Measured<'a>,
    time: String,
    boot: Option<i64>,
    seq: Option<i64>,
    received_at: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Measured<'a> {
    Reading {
        metric: &'a str,
        value: Typed<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<&'a str>,
    },
    Message {
        metrics: BTreeMap<&'a str, f64>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Typed<'a> {
    Number(f64),
    Bool(bool),
    Text(&'a str),
    Nothing,
}

impl<'a> Measured<'a> {
    fn of(rule: &Rule, readings: &Readings<'a>, row: usize) -> Self {
        if !rule.is_over_messages() {
            let value = match readings.value(row) {
                Some(Value::Number(number)) => Typed::Number(number),
                Some(Value::Bool(truth)) => Typed::Bool(truth),
                Some(Value::Text(std::borrow::Cow::Borrowed(text))) => Typed::Text(text),
                _ => Typed::Nothing,
            };
            return Self::Reading { metric: readings.metric(row), value, unit: readings.unit(row) };
        }
        let mut metrics = BTreeMap::new();
        for row in readings.message(row) {
            let metric = readings.metric(row);
            if rule.metrics().binary_search_by(|name| name.as_str().cmp(metric)).is_ok() {
                // The last one counts, also if it is no number.
                match readings.number(row) {
                    Some(number) => metrics.insert(metric, number),
                    None => metrics.remove(metric),
                };
            }
        }
        Self::Message { metrics }
    }
}

/// Texts, numbers and names can be written; a number that is not finite is null.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}
