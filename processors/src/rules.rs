//! Compiled rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::RuleError;
use crate::expression::{OfMessage, OfReading};
use crate::file::Severity;
use crate::load;
use crate::occurrences::Wanted;
use crate::plan::{Action, Plan};
use crate::template::Template;

/// The rules of one file, or of all files of a directory, compiled, in their order.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    pub(crate) wanted: Wanted,
}

impl RuleSet {
    /// Compiles the rules in `toml`, which came from `origin`: a path, or another name for error messages.
    ///
    /// # Errors
    /// [`RuleError::Invalid`] with the first mistake: not TOML, an unknown key, a duplicate id, an expression
    /// that is not valid or not boolean, an unknown column, function or place, a step that cannot be done, or
    /// something over a limit of [`crate::limits`]. [`RuleError::System`] if there is no thread to compile on.
    pub fn parse(toml: &str, origin: &str) -> Result<Self, RuleError> {
        load::parse(toml, origin).map(Self::of)
    }

    /// Reads and compiles the file at `path`, or if it is a directory all files in it whose name ends in `.toml` and
    /// does not begin with a full stop, in order of name. Ids are unique over all of them.
    ///
    /// # Errors
    /// [`RuleError::System`] if something cannot be read as UTF-8 text, else as [`RuleSet::parse`].
    pub fn load(path: &Path) -> Result<Self, RuleError> {
        load::load(path).map(Self::of)
    }

    /// No rules: nothing ever fires.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    fn of(rules: Vec<Rule>) -> Self {
        Self { wanted: Wanted::by(&rules), rules }
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Names of the streams that steps of the rules append to. All of them must be open.
    #[must_use]
    pub fn emits(&self) -> BTreeSet<&str> {
        let steps = self.rules.iter().flat_map(|rule| &rule.plan.steps);
        steps
            .filter_map(|step| if let Action::Emit { stream } = &step.action { Some(&**stream) } else { None })
            .collect()
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) origin: Arc<str>,
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) when: String,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) cooldown: Option<Duration>,
    pub(crate) plan: Plan,
    pub(crate) plan_json: Arc<str>,
    pub(crate) condition: Condition,
    pub(crate) template: Template,
}

/// When a rule fires.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Reading(OfReading),
    Message(OfMessage),
}

impl Rule {
    /// The file that it is in.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its unique name: 1 to 64 letters, digits, `_`, `-` or `.`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its version, from 1: part of the key of each firing.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The SQL boolean expression, as it was written.
    #[must_use]
    pub fn when(&self) -> &str {
        &self.when
    }

    /// Whether the expression is over all readings of a message (`when_message`), not over one.
    #[must_use]
    pub fn is_over_messages(&self) -> bool {
        matches!(self.condition, Condition::Message(_))
    }

    /// How bad it is when the rule fires.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The text of its alerts, places not filled in.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Length of the buckets of event time of which each has one firing a device.
    #[must_use]
    pub fn cooldown(&self) -> Option<Duration> {
        self.cooldown
    }

    /// What the author tells about it.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.plan.labels
    }

    /// Labels and steps.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The metrics that the rule looks at, as far as that is known before it is evaluated: that of
    /// `metric = '...' AND ...`, or those of a rule over messages.
    pub(crate) fn metrics(&self) -> &[String] {
        match &self.condition {
            Condition::Reading(of) => of.metric.as_slice(),
            Condition::Message(of) => &of.metrics,
        }
    }
}

#[cfg(test)]
mod tests;
