//! What every scenario is given.

use std::path::PathBuf;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::binaries::Binaries;
use crate::judge::Judge;
use crate::tier::Tier;

/// What every scenario is given.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// What is attacked.
    pub(crate) binaries: Binaries,
    /// Who judges.
    pub(crate) judge: Judge,
    /// Where rounds keep their data.
    pub(crate) directory: PathBuf,
    /// All that is random follows from it.
    pub(crate) seed: u64,
    /// How much.
    pub(crate) tier: Tier,
    /// Multiplies the number of faults.
    pub(crate) scale: f64,
    /// Program of a Fluvio cluster, if there is one.
    pub(crate) fluvio_run: Option<PathBuf>,
}

impl Setting {
    /// How many faults a scenario makes in this tier.
    pub(crate) fn count(&self, quick: u32, hour: u32, long: u32) -> u32 {
        let count = match self.tier {
            Tier::Quick => quick,
            Tier::Hour => hour,
            Tier::Long => long,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of faults, saturating")]
        let scaled = (f64::from(count) * self.scale).round() as u32;
        scaled.max(1)
    }

    /// The random numbers of round `round` of a scenario.
    pub(crate) fn random(&self, scenario: &str, round: u32) -> ChaCha8Rng {
        // FNV-1a: rounds need different streams of numbers, not good hashes.
        let name = scenario
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ name);
        random.set_stream(u64::from(round));
        random
    }
}
