//! Steps and firings.

use std::collections::BTreeMap;
use std::time::Duration;

use telemetry::Timestamp;

use crate::file::Severity;
use crate::firing::Firing;
use crate::plan::{Action, Mqtt, OnFailure, Plan, Retry, Step, Webhook};
use crate::testing::NEW_YEAR;

pub(in crate::workflows) fn webhook(host: &str) -> Step {
    let action = Action::Webhook(Webhook {
        url: format!("http://{host}/hook"),
        headers: BTreeMap::new(),
        secret: None,
        timeout: Duration::from_secs(10),
    });
    step(action)
}

pub(super) fn hook(host: &str) -> String {
    webhook(host).action.target()
}

pub(super) fn emit() -> Step {
    step(Action::Emit { stream: "events".to_owned() })
}

pub(super) fn command(ttl: Duration) -> Step {
    step(Action::Mqtt(Mqtt { topic: "{device_id}/commands".to_owned(), broker: None, ttl }))
}

pub(super) fn step(action: Action) -> Step {
    Step { action, body: None, retry: retry(3), on_failure: OnFailure::DeadLetter }
}

pub(super) fn retry(attempts: u32) -> Retry {
    Retry { attempts, initial: Duration::from_millis(100), cap: Duration::from_secs(1) }
}

pub(super) fn with(mut step: Step, attempts: u32, on_failure: OnFailure) -> Step {
    step.retry.attempts = attempts;
    step.on_failure = on_failure;
    step
}

/// Firing number `number` of `device`.
pub(in crate::workflows) fn firing(number: u32, device: &str, steps: &[Step]) -> Firing {
    let plan = Plan { labels: BTreeMap::new(), steps: steps.to_vec() };
    Firing {
        run_id: format!("{number:032x}"),
        rule_id: "hot".to_owned(),
        rule_version: 1,
        severity: Severity::Warning,
        message: format!("{device} is hot"),
        device_id: device.to_owned(),
        site: Some("hall-1".to_owned()),
        time: Timestamp::from_micros(NEW_YEAR + 1_000_000),
        received_at: Timestamp::from_micros(NEW_YEAR + 2_000_000),
        boot: Some(1),
        seq: Some(i64::from(number)),
        data: r#"{"metric":"temperature","value":81.5,"unit":"Cel"}"#.to_owned(),
        plan: serde_json::to_string(&plan).unwrap().into(),
        trace: None,
    }
}

pub(super) fn keys(firings: &[Firing], step: usize) -> Vec<String> {
    firings.iter().map(|firing| firing.step_key(step)).collect()
}
