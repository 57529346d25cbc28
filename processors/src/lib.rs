//! What Weir thinks about readings: rules, which are SQL boolean expressions evaluated on whole batches, and what
//! is done when they fire.
//!
//! Not a stream processor: a rule sees one reading or one message at a time, no window, no join, no clock. So
//! evaluation is a function of the rules and the record alone, and a replay gives the same alerts and firings with
//! the same ids.
//!
//! In reading order: [`rules`] (compiled rules), [`plan`] (what they want done), [`error`] (why a file is refused),
//! [`evaluation`] (batch in, alerts and firings out), [`firing`] (a rule that fired and has steps), [`effect`] (the
//! consumer that appends them to streams), [`workflows`] (who does the steps), [`metrics`], [`fleet`] (what devices
//! measure, for dashboards), [`limits`].
//! Inside, from text to rules: `load` (files), `file` (the shape of the TOML), `author` and `position` (places in it),
//! `steps`, `addresses` and `duration` (what a rule wants done), `expression` (text to a compiled predicate) with
//! `guard`, `names` and `functions` (what it may mention), `template` (messages). From readings to alerts: `readings`
//! (typed columns), `occurrences` (readings by metric), `verdict` (an expression on a batch), `messages` (a row a
//! message), `fired` (rules and readings in order), `keys` (names of what fired), `alerts`, `firings` and `letters`
//! (the columns of it), `data` (JSON), `traced` (spans and contexts), `outbox` (appends in order).

mod addresses;
mod alerts;
mod author;
mod data;
mod duration;
pub mod effect;
pub mod error;
pub mod evaluation;
mod expression;
mod file;
mod fired;
pub mod firing;
mod firings;
pub mod fleet;
mod functions;
mod guard;
mod keys;
mod letters;
pub mod limits;
mod load;
mod messages;
pub mod metrics;
mod names;
mod occurrences;
mod outbox;
pub mod plan;
mod position;
mod readings;
pub mod rules;
mod steps;
mod template;
#[cfg(test)]
mod testing;
mod traced;
mod verdict;
pub mod workflows;

pub use duration::Shown as ShownDuration;
pub use effect::RulesEffect;
pub use error::{RuleError, RuleProblem};
pub use evaluation::{Evaluation, Fired, RuleOutcome};
pub use file::Severity;
pub use firing::Firing;
pub use keys::RunId;
pub use letters::REASON as RULE_ERROR;
pub use metrics::RulesMetrics;
pub use plan::Plan;
pub use rules::{Rule, RuleSet};

/// The rule file of `weir demo`: three rules that fit the simulated fleet.
pub const SAMPLE_RULES: &str = include_str!("../rules/demo.toml");
