//! Two rule sets over the same table: what one has and the other has not.

use std::collections::BTreeSet;

use processors::RuleSet;
use serde::Serialize;
use telemetry::Timestamp;

use super::tally::{Named, count};

/// Rules and firings that one of two has, or both. Firings are compared by rule, device and time: a raised version or
/// another cool-down gives other ids for the same events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) rules_only_first: Vec<String>,
    pub(super) rules_only_second: Vec<String>,
    pub(super) firings_only_first: u64,
    pub(super) firings_only_second: u64,
    pub(super) firings_common: u64,
    /// Of rules that both have.
    pub(super) by_rule: Vec<RuleDifference>,
}

/// The firings of a rule that both have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct RuleDifference {
    pub(super) rule: String,
    pub(super) only_first: u64,
    pub(super) only_second: u64,
    pub(super) common: u64,
}

/// What happened where: device and time.
type Events<'a> = BTreeSet<(&'a str, Timestamp)>;

/// Rules and their firings, of one side.
pub(super) type Side<'a> = (&'a RuleSet, &'a [Named<'a>]);

/// Compares two sides. Firings are events (device, time); all of them together count an event once, whichever rules
/// fired on it.
pub(super) fn difference(first: Side<'_>, second: Side<'_>) -> Difference {
    let (first_rules, second_rules) = (ids(first.0), ids(second.0));
    let only = |these: &[String], those: &[String]| these.iter().filter(|id| !those.contains(id)).cloned().collect();
    let (only_first, only_second, common) = compare(&events(first.1, None), &events(second.1, None));
    let both = first_rules.iter().enumerate();
    let both = both.filter_map(|(at, id)| Some((at, second_rules.iter().position(|other| other == id)?, id)));
    let by_rule = both.map(|(at, other, id)| {
        let (only_first, only_second, common) = compare(&events(first.1, Some(at)), &events(second.1, Some(other)));
        RuleDifference { rule: id.clone(), only_first, only_second, common }
    });
    Difference {
        rules_only_first: only(&first_rules, &second_rules),
        rules_only_second: only(&second_rules, &first_rules),
        firings_only_first: only_first,
        firings_only_second: only_second,
        firings_common: common,
        by_rule: by_rule.collect(),
    }
}

fn ids(rules: &RuleSet) -> Vec<String> {
    rules.rules().iter().map(|rule| rule.id().to_owned()).collect()
}

fn events<'a>(firings: &[Named<'a>], rule: Option<usize>) -> Events<'a> {
    let wanted = firings.iter().filter(|firing| rule.is_none_or(|rule| rule == firing.rule));
    wanted.map(|firing| (firing.device, firing.time)).collect()
}

fn compare(first: &Events<'_>, second: &Events<'_>) -> (u64, u64, u64) {
    let common = count(first.intersection(second).count());
    (count(first.len()) - common, count(second.len()) - common, common)
}
