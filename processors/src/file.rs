//! The shape of a rule file. Unknown keys are refused: a rule that silently lacks what its author asked for
//! is worse than none.

use serde::Deserialize;
use toml::Spanned;

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
}

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
    pub(crate) id: Spanned<String>,
    /// SQL boolean expression.
    pub(crate) when: Spanned<String>,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Text of the alert, with places.
    pub(crate) message: Spanned<String>,
}
