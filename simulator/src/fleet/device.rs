//! One simulated device: when it measures, and what it writes.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use telemetry::Timestamp;

use super::signals::{METRICS, Signals};
use crate::lines;
use crate::payload;
use crate::publisher::Source;
use crate::sent::{Origin, Reading};
use crate::surge::Surge;

/// When a device measures: every `interval`, first at `phase` after the start, more often in a surge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The start on the monotonic clock.
    pub(super) start: Duration,
    /// The same moment on the wall clock of the device.
    pub(super) start_time: Timestamp,
    pub(super) phase: Duration,
    pub(super) interval: Duration,
    pub(super) surge: Option<Surge>,
}

impl Schedule {
    /// How long after the start message `number`, from 0, is due.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 messages a device")]
    fn offset(&self, number: u64) -> Duration {
        // Multiplied, not added up: no error grows. An interval of decades saturates.
        let seconds = self.interval.as_secs_f64() * number as f64;
        let steady = self.phase.saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        self.surge.map_or(steady, |surge| surge.bend(steady))
    }
}

/// When a device restarts: every `every`, first at `phase` after that time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restarts {
    pub(super) every: Duration,
    /// Shorter than `every`.
    pub(super) phase: Duration,
}

impl Restarts {
    /// How many there were `after` the start.
    fn before(&self, after: Duration) -> i64 {
        let counted = after.saturating_sub(self.phase).as_micros() / self.every.as_micros().max(1);
        i64::try_from(counted).unwrap_or(i64::MAX)
    }
}

/// Who a simulated device is, and how it behaves.
#[derive(Clone, Debug)]
pub(super) struct Character {
    pub(super) name: Arc<str>,
    /// What the topic tells of its place; empty if nothing.
    pub(super) site: String,
    /// Restart counter at the start.
    pub(super) boot: i64,
    pub(super) restarts: Option<Restarts>,
    /// Speaks flat JSON, not SenML.
    pub(super) flat: bool,
}

#[derive(Debug)]
pub(super) struct Simulated {
    character: Character,
    origin: Origin,
    schedule: Schedule,
    made: u64,
    signals: Signals,
    metrics: [Metric; METRICS.len()],
}

/// Name and unit of a metric, as JSON and as CSV.
#[derive(Debug)]
struct Metric {
    json: (String, String),
    csv: (String, String),
}

impl Simulated {
    pub(super) fn new(character: Character, schedule: Schedule, random: ChaCha8Rng) -> Self {
        Self {
            origin: Origin::new(&character.name, &character.site),
            character,
            schedule,
            made: 0,
            signals: Signals::new(random),
            metrics: METRICS.map(|(metric, unit)| Metric {
                json: (payload::quoted(metric), payload::quoted(unit)),
                csv: (lines::field(metric), lines::field(unit)),
            }),
        }
    }

    fn write_payload(&self, seq: i64, time: Timestamp, values: [f64; METRICS.len()], payload: &mut String) {
        let (name, boot) = (&self.character.name, self.boot());
        if self.character.flat {
            let readings: Vec<(&str, f64)> = METRICS.iter().map(|(metric, _)| *metric).zip(values).collect();
            payload::flat(payload, name, time, boot, seq, &readings);
        } else {
            payload::senml_start(payload, name, Some(time), boot, seq);
            for (Metric { json: (metric, unit), .. }, value) in self.metrics.iter().zip(values) {
                payload::senml_reading(payload, metric, Some(unit), None, value);
            }
            payload::senml_end(payload);
        }
    }

    fn write_sent(&self, seq: i64, time: Timestamp, values: [f64; METRICS.len()], sent: &mut String) {
        for (Metric { csv: (metric, unit), .. }, value) in self.metrics.iter().zip(values) {
            // A flat object has no place for units.
            let unit = if self.character.flat { "" } else { unit };
            self.origin.line(sent, self.boot(), seq, Reading { metric, time, value, unit });
        }
    }
}

impl Source for Simulated {
    fn due(&self) -> Option<Duration> {
        Some(self.schedule.start.saturating_add(self.schedule.offset(self.made)))
    }

    fn boot(&self) -> i64 {
        let restarts = self.character.restarts.map_or(0, |restarts| restarts.before(self.schedule.offset(self.made)));
        self.character.boot.saturating_add(restarts)
    }

    fn write(&mut self, seq: i64, payload: &mut String, sent: Option<&mut String>) -> u32 {
        let time = self.schedule.start_time + self.schedule.offset(self.made);
        let values = self.signals.measure(time);
        self.write_payload(seq, time, values, payload);
        if let Some(sent) = sent {
            self.write_sent(seq, time, values, sent);
        }
        self.made += 1;
        u32::try_from(values.len()).unwrap_or(u32::MAX)
    }
}
