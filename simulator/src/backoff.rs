//! How long a device waits before it tries to connect again.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Doubles from 50 ms to 2 s; of that, a random part between a half and the whole, so that a fleet does not
/// come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    random: ChaCha8Rng,
}

impl Backoff {
    pub(crate) fn new(random: ChaCha8Rng) -> Self {
        Self { next: FIRST, random }
    }

    /// How long to wait now.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(self.random.random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        pause
    }

    /// The connection proved good.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_by_seed_and_start_again_after_success() {
        let mut backoff = Backoff::new(ChaCha8Rng::seed_from_u64(7));
        let mut again = Backoff::new(ChaCha8Rng::seed_from_u64(7));
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
        assert_eq!(pauses, (0..10).map(|_| again.pause()).collect::<Vec<_>>());
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[9] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
