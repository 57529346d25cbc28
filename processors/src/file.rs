//! The shape of a rule file. Unknown keys are refused: a rule that silently lacks what its author asked for
//! is worse than none.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::plan::OnFailure;

/// How bad it is when a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
}

impl Severity {
    /// The name in files and alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|severity| severity.as_str() == name)
    }
}

/// A text and where in the file it is.
pub(crate) type Text = Spanned<String>;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    /// The `[[rule]]` tables, in order.
    #[serde(default)]
    pub(crate) rule: Vec<RuleEntry>,
}

/// One `[[rule]]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleEntry {
    /// Unique name.
    pub(crate) id: Text,
    /// What the rule means, counted up; part of every key.
    pub(crate) version: Option<Spanned<i64>>,
    /// SQL boolean expression over one reading.
    pub(crate) when: Option<Text>,
    /// SQL boolean expression over one message. One of both.
    pub(crate) when_message: Option<Text>,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Text of the alert, with places.
    pub(crate) message: Text,
    /// Length of the time buckets of which each has one firing a device.
    pub(crate) cooldown: Option<Text>,
    /// What the author tells about it.
    #[serde(default)]
    pub(crate) labels: BTreeMap<Text, Text>,
    /// The `[[rule.step]]` tables, in order.
    #[serde(default)]
    pub(crate) step: Vec<Spanned<StepEntry>>,
}

/// One `[[rule.step]]` table: one of the first five, and what belongs to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepEntry {
    /// URL to POST to.
    pub(crate) webhook: Option<Text>,
    /// Topic of a command.
    pub(crate) mqtt: Option<Text>,
    /// Stream to append to.
    pub(crate) emit: Option<Text>,
    /// Addresses.
    pub(crate) email: Option<Spanned<Vec<Text>>>,
    /// `true`.
    pub(crate) log: Option<Spanned<bool>>,
    /// Of a webhook.
    pub(crate) headers: Option<Spanned<BTreeMap<Text, Text>>>,
    /// Of a webhook: the key of its signature.
    pub(crate) secret: Option<Text>,
    /// Of a webhook.
    pub(crate) timeout: Option<Text>,
    /// Of a command: an outside broker.
    pub(crate) broker: Option<Text>,
    /// Of a command: how long it is worth sending.
    pub(crate) ttl: Option<Text>,
    /// Of an e-mail.
    pub(crate) subject: Option<Text>,
    /// Template.
    pub(crate) body: Option<Text>,
    /// How often and when it is tried again.
    pub(crate) retry: Option<RetryEntry>,
    /// What becomes of the run if it fails for good.
    pub(crate) on_failure: Option<OnFailure>,
}

/// `retry = { ... }`: what is left out is as usual.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryEntry {
    /// Attempts in all.
    pub(crate) attempts: Option<Spanned<i64>>,
    /// First pause.
    pub(crate) initial: Option<Text>,
    /// Longest pause.
    pub(crate) cap: Option<Text>,
}
