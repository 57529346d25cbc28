//! Numbers drawn from a seed, by splitmix64: the same seed gives the same run on every machine.

/// Draws numbers.
#[derive(Clone, Debug)]
pub(in crate::log) struct Draw(u64);

impl Draw {
    pub(in crate::log) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::log) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; zero for a bound of zero.
    pub(in crate::log) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// In `from..=to`.
    pub(in crate::log) fn size(&mut self, from: usize, to: usize) -> usize {
        let span = u64::try_from(to.saturating_sub(from)).unwrap_or(u64::MAX).saturating_add(1);
        from + usize::try_from(self.below(span)).unwrap_or(0)
    }

    /// True once in `n` times.
    pub(in crate::log) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(in crate::log) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
