//! The values of one pair in one minute of received time.

use telemetry::Timestamp;

const MINUTE_MICROS: i64 = 60_000_000;

/// Number of a minute since 1970.
pub(super) fn of(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(MINUTE_MICROS)
}

/// The numbers of one minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minute {
    number: i64,
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
}

/// The minute that goes on and the one before it, whichever is which: rows of several partitions come in turns, so the
/// last minute still grows when the next has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minutes([Minute; 2]);

/// What a minute had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Values {
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) max: f64,
}

impl Minute {
    const fn empty(number: i64) -> Self {
        Self { number, count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl Default for Minutes {
    fn default() -> Self {
        Self([Minute::empty(i64::MIN); 2])
    }
}

impl Minutes {
    /// Adds a value of minute `number` while the clock is in minute `now`. What is older than the two minutes that are
    /// kept is left out; what the clock has not reached, because it was set back, gives way.
    pub(super) fn add(&mut self, number: i64, now: i64, value: f64) {
        let [even, odd] = &mut self.0;
        let minute = if number & 1 == 0 { even } else { odd };
        if minute.number != number {
            if minute.number > number && minute.number <= now {
                return;
            }
            *minute = Minute::empty(number);
        }
        minute.count += 1;
        minute.min = minute.min.min(value);
        minute.max = minute.max.max(value);
        minute.sum += value;
    }

    /// What minute `number` had; `None` if no number is known of it.
    pub(super) fn values(&self, number: i64) -> Option<Values> {
        let minute = self.0.iter().find(|minute| minute.number == number && minute.count > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "the readings of a minute are far below 2^53")]
        let mean = minute.sum / minute.count as f64;
        Some(Values { min: minute.min, mean, max: minute.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_minutes_are_kept_and_a_clock_set_back_is_followed() {
        let mut minutes = Minutes::default();
        for (number, value) in [(10, 1.0), (11, 5.0), (10, 3.0)] {
            minutes.add(number, 11, value);
        }
        assert_eq!(minutes.values(10), Some(Values { min: 1.0, mean: 2.0, max: 3.0 }));
        assert_eq!(minutes.values(11), Some(Values { min: 5.0, mean: 5.0, max: 5.0 }));
        minutes.add(12, 12, 7.0);
        assert_eq!(minutes.values(10), None);
        minutes.add(10, 12, 9.0);
        assert_eq!(minutes.values(10), None, "too late");
        minutes.add(4, 4, 2.0);
        assert_eq!(minutes.values(4), Some(Values { min: 2.0, mean: 2.0, max: 2.0 }), "the clock was set back");
        assert_eq!(minutes.values(3), None);
    }
}
