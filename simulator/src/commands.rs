//! What a fleet was told: one line of CSV for each command that a device got, written before the device acknowledges
//! it. A command that came twice has two lines.

use std::path::Path;

use serde::Deserialize;
use telemetry::Timestamp;

use crate::lines::{self, Error};

/// First line; the time is microseconds since the Unix epoch.
pub const HEADER: [&str; 3] = ["device", "received_at", "id"];

/// Characters of a payload that stand for one without an id.
const ID_CHARACTERS: usize = 200;

/// Opens the file at `path`; one that exists is continued.
///
/// # Errors
/// If the file cannot be written, holds something else, or is written by another fleet.
pub(crate) fn open(path: &Path) -> Result<lines::Writer, Error> {
    lines::Writer::open(path, &HEADER)
}

/// The line of a command. Its id is the `id` of a payload that is a CloudEvent, which is its idempotency key; of
/// another payload the payload itself.
pub(crate) fn line(device: &str, received_at: Timestamp, payload: &[u8]) -> String {
    format!("{},{},{}\n", lines::field(device), received_at.as_micros(), lines::field(&id(payload)))
}

#[derive(Deserialize)]
struct Event {
    id: String,
}

fn id(payload: &[u8]) -> String {
    match serde_json::from_slice::<Event>(payload) {
        Ok(event) => event.id,
        Err(_) => String::from_utf8_lossy(payload).chars().take(ID_CHARACTERS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_by_its_event_or_by_itself() {
        let time = Timestamp::from_micros(7);
        assert_eq!(line("pump", time, br#"{"specversion":"1.0","id":"ab-0","data":{}}"#), "pump,7,ab-0\n");
        assert_eq!(line("pump", time, b"open, please"), "pump,7,\"open, please\"\n");
        assert_eq!(line("pump", time, &[b'x'; 300]).len(), "pump,7,\n".len() + 200);
        assert_eq!(line("pump", time, br#"{"id":5}"#), "pump,7,\"{\"\"id\"\":5}\"\n");
    }
}
