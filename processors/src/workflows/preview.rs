//! What the steps of a firing would send, without sending it: for `weir rules test`.

use serde::Serialize;

use crate::firing::Firing;
use crate::plan::{Action, Mqtt, Plan, Step, Webhook};
use crate::workflows::body::{self, Body};
use crate::workflows::{broker, places, webhook};

/// What one step would send. Secrets are shown as their places, `${env:NAME}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Preview {
    /// Index of the step, from 0.
    pub step: usize,
    /// The word for the step in rule files.
    pub kind: String,
    /// The target: what has a queue and a circuit breaker of its own.
    pub target: String,
    /// Idempotency key.
    pub key: String,
    /// Of a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Of a webhook, the places filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of a webhook.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Of a command, the places filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Of a command: for how many seconds after the reading was received it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<f64>,
    /// Of `emit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Of an e-mail: recipients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Of an e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Media type of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Why the step would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What each step of `plan` would send for `firing`.
#[must_use]
pub fn preview(firing: &Firing, plan: &Plan) -> Vec<Preview> {
    plan.steps.iter().enumerate().map(|(index, step)| of_step(firing, plan, index, step)).collect()
}

fn of_step(firing: &Firing, plan: &Plan, index: usize, step: &Step) -> Preview {
    let mut preview = Preview {
        step: index,
        kind: step.action.kind().to_owned(),
        target: step.action.target(),
        key: firing.step_key(index),
        ..Preview::default()
    };
    if let Err(problem) = fill(&mut preview, firing, plan, step) {
        preview.error = Some(problem);
    }
    preview
}

fn fill(preview: &mut Preview, firing: &Firing, plan: &Plan, step: &Step) -> Result<(), String> {
    let body = match (&step.action, &step.body) {
        (Action::Log, None) => Body { text: firing.message.clone(), content_type: "text/plain; charset=utf-8" },
        _ => body::render_step(firing, plan, preview.step)?,
    };
    preview.content_type = Some(body.content_type.to_owned());
    preview.body = Some(body.text.clone());
    match &step.action {
        Action::Webhook(webhook) => of_webhook(preview, firing, webhook, &body)?,
        Action::Mqtt(Mqtt { topic, broker, ttl }) => {
            broker.as_deref().map(broker::check).transpose()?;
            preview.topic = Some(places::topic(topic, firing)?);
            preview.ttl_seconds = Some(ttl.as_secs_f64());
        }
        Action::Emit { stream } => preview.stream = Some(stream.clone()),
        Action::Email { to, subject } => {
            preview.to.clone_from(to);
            preview.subject = Some(body::subject(subject, &preview.key, firing, plan)?);
        }
        Action::Log => {}
    }
    Ok(())
}

fn of_webhook(preview: &mut Preview, firing: &Firing, webhook: &Webhook, body: &Body) -> Result<(), String> {
    preview.method = Some("POST".to_owned());
    preview.url = Some(webhook::url(webhook, firing)?.to_string());
    preview.headers = webhook::preview_headers(webhook, &preview.key, body);
    Ok(())
}

#[cfg(test)]
mod tests;
