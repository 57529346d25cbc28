//! Which faults come, and when: drawn from the seed for each connection, by the bytes that passed.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a network does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// RST to both, whatever was in the middle.
    Reset,
    /// FIN to the side where the fault strikes; what was to go there is lost, the other way stays open.
    HalfClose,
    /// Nothing passes any more, and nobody is told: a device must find out, and come back while the server
    /// still believes in the old connection.
    BlackHole,
    /// Nothing passes towards the device any more, what it sends does; then RST to both.
    LostAcks,
    /// One way is held for some time.
    Delay,
    /// One way passes a few bytes at a time for some time.
    Dribble,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Reset, Self::HalfClose, Self::BlackHole, Self::LostAcks, Self::Delay, Self::Dribble];

    /// Name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reset => "connection reset",
            Self::HalfClose => "connection half-closed",
            Self::BlackHole => "connection in a black hole",
            Self::LostAcks => "acknowledgements lost",
            Self::Delay => "connection delayed",
            Self::Dribble => "bytes dribbled",
        }
    }
}

/// Which faults come, and how often; none by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Drawn from evenly; one named twice comes twice as often.
    pub(crate) faults: Vec<Fault>,
    /// Mean number of bytes of a connection towards the server from one fault to the next; 0 for none.
    pub(crate) up_bytes: u64,
    /// The same towards the device, where a PUBACK has 4 bytes.
    pub(crate) down_bytes: u64,
    /// The longest that [`Fault::Delay`] holds, and that [`Fault::LostAcks`] takes until its RST.
    pub(crate) longest_delay: Duration,
}

impl Plan {
    /// No faults.
    pub(crate) fn none() -> Self {
        Self::default()
    }
}

/// The two ways through a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the device to the server.
    Up,
    /// From the server to the device.
    Down,
}

/// A fault to come: when so many bytes have passed since the connection opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strike {
    pub(super) at: u64,
    pub(super) fault: Fault,
}

/// Most bytes that [`Fault::Dribble`] spreads.
const LONGEST_DRIBBLE: usize = 400;

/// What one connection draws.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) plan: Arc<Plan>,
    random: ChaCha8Rng,
}

impl Dice {
    /// Those of connection `number`.
    pub(super) fn new(plan: Arc<Plan>, seed: u64, number: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number);
        Self { plan, random }
    }

    /// The next fault on the way `way`, where `passed` bytes have passed.
    pub(super) fn strike(&mut self, way: Way, passed: u64) -> Option<Strike> {
        let mean = match way {
            Way::Up => self.plan.up_bytes,
            Way::Down => self.plan.down_bytes,
        };
        if mean == 0 || self.plan.faults.is_empty() {
            return None;
        }
        let fault = self.plan.faults.get(self.random.random_range(0..self.plan.faults.len()))?;
        let at = passed.saturating_add(self.random.random_range(0..=mean.saturating_mul(2)));
        Some(Strike { at, fault: *fault })
    }

    /// How long something is held.
    pub(super) fn delay(&mut self) -> Duration {
        self.plan.longest_delay.mul_f64(self.random.random())
    }

    /// How many bytes are spread.
    pub(super) fn dribble(&mut self) -> usize {
        self.random.random_range(1..=LONGEST_DRIBBLE)
    }

    /// How many of them to write at once.
    pub(super) fn drop(&mut self) -> usize {
        self.random.random_range(1..=3)
    }
}
