//! Metrics of rules. The label `rule` is closed by the rule file. What rules read is shown as well, see [`crate::fleet`].

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::fleet::Fleet;

/// What rules show.
#[derive(Clone, Debug)]
pub struct RulesMetrics {
    pub(crate) evaluations: IntCounterVec,
    pub(crate) matches: IntCounterVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) waits: IntCounter,
    pub(crate) loaded: IntGauge,
    pub(crate) seconds: Histogram,
    pub(crate) fleet: Fleet,
}

impl RulesMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_rule = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["rule"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let single = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let seconds = Histogram::with_opts(
            HistogramOpts::new(
                "weir_rules_evaluation_seconds",
                "Seconds to evaluate all rules on one batch of readings",
            )
            .buckets(prometheus::exponential_buckets(0.000_01, 4.0, 10)?),
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let loaded = IntGauge::new("weir_rules_loaded", "Rules that readings are evaluated by")?;
        registry.register(Box::new(loaded.clone()))?;
        Ok(Self {
            loaded,
            evaluations: by_rule(
                "weir_rules_evaluations_total",
                "Readings (of a rule over messages: messages with its metrics) the rule was evaluated on",
            )?,
            matches: by_rule("weir_rules_matches_total", "Readings or messages the rule fired on")?,
            errors: by_rule("weir_rules_errors_total", "Readings or messages the expression of the rule failed on")?,
            waits: single(
                "weir_rules_append_waits_total",
                "Appends of what fired that waited, because the streams were full",
            )?,
            seconds,
            fleet: Fleet::register(registry)?,
        })
    }
}

/// The counters of one rule, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct RuleCounters {
    pub(crate) evaluations: IntCounter,
    pub(crate) matches: IntCounter,
    pub(crate) errors: IntCounter,
}

impl RulesMetrics {
    /// The counters of `rule`, shown from zero on.
    pub(crate) fn of(&self, rule: &str) -> RuleCounters {
        RuleCounters {
            evaluations: self.evaluations.with_label_values(&[rule]),
            matches: self.matches.with_label_values(&[rule]),
            errors: self.errors.with_label_values(&[rule]),
        }
    }

    /// Shows `rule` no longer.
    pub(crate) fn remove(&self, rule: &str) {
        for counter in [&self.evaluations, &self.matches, &self.errors] {
            // The only error is that it was not shown.
            drop(counter.remove_label_values(&[rule]));
        }
    }
}
