//! The body of a step: a CloudEvent, or what a template gives; and the places of URLs and topics.
//!
//! A function of the firing, its plan and the step's index alone: every attempt, before and after a restart, sends the
//! same bytes under the same key.
//!
//! The envelope is CloudEvents 1.0 in structured JSON: `id` is the idempotency key of the step, `source` is
//! `/weir/rules/<rule id>`, `type` is `weir.rule.fired`, `subject` the device, `time` that of the reading, `data` what
//! fired. A template sees the names of [`NAMES`]: those of `data`, and `key`.

use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

use bytes::Bytes;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;
use serde_json::{Map, Value};
use telemetry::Timestamp;

use crate::file::Severity;
use crate::firing::Firing;
use crate::names;
use crate::plan::Plan;
use crate::workflows::outside::limits;
use crate::workflows::outside::reason::brief;
use crate::workflows::places::rfc3339;
use crate::workflows::target::Attempt;

/// What a template may mention. Those of [`MEASURED`] that the firing does not have are none.
pub const NAMES: [&str; 17] = [
    "key",
    "run_id",
    "rule",
    "version",
    "severity",
    "message",
    "labels",
    "device_id",
    "site",
    "boot",
    "seq",
    "time",
    "received_at",
    "metric",
    "value",
    "unit",
    "metrics",
];

/// What was measured: the first three by a reading, the last by a message.
pub const MEASURED: [&str; 4] = ["metric", "value", "unit", "metrics"];

/// A rendered body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// At most [`limits::BODY_BYTES`], UTF-8.
    pub text: String,
    /// Media type.
    pub content_type: &'static str,
}

impl Body {
    /// The bytes to send.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from(self.text)
    }
}

/// Media type of the envelope.
pub const CLOUD_EVENT: &str = "application/cloudevents+json";

/// The body of the step of `attempt`.
///
/// # Errors
/// A text for a person: the template fails, or its output is too large. It will fail again.
pub fn render(attempt: &Attempt) -> Result<Body, String> {
    render_step(&attempt.firing, &attempt.plan, attempt.step)
}

/// The body of step `step` of `plan`, from 0.
///
/// # Errors
/// As [`render`].
pub fn render_step(firing: &Firing, plan: &Plan, step: usize) -> Result<Body, String> {
    let key = firing.step_key(step);
    match plan.steps.get(step).and_then(|step| step.body.as_deref()) {
        Some(template) => {
            let text = fill(template, &key, firing, plan)?;
            let json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            Ok(Body { text, content_type: if json { "application/json" } else { "text/plain; charset=utf-8" } })
        }
        None => envelope(&key, firing, plan),
    }
}

/// Fills a template: the body of a step, or the subject of an e-mail. `key` is the step's idempotency key.
///
/// # Errors
/// A text for a person, with the line of the template.
pub fn fill(template: &str, key: &str, firing: &Firing, plan: &Plan) -> Result<String, String> {
    try_fill(template, key, firing, plan).map_err(|error| told(&error))
}

/// The subject of an e-mail: one line. Without a template it is the rule's message.
///
/// # Errors
/// As [`fill`].
pub fn subject(template: &str, key: &str, firing: &Firing, plan: &Plan) -> Result<String, String> {
    let text = if template.is_empty() { firing.message.clone() } else { fill(template, key, firing, plan)? };
    Ok(brief(&text))
}

/// Whether `template` can be used: its syntax, names, filters and functions. What depends on the reading (a text that
/// is added to a number, a metric that is not there) shows only when it is filled.
///
/// # Errors
/// A text for a person, with the line of the template.
pub fn check(template: &str) -> Result<(), String> {
    if template.len() > limits::TEMPLATE_BYTES {
        return Err(format!("template has {} bytes, the limit is {}", template.len(), limits::TEMPLATE_BYTES));
    }
    let parsed = ENVIRONMENT.template_from_str(template).map_err(|error| told(&error))?;
    let mut names: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
    names.sort_unstable();
    for name in &names {
        let known = NAMES.contains(&name.as_str()) || ENVIRONMENT.globals().any(|(global, _)| global == name);
        if !known {
            let hint = names::suggestion(name, NAMES);
            return Err(format!("unknown name `{name}` in template{hint}; the names are {}", NAMES.join(", ")));
        }
    }
    for data in [SAMPLE_READING, SAMPLE_MESSAGE] {
        let error = try_fill(template, "sample-0", &sample(data), &Plan::default()).err();
        if let Some(error) = error.filter(|error| is_of_template(error.kind())) {
            return Err(told(&error));
        }
    }
    Ok(())
}

/// Whether an error comes from the template alone, whatever the reading.
fn is_of_template(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::TooManyArguments
            | ErrorKind::MissingArgument
    )
}

fn told(error: &minijinja::Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!("line {line} of template: "));
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    match error.kind() {
        ErrorKind::WriteFailure => format!("{line}the output has more than {} bytes", limits::BODY_BYTES),
        ErrorKind::OutOfFuel => format!("{line}the template runs for too long"),
        kind => format!("{line}{kind}{detail}"),
    }
}

/// No includes (not compiled in), no clock, no random numbers; an unknown name is an error, not an empty text.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    environment.remove_global("debug");
    environment
});

fn try_fill(template: &str, key: &str, firing: &Firing, plan: &Plan) -> Result<String, minijinja::Error> {
    let mut names = match serde_json::to_value(facts(firing, plan)) {
        Ok(Value::Object(names)) => names,
        _ => Map::new(),
    };
    for name in MEASURED {
        names.entry(name).or_insert(Value::Null);
    }
    names.insert("key".to_owned(), Value::from(key));
    let mut output = Bounded(Vec::new());
    let values = minijinja::Value::from(minijinja::value::Serde(names));
    drop(ENVIRONMENT.template_from_str(template)?.render_captured_to(values, &mut output)?);
    String::from_utf8(output.0).map_err(|error| minijinja::Error::from(ErrorKind::BadSerialization).with_source(error))
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > limits::BODY_BYTES {
            return Err(io::Error::other("too much output"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    r#type: &'static str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: Facts<'a>,
}

/// `data` of the envelope. What was measured comes last.
#[derive(Serialize)]
struct Facts<'a> {
    run_id: &'a str,
    rule: &'a str,
    version: i64,
    severity: &'static str,
    message: &'a str,
    labels: &'a BTreeMap<String, String>,
    device_id: &'a str,
    site: Option<&'a str>,
    boot: Option<i64>,
    seq: Option<i64>,
    time: String,
    received_at: String,
    #[serde(flatten)]
    measured: BTreeMap<String, Value>,
}

fn facts<'a>(firing: &'a Firing, plan: &'a Plan) -> Facts<'a> {
    let mut measured: BTreeMap<String, Value> = serde_json::from_str(&firing.data).unwrap_or_default();
    measured.retain(|name, _| MEASURED.contains(&name.as_str()) || !NAMES.contains(&name.as_str()));
    Facts {
        run_id: &firing.run_id,
        rule: &firing.rule_id,
        version: firing.rule_version,
        severity: firing.severity.as_str(),
        message: &firing.message,
        labels: &plan.labels,
        device_id: &firing.device_id,
        site: firing.site.as_deref(),
        boot: firing.boot,
        seq: firing.seq,
        time: rfc3339(firing.time),
        received_at: rfc3339(firing.received_at),
        measured,
    }
}

fn envelope(key: &str, firing: &Firing, plan: &Plan) -> Result<Body, String> {
    let envelope = Envelope {
        specversion: "1.0",
        id: key,
        source: format!("/weir/rules/{}", firing.rule_id),
        r#type: "weir.rule.fired",
        subject: &firing.device_id,
        time: rfc3339(firing.time),
        datacontenttype: "application/json",
        data: facts(firing, plan),
    };
    let text = serde_json::to_string(&envelope).map_err(|error| format!("cannot write the envelope: {error}"))?;
    if text.len() > limits::BODY_BYTES {
        return Err(format!("the envelope has {} bytes, the limit is {}", text.len(), limits::BODY_BYTES));
    }
    Ok(Body { text, content_type: CLOUD_EVENT })
}

const SAMPLE_READING: &str = r#"{"metric":"temperature","value":81.5,"unit":"Cel"}"#;
const SAMPLE_MESSAGE: &str = r#"{"metrics":{"temperature":81.5,"humidity":12.0}}"#;

/// What templates are checked with.
fn sample(data: &str) -> Firing {
    Firing {
        run_id: "00000000000000000000000000000000".to_owned(),
        rule_id: "sample".to_owned(),
        rule_version: 1,
        severity: Severity::Warning,
        message: "sample".to_owned(),
        device_id: "device-1".to_owned(),
        site: Some("site-1".to_owned()),
        time: Timestamp::from_micros(0),
        received_at: Timestamp::from_micros(0),
        boot: Some(1),
        seq: Some(1),
        data: data.to_owned(),
        plan: "".into(),
        trace: None,
    }
}

#[cfg(test)]
mod tests;
