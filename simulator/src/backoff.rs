//! How long a device waits before it tries to connect again.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

const FIRST: Duration = Duration::from_millis(50);
/// The longest wait if nobody says otherwise: kind to a server that has just come back.
pub(crate) const USUAL_LONGEST: Duration = Duration::from_secs(2);

/// Doubles from 50 ms to a cap; of that, a random part between a half and the whole, so that a fleet does not
/// come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
    random: ChaCha8Rng,
}

impl Backoff {
    /// No wait is longer than `longest`.
    pub(crate) fn new(longest: Duration, random: ChaCha8Rng) -> Self {
        Self { next: FIRST.min(longest), longest, random }
    }

    /// How long to wait now.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(self.random.random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    /// The connection proved good.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_by_seed_and_start_again_after_success() {
        let mut backoff = Backoff::new(USUAL_LONGEST, ChaCha8Rng::seed_from_u64(7));
        let mut again = Backoff::new(USUAL_LONGEST, ChaCha8Rng::seed_from_u64(7));
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
        assert_eq!(pauses, (0..10).map(|_| again.pause()).collect::<Vec<_>>());
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= USUAL_LONGEST));
        assert!(pauses[9] >= USUAL_LONGEST / 2);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn no_pause_is_longer_than_the_cap_even_the_first() {
        for cap in [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(120)] {
            let mut backoff = Backoff::new(cap, ChaCha8Rng::seed_from_u64(7));
            for _ in 0..10 {
                assert!(backoff.pause() <= cap.min(FIRST));
                backoff.reset();
            }
            assert!((0..10).all(|_| backoff.pause() <= cap));
        }
    }
}
