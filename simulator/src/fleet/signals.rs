//! What a simulated device measures: smooth signals by seed, with rare excursions for rules to find.

use std::f64::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use telemetry::Timestamp;

/// Names and SenML units of the readings of a message, in their order.
pub const METRICS: [(&str, &str); 5] =
    [("temperature", "Cel"), ("humidity", "%RH"), ("pressure", "hPa"), ("vibration", "m/s2"), ("battery", "%")];

/// One message in this many begins an overheating.
const OVERHEATING_ONE_IN: u32 = 2_000;
/// One message in this many is a shock.
const SHOCK_ONE_IN: u32 = 5_000;
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// The state of the signals of one device. Each call of [`Signals::measure`] goes one message on.
#[derive(Debug)]
pub(crate) struct Signals {
    random: ChaCha8Rng,
    mean_temperature: f64,
    daily_swing: f64,
    temperature: Noise,
    humidity: Noise,
    pressure: Noise,
    vibration: Noise,
    running_level: f64,
    battery: f64,
    charging: bool,
    /// Messages until the overheating ends.
    overheating: u32,
}

impl Signals {
    pub(crate) fn new(mut random: ChaCha8Rng) -> Self {
        Self {
            mean_temperature: random.random_range(20.0..24.0),
            daily_swing: random.random_range(2.0..4.0),
            running_level: random.random_range(0.8..2.0),
            battery: random.random_range(20.0..100.0),
            charging: false,
            temperature: Noise::new(0.9, 0.3),
            humidity: Noise::new(0.95, 0.4),
            pressure: Noise::new(0.99, 0.05),
            vibration: Noise::new(0.7, 0.5),
            overheating: 0,
            random,
        }
    }

    /// The readings at `time`, in the order of [`METRICS`].
    pub(crate) fn measure(&mut self, time: Timestamp) -> [f64; 5] {
        let day = daily(time);
        let temperature = self.temperature(day);
        let humidity = (50.0 - 8.0 * day + self.humidity.next(&mut self.random)).clamp(0.0, 100.0);
        let pressure = 1013.0 + 1.5 * day + self.pressure.next(&mut self.random);
        let vibration = self.vibration();
        let battery = self.battery();
        [round(temperature, 100.0), round(humidity, 10.0), round(pressure, 10.0), round(vibration, 1000.0), battery]
    }

    /// Ordinarily 15 to 30, above 80 while it overheats.
    fn temperature(&mut self, day: f64) -> f64 {
        let noise = self.temperature.next(&mut self.random);
        if self.overheating == 0 && self.random.random_ratio(1, OVERHEATING_ONE_IN) {
            self.overheating = self.random.random_range(1..=5);
        }
        if self.overheating > 0 {
            self.overheating -= 1;
            return self.random.random_range(81.0..95.0);
        }
        (self.mean_temperature + self.daily_swing * day + noise).clamp(15.0, 30.0)
    }

    /// Ordinarily 0 to 5, above 12 in a shock.
    fn vibration(&mut self) -> f64 {
        let noise = self.vibration.next(&mut self.random);
        if self.random.random_ratio(1, SHOCK_ONE_IN) {
            return self.random.random_range(12.5..20.0);
        }
        (self.running_level + noise).clamp(0.0, 5.0)
    }

    /// Drains from message to message; charged from 20 up to 95.
    fn battery(&mut self) -> f64 {
        self.battery += if self.charging { 0.25 } else { -0.02 };
        if self.battery <= 20.0 {
            self.charging = true;
        } else if self.battery >= 95.0 {
            self.charging = false;
        }
        self.battery = self.battery.clamp(0.0, 100.0);
        round(self.battery, 100.0)
    }
}

/// Noise that remembers: each value is the one before, damped, plus a step.
#[derive(Debug)]
struct Noise {
    value: f64,
    damping: f64,
    step: f64,
}

impl Noise {
    fn new(damping: f64, step: f64) -> Self {
        Self { value: 0.0, damping, step }
    }

    fn next(&mut self, random: &mut ChaCha8Rng) -> f64 {
        self.value = self.damping * self.value + random.random_range(-self.step..=self.step);
        self.value
    }
}

/// The sine of the day: -1 at 3 in the morning, 1 at 3 in the afternoon, UTC.
#[expect(clippy::cast_precision_loss, reason = "microseconds of one day are exact in a double")]
fn daily(time: Timestamp) -> f64 {
    let of_day = time.as_micros().rem_euclid(DAY_MICROS) as f64 / DAY_MICROS as f64;
    (TAU * (of_day - 9.0 / 24.0)).sin()
}

/// Sensors have few digits: `value` to one part in `parts`.
fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;

    use super::*;

    const MIDNIGHT: Timestamp = Timestamp::from_micros(1_790_000_000_000_000 / DAY_MICROS * DAY_MICROS);

    fn messages(seed: u64, count: u32) -> Vec<[f64; 5]> {
        let mut signals = Signals::new(ChaCha8Rng::seed_from_u64(seed));
        (0..count).map(|n| signals.measure(MIDNIGHT + Duration::from_secs(u64::from(n) * 10))).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_signals() {
        assert_eq!(messages(1, 1000), messages(1, 1000));
        assert_ne!(messages(1, 1000), messages(2, 1000));
    }

    #[test]
    fn signals_keep_to_their_ranges_and_leave_them_rarely() {
        let all: Vec<[f64; 5]> = (0..20).flat_map(|seed| messages(seed, 8640)).collect();
        let hot = all.iter().filter(|message| message[0] > 80.0).count();
        let shocks = all.iter().filter(|message| message[3] > 12.0).count();
        for message in &all {
            let [temperature, humidity, pressure, vibration, battery] = *message;
            assert!((15.0..=30.0).contains(&temperature) || (81.0..=95.0).contains(&temperature), "{temperature}");
            assert!((0.0..=100.0).contains(&humidity), "{humidity}");
            assert!((990.0..=1030.0).contains(&pressure), "{pressure}");
            assert!((0.0..=5.0).contains(&vibration) || (12.5..=20.0).contains(&vibration), "{vibration}");
            assert!((15.0..=100.0).contains(&battery), "{battery}");
        }
        assert!(hot > 0 && hot < all.len() / 200, "{hot} of {}", all.len());
        assert!(shocks > 0 && shocks < all.len() / 1000, "{shocks} of {}", all.len());
    }

    #[test]
    fn afternoons_are_warmer_than_nights() {
        let at = |hour: u64| daily(MIDNIGHT + Duration::from_secs(hour * 3600));
        assert!((at(15) - 1.0).abs() < 1e-9 && (at(3) + 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_battery_is_drained_and_charged() {
        let levels: Vec<f64> = messages(3, 8640).iter().map(|message| message[4]).collect();
        let falls = levels.windows(2).filter(|pair| pair[1] < pair[0]).count();
        let rises = levels.windows(2).filter(|pair| pair[1] > pair[0]).count();
        assert!(falls > rises && rises > 0);
    }
}
