//! What Weir thinks about readings: rules, which are SQL boolean expressions evaluated on whole batches.
//!
//! Not a stream processor: a rule sees one reading at a time, no window, no join, no clock. So evaluation is
//! a function of the rules and the record alone, and a replay gives the same alerts with the same ids.
//!
//! In reading order: [`rules`] (a compiled rule file), [`error`] (why a file is refused), [`evaluation`]
//! (batch in, alerts out), [`effect`] (the consumer that appends them to a stream), [`metrics`], [`limits`].
//! Inside: `file` (the shape of the TOML), `position` (places in it), `expression` (text to a compiled
//! predicate) with `names` and `functions` (what it may mention), `template` (messages), `readings` (typed
//! columns), `fired` (rules and readings in order), `alerts` (the columns of what fired).

mod alerts;
pub mod effect;
pub mod error;
pub mod evaluation;
mod expression;
mod file;
mod fired;
pub mod firing;
mod functions;
pub mod limits;
pub mod metrics;
mod names;
pub mod plan;
mod position;
mod readings;
pub mod rules;
mod template;
#[cfg(test)]
mod testing;
pub mod workflows;

pub use effect::RulesEffect;
pub use error::{RuleError, RuleProblem};
pub use evaluation::{Evaluation, RuleOutcome};
pub use file::Severity;
pub use firing::Firing;
pub use plan::Plan;
pub use metrics::RulesMetrics;
pub use rules::{Rule, RuleSet};

/// The rule file of `weir demo`: three rules that fit the simulated fleet.
pub const SAMPLE_RULES: &str = include_str!("../rules/demo.toml");
