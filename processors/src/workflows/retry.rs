//! When a failed step is tried again.

use std::time::Duration;

use twox_hash::XxHash64;

use crate::plan::Retry;

/// The pause after attempt number `attempt` (from 1) of the step with key `key`: from half to the whole of
/// `initial` x 2^(attempt - 1), at most `cap`. Where in it, a hash of key and attempt says: steps that failed
/// together do not come back together, and a replay waits as long.
pub(super) fn pause(retry: &Retry, key: &str, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(63);
    let factor = 1_u64 << doublings;
    let initial = u64::try_from(retry.initial.as_micros()).unwrap_or(u64::MAX);
    let cap = u64::try_from(retry.cap.as_micros()).unwrap_or(u64::MAX);
    let whole = initial.saturating_mul(factor).min(cap);
    let half = whole / 2;
    let draw = XxHash64::oneshot(u64::from(attempt), key.as_bytes());
    Duration::from_micros(half + draw % (whole - half + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_is_within_its_bounds(initial in 1_u64..3_600_000, more in 0_u64..86_400_000, attempt in 1_u32..200) {
            let retry = Retry {
                attempts: 100,
                initial: Duration::from_millis(initial),
                cap: Duration::from_millis(initial + more),
            };
            let whole = (u128::from(initial) << (attempt - 1).min(64)).min(u128::from(initial + more));
            let pause = pause(&retry, "a-0", attempt).as_micros();
            prop_assert!(pause <= whole * 1000 && pause >= whole * 500, "{pause} of {whole} ms");
        }
    }

    #[test]
    fn steps_that_failed_together_come_back_apart_and_a_replay_alike() {
        let pauses = |attempt| (0..100).map(move |n| pause(&Retry::default(), &format!("{n}-0"), attempt));
        let distinct: std::collections::BTreeSet<Duration> = pauses(1).collect();
        assert!(distinct.len() > 90, "{}", distinct.len());
        assert!(pauses(3).eq(pauses(3)));
    }
}
