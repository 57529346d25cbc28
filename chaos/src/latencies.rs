//! How long many things took, counted in buckets: percentiles to one hundredth, in a size that does not grow.

/// From one bucket to the next.
const STEP: f64 = 1.02;
/// Up to a quarter of an hour; what took longer is in the last one.
const BUCKETS: usize = 1_050;

/// How long things took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latencies {
    /// In bucket n those from `STEP`^n microseconds on. Empty as long as there are none.
    counts: Vec<u64>,
}

impl Latencies {
    /// One more took so many microseconds.
    pub(crate) fn note(&mut self, micros: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the number of a bucket"
        )]
        let bucket = ((micros.max(1) as f64).ln() / STEP.ln()) as usize;
        if let Some(count) = self.counts.get_mut(bucket.min(BUCKETS - 1)) {
            *count += 1;
        }
    }

    /// Those that came after `earlier` was told.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        Self { counts: self.counts.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What a share of them did not exceed, in milliseconds; `None` if there are none.
    pub(crate) fn milliseconds(&self, share: f64) -> Option<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let rank = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut passed = 0;
        let bucket = self.counts.iter().position(|count| {
            passed += count;
            passed >= rank
        })?;
        // The middle of the bucket.
        Some(STEP.powf(u32::try_from(bucket).map_or(f64::NAN, f64::from) + 0.5) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        values.into_iter().for_each(|micros| latencies.note(micros));
        latencies
    }

    #[test]
    fn percentiles_are_right_to_one_hundredth() {
        let latencies = of((1..=10_000).map(|number| number * 10));
        assert_eq!(latencies.count(), 10_000);
        for (share, expected) in [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = latencies.milliseconds(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.011, "{share}: {found}");
        }
    }

    #[test]
    fn of_a_phase_only_those_of_the_phase_count() {
        let before = of([1_000; 99]);
        let mut after = before.clone();
        (0..50).for_each(|_| after.note(20_000));
        let phase = after.since(&before);
        assert_eq!(phase.count(), 50);
        assert!((phase.milliseconds(0.01).unwrap() / 20.0 - 1.0).abs() < 0.011);
        assert_eq!(after.since(&Latencies::default()), after);
    }

    #[test]
    fn nothing_has_no_percentiles_and_what_is_endless_is_in_the_last_bucket() {
        assert_eq!(Latencies::default().milliseconds(0.5), None);
        assert_eq!(of([1]).since(&of([1])).milliseconds(0.5), None);
        assert!(of([0]).milliseconds(0.5).unwrap() < 0.002);
        assert!(of([u64::MAX]).milliseconds(1.0).unwrap() > 900_000.0);
    }
}
