//! What a fleet sent, reading by reading, so that a judge can compare values and not only counts: one line of CSV
//! for each reading of each message, written when the message is made, however often it is sent.
//!
//! The lines come from what was measured, not from the payload, and say what a table must hold: a unit only if
//! the payload can carry one, a site only if the topic gives it. The lines of a message are handed to the writer
//! before the message can be sent. After a kill of the simulator the last second may be missing.

use std::fmt::Write;
use std::path::Path;

use telemetry::Timestamp;

use crate::lines::{self, Error};

/// First line; times are microseconds since the Unix epoch, values the shortest text that reads back as the same
/// double, unit and site empty if there is none.
pub const HEADER: [&str; 8] = ["device", "boot", "seq", "metric", "time", "value", "unit", "site"];

/// Who sent; both as [`lines::field`] gives them.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    device: String,
    site: String,
}

/// One reading. Texts are as [`lines::field`] gives them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) metric: &'a str,
    pub(crate) time: Timestamp,
    pub(crate) value: f64,
    /// Empty if there is none.
    pub(crate) unit: &'a str,
}

impl Origin {
    /// `site` is empty if there is none.
    pub(crate) fn new(device: &str, site: &str) -> Self {
        Self { device: lines::field(device), site: lines::field(site) }
    }

    /// Appends the line of `reading`, of message `seq` of `boot`.
    pub(crate) fn line(&self, out: &mut String, boot: i64, seq: i64, reading: Reading<'_>) {
        let (Self { device, site }, Reading { metric, time, value, unit }) = (self, reading);
        let time = time.as_micros();
        // Writing to a string cannot fail.
        writeln!(out, "{device},{boot},{seq},{metric},{time},{value:?},{unit},{site}").ok();
    }
}

/// Opens the file at `path`; one that exists is continued.
///
/// # Errors
/// If the file cannot be written, holds something else, or is written by another fleet.
pub(crate) fn open(path: &Path) -> Result<lines::Writer, Error> {
    lines::Writer::open(path, &HEADER)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn line(device: &str, site: &str, value: f64) -> String {
        let mut out = String::new();
        let time = Timestamp::from_micros(1_790_000_000_000_001);
        let reading = Reading { metric: "level", time, value, unit: "m" };
        Origin::new(device, site).line(&mut out, 3, 7, reading);
        out
    }

    #[test]
    fn a_line_holds_every_bit_of_a_value_and_any_name() {
        assert_eq!(line("pump-1", "", 0.1), "pump-1,3,7,level,1790000000000001,0.1,m,\n");
        for value in [-0.0, 5e-324, f64::MAX, 73.967_322_07, 1e16, 0.1 + 0.2] {
            let text = line("a,\"b", "c\nd", value);
            let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            let record = lines.records().next().unwrap().unwrap();
            assert_eq!((&record[0], &record[7]), ("a,\"b", "c\nd"));
            assert_eq!(record[5].parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[tokio::test]
    async fn a_file_is_continued_from_its_last_whole_line() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("sent.csv");
        for round in 1..=3 {
            let writer = open(&path).unwrap();
            let sender = writer.sender();
            sender.send(line("pump-1", "hall", f64::from(round))).await.unwrap();
            drop(sender);
            writer.finish().await.unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text + "pump-1,3,8,lev").unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0], "device,boot,seq,metric,time,value,unit,site");
        assert_eq!(lines[3], "pump-1,3,7,level,1790000000000001,3.0,m,hall");
        assert!(matches!(crate::ledger::Writer::open(&path), Err(Error::AnotherFile { .. })));
    }
}
