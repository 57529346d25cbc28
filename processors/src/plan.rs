//! What a rule wants done when it fires: the steps of its workflow, as plain data.
//!
//! A plan goes as JSON with each firing through the stream `workflows`, so that a run never depends on the rule file
//! of the day. It names secrets ([`Secret`]), and never holds one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Labels and steps of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the author tells about the rule, e.g. `team = "ovens"`. Part of every envelope.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Done one after the other.
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What.
    pub action: Action,
    /// Template of the body (minijinja, see [`crate::workflows::body`]); without one the body is a CloudEvent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What to do when it fails.
    #[serde(default)]
    pub retry: Retry,
    /// What to do when it failed for good.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    /// POST to a URL.
    Webhook(Webhook),
    /// Publish a command at QoS 1.
    Mqtt(Mqtt),
    /// Append to a stream of events.
    Emit {
        /// Name of the stream, one of `streams.emit` in the configuration.
        stream: String,
    },
    /// Send an e-mail through the SMTP server of the configuration. Needs the feature `email`.
    Email {
        /// Addresses.
        to: Vec<String>,
        /// Template of the subject.
        subject: String,
    },
    /// Write a line to the log of the process: the body, or the rule's message without one.
    Log,
}

/// POST of the body to a URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `http` or `https`, absolute, without user and password. Path and query may have places such as
    /// `{device_id}`, which are percent-encoded when they are filled in; scheme, host and port may not.
    pub url: String,
    /// Further headers. A value may hold secrets: `Bearer ${env:OPS_TOKEN}`, `${file:/run/secrets/token}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Key of an HMAC-SHA256 signature over time and body, sent as a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// From the start of the connection to the last byte of the answer.
    #[serde(with = "millis")]
    pub timeout: Duration,
}

/// Publish of the body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Topic, with places such as `{device_id}`.
    pub topic: String,
    /// `mqtt://host:port` of an outside broker; `None` for the devices connected to our endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// How long after the firing was received a command is worth sending; then it is a dead letter.
    #[serde(with = "millis")]
    pub ttl: Duration,
}

/// Where a secret is: `env:NAME` or `file:PATH`. Read when it is needed, never printed, never stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Secret {
    /// An environment variable.
    Env(String),
    /// A file; a line break at its end is not part of it.
    File(String),
}

impl TryFrom<String> for Secret {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if path.starts_with('/') && !path.contains('\0') => Ok(Self::File(path.to_owned())),
            // The text is not shown: somebody may have written the secret itself.
            _ => Err("expected `env:NAME` or `file:/PATH`, the place of a secret, not the secret itself".to_owned()),
        }
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.to_string()
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How often and when a failed step is tried again.
///
/// The pause before attempt n + 1 is drawn from half to the whole of `initial` x 2^(n - 1), at most `cap`. What a
/// target asks for (`Retry-After`) goes before it where it is longer. Waiting for a target whose circuit breaker
/// is open, or for a device that is not connected, costs no attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, at least 1. Default 8.
    pub attempts: u32,
    /// Pause after the first failure. Default 1 s.
    #[serde(with = "millis")]
    pub initial: Duration,
    /// Longest pause. Default 5 min.
    #[serde(with = "millis")]
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 8, initial: Duration::from_secs(1), cap: Duration::from_secs(300) }
    }
}

/// What becomes of a run whose step failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The step becomes a dead letter, and the run waits with it: a redrive goes on at this step.
    #[default]
    DeadLetter,
    /// The next step is done.
    Continue,
    /// The run ends.
    Stop,
}

impl Action {
    /// The target that the step needs: what has its own queue, limit and circuit breaker. From a closed set, that
    /// of the rule files, so it can be a label of metrics: `webhook https://ops.example.com:8443`, `mqtt devices`,
    /// `mqtt mqtt://10.0.0.5:1883`, `emit maintenance`, `email`, `log`.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Webhook(webhook) => format!("webhook {}", origin(&webhook.url)),
            Self::Mqtt(Mqtt { broker: Some(broker), .. }) => format!("mqtt {broker}"),
            Self::Mqtt(Mqtt { broker: None, .. }) => "mqtt devices".to_owned(),
            Self::Emit { stream } => format!("emit {stream}"),
            Self::Email { .. } => "email".to_owned(),
            Self::Log => "log".to_owned(),
        }
    }

    /// The word for it in rule files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mqtt(_) => "mqtt",
            Self::Emit { .. } => "emit",
            Self::Email { .. } => "email",
            Self::Log => "log",
        }
    }
}

/// Scheme, host and port of a URL: it ends at the first `/`, `?` or `#` after `://`.
fn origin(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let length = url.get(begin..).unwrap_or_default().find(['/', '?', '#']);
    length.map_or(url, |length| url.get(..begin + length).unwrap_or(url))
}

/// Times as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_json() {
        let plan = Plan {
            labels: BTreeMap::from([("team".to_owned(), "ovens".to_owned())]),
            steps: vec![Step {
                action: Action::Webhook(Webhook {
                    url: "https://ops.example.com:8443/a?b={device_id}".to_owned(),
                    headers: BTreeMap::new(),
                    secret: Some(Secret::Env("KEY".to_owned())),
                    timeout: Duration::from_millis(1500),
                }),
                body: Some("{{ value }}".to_owned()),
                retry: Retry::default(),
                on_failure: OnFailure::Continue,
            }],
        };
        assert_eq!(plan.steps[0].action.target(), "webhook https://ops.example.com:8443");
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }

    #[test]
    fn a_secret_is_a_place_and_a_wrong_one_is_not_shown() {
        assert_eq!(Secret::try_from("env:KEY".to_owned()), Ok(Secret::Env("KEY".to_owned())));
        assert_eq!(Secret::try_from("file:/run/key".to_owned()), Ok(Secret::File("/run/key".to_owned())));
        for wrong in ["hunter2", "vault:key", "file:relative", "https://x"] {
            let error = Secret::try_from(wrong.to_owned()).unwrap_err();
            assert!(!error.contains(wrong), "{error}");
        }
    }
}
