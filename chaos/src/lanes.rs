//! Rounds beside each other: a round waits for its processes, and for moments of its own, most of the time.

use std::thread;

use anyhow::bail;

use crate::outcome::Outcome;

/// Rounds at once.
const LANES: u32 = 2;

/// Splits `faults` into rounds of `per_round`, or of fewer so that every lane has one, plays each with its number and its faults, and sums them up.
///
/// # Errors
/// If a round cannot begin.
pub(crate) fn play(
    faults: u32,
    per_round: u32,
    round: impl Fn(u32, u32) -> anyhow::Result<Outcome> + Sync,
) -> anyhow::Result<Outcome> {
    let per_round = per_round.min(faults.div_ceil(LANES));
    let rounds = faults.div_ceil(per_round);
    let count = |number: u32| per_round.min(faults - number * per_round);
    // A lane takes every n-th round, so that the numbers do not depend on who is faster.
    let lane = |first: u32| {
        let mut outcome = Outcome::default();
        for number in (first..rounds).filter(|number| number % LANES == first) {
            outcome.merge(round(number, count(number))?);
        }
        anyhow::Ok(outcome)
    };
    thread::scope(|scope| {
        let lane = &lane;
        let lanes: Vec<_> = (0..LANES).map(|first| scope.spawn(move || lane(first))).collect();
        let mut outcome = Outcome::default();
        for lane in lanes {
            outcome.merge(lane.join().unwrap_or_else(|_| bail!("a lane panicked"))?);
        }
        Ok(outcome)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_in_one_round() {
        for (faults, expected) in [(25, &[("0", 10), ("1", 10), ("2", 5)][..]), (5, &[("0", 3), ("1", 2)])] {
            let outcome = play(faults, 10, |number, faults| {
                let mut outcome = Outcome::default();
                (0..faults).for_each(|_| outcome.fault(&number.to_string()));
                Ok(outcome)
            });
            let found = outcome.unwrap().faults;
            let found: Vec<(&str, u64)> = found.iter().map(|(number, faults)| (number.as_str(), *faults)).collect();
            assert_eq!(found, expected);
        }
    }
}
