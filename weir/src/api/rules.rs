//! `/api/v1/rules`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use processors::Rule;
use prometheus::Registry;
use serde::Serialize;

use super::ApiState;
use super::error::ApiError;

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Rules {
    /// In their order.
    rules: Vec<RuleView>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct RuleView {
    id: String,
    version: i64,
    /// The file that it is in.
    file: String,
    /// The expression, as it was written.
    when: String,
    /// Whether the expression is over all readings of a message.
    over_messages: bool,
    severity: String,
    message: String,
    cooldown_seconds: Option<f64>,
    labels: BTreeMap<String, String>,
    /// Targets of its steps, in their order, e.g. `webhook https://ops.example.com`.
    steps: Vec<String>,
    /// Readings it was true on since the process started.
    matches: u64,
    /// Readings its expression failed on since then.
    errors: u64,
}

/// The rules, and what they did since the process started.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let Some(rules) = &state.rules else {
        return Err(ApiError::not_found("no rules run in this process: ask one of `weir process`, by --http"));
    };
    let rules = rules.borrow().clone();
    let matches = by_rule(&state.registry, "weir_rules_matches_total");
    let errors = by_rule(&state.registry, "weir_rules_errors_total");
    let count = |counts: &BTreeMap<String, u64>, id: &str| counts.get(id).copied().unwrap_or(0);
    let view = |rule: &Rule| RuleView {
        id: rule.id().to_owned(),
        version: rule.version(),
        file: rule.origin().to_owned(),
        when: rule.when().to_owned(),
        over_messages: rule.is_over_messages(),
        severity: rule.severity().as_str().to_owned(),
        message: rule.message().to_owned(),
        cooldown_seconds: rule.cooldown().map(|cooldown| cooldown.as_secs_f64()),
        labels: rule.labels().clone(),
        steps: rule.plan().steps.iter().map(|step| step.action.target()).collect(),
        matches: count(&matches, rule.id()),
        errors: count(&errors, rule.id()),
    };
    Ok(Json(Rules { rules: rules.rules().iter().map(view).collect() }).into_response())
}

/// Values of the counter `name`, by its label `rule`.
fn by_rule(registry: &Registry, name: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for family in registry.gather().iter().filter(|family| family.name() == name) {
        for metric in family.get_metric() {
            let rule = metric.get_label().iter().find(|label| label.name() == "rule");
            if let Some(rule) = rule {
                *counts.entry(rule.value().to_owned()).or_insert(0) += whole(metric.get_counter().get_value());
            }
        }
    }
    counts
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of whole things, exact to 2^53")]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}
