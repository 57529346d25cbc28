//! Every limit on what a device may send, each with its reason. What a limit refuses goes whole to the
//! dead-letter stream.

use std::time::Duration;

/// Longest device id, in bytes: MQTT client ids and SenML names stay far below it.
pub const DEVICE_ID_BYTES: usize = 256;
/// Longest metric name, in bytes: it becomes a dictionary entry of every file it occurs in.
pub const METRIC_BYTES: usize = 256;
/// Longest site name, in bytes.
pub const SITE_BYTES: usize = 256;
/// Longest unit, in bytes: the longest registered SenML unit has 8.
pub const UNIT_BYTES: usize = 32;
/// Longest text value, in bytes: a reading is a measurement, not a document.
pub const TEXT_VALUE_BYTES: usize = 8 * 1024;
/// Most readings in one message: one message is never split over two records of a stream.
pub const READINGS_PER_MESSAGE: usize = 10_000;
/// Largest payload of one message, in bytes: what a connection may make us hold in one piece.
pub const PAYLOAD_BYTES: usize = 1024 * 1024;
/// How far ahead of our clock a device's time may be, unless configured.
pub const FUTURE: Duration = Duration::from_secs(24 * 60 * 60);
/// Earliest time accepted, in microseconds since the Unix epoch: 1970. SenML reads smaller numbers as
/// relative to now, and a date before it is a device without a clock.
pub const EARLIEST_MICROS: i64 = 0;
