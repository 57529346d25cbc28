//! What a run of the load generator found.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lane::Outcome;

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Messages acknowledged while it was measured: after the warm-up, before the end.
    pub messages: u64,
    /// Readings in them.
    pub readings: u64,
    /// From the end of the warm-up to the last PUBACK that was measured.
    pub seconds: f64,
    /// Messages a second.
    pub messages_per_second: f64,
    /// Readings a second.
    pub readings_per_second: f64,
    /// From the time a message was due (open loop), or was handed to the connection (closed loop), to its PUBACK.
    pub latency: Latency,
    /// From the time a message was due to its being handed to the connection: the generator's own part in the
    /// latency, which includes the waiting for room in flight. Zero in a closed loop.
    pub send_delay: Latency,
    /// Messages published in all, the warm-up's and the last ones included.
    pub published_messages: u64,
    /// Messages acknowledged in all.
    pub acknowledged_messages: u64,
    /// Readings acknowledged in all: these must be in the table.
    pub acknowledged_readings: u64,
    /// Messages published whose PUBACK never came.
    pub unacknowledged: u64,
}

/// Exact percentiles of a duration, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half are at most this.
    pub p50_micros: u32,
    /// 99 of 100 are at most this.
    pub p99_micros: u32,
    /// The longest.
    pub max_micros: u32,
    /// How many were measured.
    pub samples: u64,
}

/// Adds up the outcomes of all connections.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^53 messages")]
pub(super) fn report(outcomes: Vec<Outcome>, warm_at: Duration, readings_per_message: usize) -> LoadReport {
    let (mut published, mut acknowledged, mut messages) = (0, 0, 0);
    let mut last = warm_at;
    let (mut latencies, mut delays) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        published += outcome.published;
        acknowledged += outcome.acknowledged;
        messages += outcome.measured;
        last = last.max(outcome.last.unwrap_or(last));
        latencies.extend(outcome.latencies);
        delays.extend(outcome.delays);
    }
    let seconds = (last - warm_at).as_secs_f64();
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let readings = readings_per_message as u64;
    LoadReport {
        messages,
        readings: messages * readings,
        seconds,
        messages_per_second: per_second(messages),
        readings_per_second: per_second(messages * readings),
        latency: Latency::of(latencies),
        send_delay: Latency::of(delays),
        published_messages: published,
        acknowledged_messages: acknowledged,
        acknowledged_readings: acknowledged * readings,
        unacknowledged: published - acknowledged,
    }
}

impl Latency {
    /// Of `samples`, in microseconds, in any order; zeros if there are none.
    fn of(mut samples: Vec<u32>) -> Self {
        samples.sort_unstable();
        // Nearest rank: the smallest sample that is not below the given part of all.
        let rank = |percent: usize| samples.get((samples.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self {
            p50_micros: rank(50).unwrap_or(0),
            p99_micros: rank(99).unwrap_or(0),
            max_micros: rank(100).unwrap_or(0),
            samples: samples.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of_hundred = Latency::of((1..=100).rev().collect());
        assert_eq!(of_hundred, Latency { p50_micros: 50, p99_micros: 99, max_micros: 100, samples: 100 });
        assert_eq!(Latency::of(vec![7]), Latency { p50_micros: 7, p99_micros: 7, max_micros: 7, samples: 1 });
        assert_eq!(Latency::of(vec![]), Latency::default());
    }
}
