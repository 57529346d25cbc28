//! How many devices are heard of, and how many no more.
//!
//! A device is a hash of its name and the second it was last heard of. When [`MOST`] are known, half of them, chosen by
//! their hashes, are forgotten and each of the others counts for two, and so on: beyond that the counts are estimates
//! from a sample of at least half of [`MOST`], within 1 % or so.

use std::collections::HashMap;
use std::time::Duration;

use telemetry::Timestamp;
use twox_hash::XxHash64;

/// Devices known one by one: what a hash map of 2^18 places holds. Those forgotten leave holes in it, for which it grows
/// once: 2^19 places of 17 bytes, 8.5 MiB, are the most it takes.
pub(super) const MOST: usize = 229_376;
/// A device that was not heard of for so long is silent.
pub(super) const SILENT: Duration = Duration::from_secs(5 * 60);
/// A device that was silent for so long is no longer counted: it has left the fleet, or was never there.
pub(super) const GONE: Duration = Duration::from_secs(24 * 60 * 60);
/// Counted so often at most: that looks at each device.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// The devices that are known.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// Second since 1970 when it was last heard of, by hash.
    seen: HashMap<u64, u32>,
    /// Only devices whose hash ends in so many zero bits are known, each for 2^`halvings`.
    halvings: u32,
    counted: Option<(Timestamp, Count)>,
}

/// How many devices there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) active: u64,
    pub(super) silent: u64,
}

impl Devices {
    /// `device` was heard of at `time`.
    pub(super) fn see(&mut self, device: &str, time: Timestamp) {
        let hash = XxHash64::oneshot(0, device.as_bytes());
        let second = second(time);
        if let Some(last) = self.seen.get_mut(&hash) {
            *last = second.max(*last);
            return;
        }
        while self.is_known(hash) && self.seen.len() >= MOST {
            self.halvings += 1;
            let halvings = self.halvings;
            self.seen.retain(|hash, _| ends_in_zeros(*hash, halvings));
        }
        if self.is_known(hash) {
            self.seen.insert(hash, second);
        }
    }

    /// How many there are at `now`; a count is up to 2 s old.
    pub(super) fn count(&mut self, now: Timestamp) -> Count {
        if let Some((at, count)) = self.counted
            && at <= now
            && now.since(at) < COUNT_EVERY
        {
            return count;
        }
        let mut count = Count::default();
        let weight = 1_u64.checked_shl(self.halvings).unwrap_or(u64::MAX);
        self.seen.retain(|_, last| {
            let age = Duration::from_secs(u64::from(second(now).saturating_sub(*last)));
            match age {
                age if age >= GONE => return false,
                age if age >= SILENT => count.silent = count.silent.saturating_add(weight),
                _ => count.active = count.active.saturating_add(weight),
            }
            true
        });
        self.counted = Some((now, count));
        count
    }

    fn is_known(&self, hash: u64) -> bool {
        ends_in_zeros(hash, self.halvings)
    }
}

fn ends_in_zeros(hash: u64, bits: u32) -> bool {
    hash.trailing_zeros() >= bits
}

fn second(time: Timestamp) -> u32 {
    u32::try_from(time.as_micros().div_euclid(1_000_000).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_767_268_800_000_000);

    #[test]
    fn devices_fall_silent_and_leave() {
        let mut devices = Devices::default();
        devices.see("a", NOON);
        devices.see("b", NOON + Duration::from_secs(60));
        devices.see("a", NOON);
        assert_eq!(devices.count(NOON + Duration::from_secs(60)), Count { active: 2, silent: 0 });
        assert_eq!(devices.count(NOON + SILENT), Count { active: 1, silent: 1 });
        devices.see("a", NOON + SILENT);
        assert_eq!(devices.count(NOON + SILENT + COUNT_EVERY), Count { active: 2, silent: 0 });
        assert_eq!(devices.count(NOON + GONE + Duration::from_secs(60)), Count { active: 0, silent: 1 });
        assert_eq!(devices.count(NOON + GONE + SILENT), Count::default());
        assert!(devices.seen.is_empty());
    }

    #[test]
    fn more_than_are_known_are_estimated_and_take_no_more_memory() {
        let mut devices = Devices::default();
        for device in 0..100_000 {
            devices.see(&format!("device-{device}"), NOON);
        }
        assert_eq!(devices.count(NOON), Count { active: 100_000, silent: 0 });
        for device in 100_000..1_000_000 {
            devices.see(&format!("device-{device}"), NOON);
        }
        let Count { active, silent } = devices.count(NOON + COUNT_EVERY);
        assert!((990_000..=1_010_000).contains(&active) && silent == 0, "{active}");
        assert!(devices.seen.len() <= MOST && devices.seen.capacity() <= 2 * MOST, "{}", devices.seen.capacity());
    }
}
