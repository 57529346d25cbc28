//! What a hook does with a request, and when: its mood changes with time, drawn from the seed.

use std::time::Duration;

/// What a hook does with a request that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mood {
    /// Does it, answers 204.
    Well,
    /// Answers 500, and does nothing.
    Fails,
    /// Answers 429 with `Retry-After: 1`, and does nothing.
    Busy,
    /// Never answers, does nothing, and keeps the connection.
    Hangs,
    /// RST, and nothing done.
    Resets,
    /// Does it, and takes some time to answer.
    Slow,
    /// Does it, and closes the connection without an answer.
    Mute,
}

impl Mood {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Well, Self::Fails, Self::Busy, Self::Hangs, Self::Resets, Self::Slow, Self::Mute];
    /// Those in which nothing is done.
    pub(crate) const DEAD: [Self; 3] = [Self::Fails, Self::Hangs, Self::Resets];

    /// Name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Well => "answered well",
            Self::Fails => "answered 500",
            Self::Busy => "answered 429 with Retry-After",
            Self::Hangs => "left without an answer",
            Self::Resets => "reset",
            Self::Slow => "answered slowly",
            Self::Mute => "done, and closed without an answer",
        }
    }

    /// Whether what the request asks is done.
    pub(crate) const fn does(self) -> bool {
        matches!(self, Self::Well | Self::Slow | Self::Mute)
    }
}

/// Which moods come; each lasts an episode.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Drawn from evenly; one named twice comes twice as often.
    moods: Vec<Mood>,
    episode: Duration,
}

impl Plan {
    /// One of `moods` after the other, for `episode` each.
    pub(crate) fn moody(moods: &[Mood], episode: Duration) -> Self {
        Self { moods: moods.to_vec(), episode }
    }

    /// Always the same.
    pub(crate) fn always(mood: Mood) -> Self {
        Self::moody(&[mood], Duration::MAX)
    }

    /// The mood at a time since the hook's start.
    pub(super) fn mood(&self, seed: u64, at: Duration) -> Mood {
        let episode = at.as_nanos().checked_div(self.episode.as_nanos()).unwrap_or(0);
        let drawn = mixed(seed.wrapping_add(u64::try_from(episode).unwrap_or(u64::MAX)));
        let count = self.moods.len().max(1) as u64;
        let place = usize::try_from(drawn % count).unwrap_or(0);
        self.moods.get(place).copied().unwrap_or(Mood::Well)
    }
}

/// The finaliser of SplitMix64: numbers beside each other give others that have nothing to do with each other.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
