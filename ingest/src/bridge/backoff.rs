//! How long to wait before the next connection.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Doublings that are looked at: past them any first wait of a millisecond is beyond any cap.
const DOUBLINGS: u32 = 30;

/// The wait before attempt `attempt`, from 0: doubled from `first` up to `longest`, and of that a part between a half
/// and the whole, by a hash of `key` and `attempt`, so that many bridges do not come back all at once.
pub(super) fn pause(key: &str, attempt: u32, first: Duration, longest: Duration) -> Duration {
    let whole = first.saturating_mul(1 << attempt.min(DOUBLINGS)).min(longest);
    let mut hasher = DefaultHasher::new();
    (key, attempt).hash(&mut hasher);
    let part = f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    whole.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn pauses_double_to_the_cap_and_differ_by_key() {
        for attempt in 0..100 {
            let whole = FIRST.saturating_mul(1 << attempt.min(20)).min(LONGEST);
            let pause = pause("weir", attempt, FIRST, LONGEST);
            assert!(pause >= whole / 2 && pause <= whole, "{attempt}: {pause:?}");
        }
        assert_eq!(pause("weir", 3, FIRST, LONGEST), pause("weir", 3, FIRST, LONGEST));
        assert_ne!(pause("weir-0", 3, FIRST, LONGEST), pause("weir-1", 3, FIRST, LONGEST));
    }
}
