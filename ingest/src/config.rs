//! What can be set at the door.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use telemetry::limits;

/// Settings of the door. Every queue and buffer of it is bounded by one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestConfig {
    /// Where MQTT clients connect. Default `127.0.0.1:1883`; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Threads that serve connections. Default 1: one thread serves far more than a disk commits, and on two
    /// cores a second one takes time from the commits. 1 to 64.
    pub workers: usize,
    /// Where in a topic the fields of a message stand. Default `{site}/{device_id}/telemetry`.
    pub topic_template: String,
    /// How far ahead of our clock a device's time may be. Default 24 hours; at most 10 years.
    pub future: Duration,
    /// Largest payload, in bytes; a larger one closes the connection. Default and upper bound
    /// [`limits::PAYLOAD_BYTES`].
    pub payload_bytes: usize,
    /// Messages of one connection that wait for their acknowledgement; at this number the connection is not
    /// read. MQTT 5 clients are told. Default 1024, at least 1.
    pub in_flight: u16,
    /// Payload bytes of one connection that wait for their acknowledgement; above it the connection is not
    /// read. Default 4 MiB, at least 1.
    pub in_flight_bytes: usize,
    /// Bytes, estimated, that wait for the next group commit; above it no connection is read. Up to two more
    /// groups of this size are being committed. Default 16 MiB; 64 KiB to 256 MiB.
    pub open_group_bytes: usize,
    /// Connections served at once; one more is refused as "server busy". Each may make us hold one payload
    /// that has not arrived whole. Default 10,000, at least 1.
    pub connections: usize,
    /// How long a new connection may take until its CONNECT has arrived. Default 10 s; 1 s to 10 minutes.
    pub connect_timeout: Duration,
    /// Keep-alive of clients that ask for none, so that half-open connections end; MQTT 5 clients are told.
    /// A connection silent for 1.5 times its keep-alive is closed. Default 5 minutes; 1 s to 12 hours.
    pub keep_alive: Duration,
    /// How long a stop waits until everything received is committed and acknowledged. Default 10 s; at most
    /// 10 minutes.
    pub drain: Duration,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)),
            workers: 1,
            topic_template: "{site}/{device_id}/telemetry".to_owned(),
            future: limits::FUTURE,
            payload_bytes: limits::PAYLOAD_BYTES,
            in_flight: 1024,
            in_flight_bytes: 4 * 1024 * 1024,
            open_group_bytes: 16 * 1024 * 1024,
            connections: 10_000,
            connect_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(300),
            drain: Duration::from_secs(10),
        }
    }
}

/// A setting is outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is out of bounds, expected {expected}")]
pub struct OutOfBounds {
    /// Name of the setting.
    pub field: &'static str,
    /// What it may be.
    pub expected: &'static str,
}

impl IngestConfig {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// Names the first setting outside its bounds.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        const MINUTES: u64 = 60;
        const HOURS: u64 = 60 * MINUTES;
        let seconds = |duration: Duration, from: u64, to: u64| {
            (Duration::from_secs(from)..=Duration::from_secs(to)).contains(&duration)
        };
        let rules = [
            ("workers", "1 to 64", (1..=64).contains(&self.workers)),
            ("future", "at most 10 years", seconds(self.future, 0, 3653 * 24 * HOURS)),
            ("payload_bytes", "1 byte to 1 MiB", (1..=limits::PAYLOAD_BYTES).contains(&self.payload_bytes)),
            ("in_flight", "at least 1", self.in_flight > 0),
            ("in_flight_bytes", "at least 1", self.in_flight_bytes > 0),
            ("open_group_bytes", "64 KiB to 256 MiB", (64 * 1024..=256 * 1024 * 1024).contains(&self.open_group_bytes)),
            ("connections", "at least 1", self.connections > 0),
            ("connect_timeout", "1 s to 10 minutes", seconds(self.connect_timeout, 1, 10 * MINUTES)),
            ("keep_alive", "1 s to 12 hours", seconds(self.keep_alive, 1, 12 * HOURS)),
            ("drain", "at most 10 minutes", seconds(self.drain, 0, 10 * MINUTES)),
        ];
        match rules.into_iter().find(|(_, _, kept)| !kept) {
            Some((field, expected, _)) => Err(OutOfBounds { field, expected }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_within_bounds_and_what_is_outside_is_named() {
        assert_eq!(IngestConfig::default().check(), Ok(()));
        let field = |change: fn(&mut IngestConfig)| {
            let mut config = IngestConfig::default();
            change(&mut config);
            config.check().unwrap_err().field
        };
        assert_eq!(field(|config| config.workers = 0), "workers");
        assert_eq!(field(|config| config.payload_bytes = limits::PAYLOAD_BYTES + 1), "payload_bytes");
        assert_eq!(field(|config| config.in_flight = 0), "in_flight");
        assert_eq!(field(|config| config.open_group_bytes = 1), "open_group_bytes");
        assert_eq!(field(|config| config.keep_alive = Duration::from_millis(1)), "keep_alive");
    }
}
