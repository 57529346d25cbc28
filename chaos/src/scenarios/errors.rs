//! System calls fail, one by one: an error at the n-th call, a full disk, a slow disk, death before a call.

mod birth;
mod full;
mod life;
mod slow;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::outcome::Outcome;
use crate::setting::Setting;
use crate::strace::{self, Effect, Injection, Site};

const NAME: &str = "errors";

/// Runs it: what needs strace, then what needs disks of our own.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    match strace::available() {
        Ok(()) => {
            outcome.merge(birth::run(setting)?);
            merge(&mut outcome, life::run(setting)?);
            outcome.merge(slow::run(setting)?);
        }
        Err(why) => outcome.merge(Outcome::not_run(format!("failing, slow and deadly system calls: {why}"))),
    }
    outcome.merge(full::run(setting)?);
    Ok(outcome)
}

/// One fault of one call.
#[derive(Clone, Debug)]
struct Fault {
    name: String,
    injection: Injection,
}

/// Every fault of every call of `sites`, in an order that the seed says.
fn faults(sites: &[Site], effects: &[Effect], random: &mut ChaCha8Rng) -> Vec<Fault> {
    let mut faults = Vec::new();
    for site in sites {
        for nth in 1..=site.most {
            faults.extend(effects.iter().map(|effect| fault(site, nth, *effect)));
        }
    }
    faults.shuffle(random);
    faults
}

fn fault(site: &Site, nth: u32, effect: Effect) -> Fault {
    let call = site.call.names().first().copied().unwrap_or_default();
    let paths = site.paths.iter().cloned().collect();
    Fault {
        name: format!("{} at {call} {nth} of {}", effect.name(), site.place),
        injection: Injection { calls: vec![site.call], effect, nth: Some(nth), paths },
    }
}

/// Kind of a fault in the report.
fn kind(injection: &Injection) -> String {
    let names = injection.calls.iter().filter_map(|call| call.names().first().copied());
    format!("{} at the n-th {}", injection.effect.name(), names.collect::<Vec<_>>().join(" or "))
}

/// Calls that a recorded life made, and the life that was to be hurt did not.
const MISSED: &str = "system_calls_not_reached_again";

fn missed(outcome: &mut Outcome) {
    *outcome.figures.entry(MISSED.to_owned()).or_default() += 1.0;
}

/// Takes in another round; what both missed adds up.
fn merge(outcome: &mut Outcome, mut more: Outcome) {
    let before = outcome.figures.get(MISSED).copied().unwrap_or(0.0);
    if before > 0.0 {
        *more.figures.entry(MISSED.to_owned()).or_default() += before;
    }
    outcome.merge(more);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;
    use crate::strace::Call;

    #[test]
    fn what_was_missed_adds_up() {
        let (mut outcome, mut more) = (Outcome::default(), Outcome::default());
        missed(&mut outcome);
        missed(&mut more);
        missed(&mut more);
        merge(&mut outcome, more);
        merge(&mut outcome, Outcome::default());
        assert_eq!(outcome.figures.get(MISSED), Some(&3.0));
    }

    #[test]
    fn every_call_fails_in_every_way() {
        let site = |call, most| Site { call, place: "log/N.log".to_owned(), paths: BTreeSet::new(), calls: most, most };
        let sites = [site(Call::Fsync, 3), site(Call::Rename, 1)];
        let draw = |seed| faults(&sites, &[Effect::Eio, Effect::Kill], &mut ChaCha8Rng::seed_from_u64(seed));
        let names: BTreeSet<String> = draw(1).into_iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), 8);
        assert!(names.contains("EIO at fsync 3 of log/N.log") && names.contains("kill at rename 1 of log/N.log"));
        let order = |seed| draw(seed).into_iter().map(|fault| fault.name).collect::<Vec<_>>();
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
