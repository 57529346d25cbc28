//! One simulated device: when it measures, and what it writes.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use telemetry::Timestamp;

use super::signals::{METRICS, Signals};
use crate::payload;
use crate::publisher::{Device, Source};

/// When a device measures: every `interval`, first at `phase` after the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The start on the monotonic clock.
    pub(super) start: Duration,
    /// The same moment on the wall clock.
    pub(super) start_time: Timestamp,
    pub(super) phase: Duration,
    pub(super) interval: Duration,
}

impl Schedule {
    /// How long after the start message `number`, from 0, is due.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 messages a device")]
    fn offset(&self, number: u64) -> Duration {
        // Multiplied, not added up: no error grows. An interval of decades saturates.
        let seconds = self.interval.as_secs_f64() * number as f64;
        self.phase.saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

#[derive(Debug)]
pub(super) struct Simulated {
    name: Arc<str>,
    boot: i64,
    schedule: Schedule,
    made: u64,
    flat: bool,
    signals: Signals,
    /// Metrics and units as JSON.
    quoted: [(String, String); METRICS.len()],
}

impl Simulated {
    pub(super) fn new(device: &Device, schedule: Schedule, flat: bool, random: ChaCha8Rng) -> Self {
        Self {
            name: Arc::clone(&device.name),
            boot: device.boot,
            schedule,
            made: 0,
            flat,
            signals: Signals::new(random),
            quoted: METRICS.map(|(metric, unit)| (payload::quoted(metric), payload::quoted(unit))),
        }
    }
}

impl Source for Simulated {
    fn due(&self) -> Option<Duration> {
        Some(self.schedule.start.saturating_add(self.schedule.offset(self.made)))
    }

    fn write(&mut self, seq: i64, payload: &mut String) -> u32 {
        let time = self.schedule.start_time + self.schedule.offset(self.made);
        self.made += 1;
        let values = self.signals.measure(time);
        if self.flat {
            let readings: Vec<(&str, f64)> = METRICS.iter().map(|(metric, _)| *metric).zip(values).collect();
            payload::flat(payload, &self.name, time, self.boot, seq, &readings);
        } else {
            payload::senml_start(payload, &self.name, Some(time), self.boot, seq);
            for ((metric, unit), value) in self.quoted.iter().zip(values) {
                payload::senml_reading(payload, metric, Some(unit), None, value);
            }
            payload::senml_end(payload);
        }
        u32::try_from(values.len()).unwrap_or(u32::MAX)
    }
}
