//! A firing as the payload of a dead letter: whole, so that it can be admitted later.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::Timestamp;
use telemetry::trace::Context;

use super::run::severity;
use crate::firing::Firing;

/// The columns of the stream `workflows`, the plan as JSON.
#[derive(Serialize, Deserialize)]
struct Whole {
    run_id: String,
    rule_id: String,
    rule_version: i64,
    severity: String,
    message: String,
    device_id: String,
    site: Option<String>,
    time: i64,
    received_at: i64,
    boot: Option<i64>,
    seq: Option<i64>,
    data: String,
    plan: Value,
    /// The span `receive` of the message, if that is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

/// The payload of a firing that is not run.
pub(super) fn payload(firing: &Firing) -> Vec<u8> {
    let whole = Whole {
        run_id: firing.run_id.clone(),
        rule_id: firing.rule_id.clone(),
        rule_version: firing.rule_version,
        severity: firing.severity.as_str().to_owned(),
        message: firing.message.clone(),
        device_id: firing.device_id.clone(),
        site: firing.site.clone(),
        time: firing.time.as_micros(),
        received_at: firing.received_at.as_micros(),
        boot: firing.boot,
        seq: firing.seq,
        data: firing.data.clone(),
        plan: serde_json::from_str(&firing.plan).unwrap_or_else(|_| Value::String(firing.plan.to_string())),
        traceparent: firing.trace.as_ref().map(Context::to_string),
    };
    // Texts and numbers: nothing in it can fail.
    serde_json::to_vec(&whole).unwrap_or_default()
}

/// The firing of such a payload.
///
/// # Errors
/// If the bytes are no such payload.
pub fn firing_of(payload: &[u8]) -> Result<Firing, serde_json::Error> {
    let whole: Whole = serde_json::from_slice(payload)?;
    let plan: Arc<str> = match whole.plan {
        Value::String(text) => text.into(),
        plan => plan.to_string().into(),
    };
    Ok(Firing {
        run_id: whole.run_id,
        rule_id: whole.rule_id,
        rule_version: whole.rule_version,
        severity: severity(&whole.severity),
        message: whole.message,
        device_id: whole.device_id,
        site: whole.site,
        time: Timestamp::from_micros(whole.time),
        received_at: Timestamp::from_micros(whole.received_at),
        boot: whole.boot,
        seq: whole.seq,
        data: whole.data,
        plan,
        trace: whole.traceparent.as_deref().and_then(Context::parse),
    })
}
