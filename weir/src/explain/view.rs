//! What is known of a message, as the HTTP API tells it and the command prints it. Times are RFC 3339, UTC.

use processors::workflows::RunDetail;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dlq::view::LetterId;

/// A message, by what makes it unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Who {
    /// Who measured.
    pub(crate) device: String,
    /// Restart counter of the device.
    pub(crate) boot: i64,
    /// Number of the message since that restart.
    pub(crate) seq: i64,
}

/// How a message stands. Whoever reads one of the last four should look closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// In the table, once.
    Stored,
    /// In the stream; the table has not come so far.
    Waiting,
    /// In the stream; there is no table here to look into.
    InStream,
    /// Refused: a dead letter.
    Refused,
    /// In the stream, and the time did not suffice to look through the table.
    Unclear,
    /// Nowhere among what was searched.
    Unknown,
    /// In the table more than once.
    StoredTwice,
    /// Lost, whole or in part: the table is past it, and does not hold all of it.
    Missing,
}

impl Verdict {
    /// Whether the message is where it should be.
    pub(crate) fn is_well(self) -> bool {
        matches!(self, Self::Stored | Self::Waiting | Self::InStream | Self::Refused)
    }
}

/// All that was found of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Explanation {
    /// The message asked for.
    #[serde(flatten)]
    pub(crate) who: Who,
    pub(crate) verdict: Verdict,
    /// The verdict, for a person.
    pub(crate) says: String,
    /// What has not happened yet, and what is not there any more, for a person.
    pub(crate) notes: Vec<String>,
    /// Partition of the device, of every stream that has it.
    pub(crate) partition: u32,
    /// What it measured; empty if it was found nowhere but in the dead letters.
    pub(crate) readings: Vec<Reading>,
    /// Each time that it is in the stream `readings`, by offset; the first [`super::limits::COPIES`] of them.
    pub(crate) copies: Vec<Sighting>,
    /// What was searched of that stream.
    pub(crate) searched: Searched,
    /// How far those have come who read the partition.
    pub(crate) groups: Vec<Progress>,
    /// The table of readings.
    pub(crate) table: Stored,
    /// What fired on it, by offset.
    pub(crate) alerts: Vec<Alert>,
    /// What was searched of the stream `alerts`.
    pub(crate) alerts_searched: Searched,
    /// The table of alerts.
    pub(crate) alerts_table: Stored,
    /// Workflows that were started.
    pub(crate) runs: Vec<Run>,
    /// What was searched of the stream `workflows`.
    pub(crate) firings_searched: Searched,
    /// Dead letters that are this message, or may be.
    pub(crate) letters: Vec<Letter>,
    /// What was searched of the streams of dead letters.
    pub(crate) letters_searched: Vec<Searched>,
}

/// One reading of the message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) metric: String,
    /// When, by the device's clock.
    pub(crate) time: String,
    /// A number, a boolean or a text.
    pub(crate) value: Value,
    pub(crate) unit: Option<String>,
    pub(crate) site: Option<String>,
}

/// The message in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sighting {
    /// Offset of the record.
    pub(crate) offset: u64,
    /// Row in the record at which it begins.
    pub(crate) row: usize,
    /// Its readings.
    pub(crate) readings: usize,
    /// When Weir received it.
    pub(crate) received_at: String,
    /// When the record was appended.
    pub(crate) appended_at: String,
    pub(crate) fate: Fate,
}

/// What became of one of the times that a message is in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// This one counts: it is the first, or the one that is stored.
    Kept,
    /// It came again, and is left out.
    LeftOut,
}

/// How much of a partition was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Searched {
    pub(crate) stream: String,
    pub(crate) partition: u32,
    /// First offset looked at.
    pub(crate) from: u64,
    /// One past the last offset looked at.
    pub(crate) to: u64,
    /// First offset that is retained.
    pub(crate) first: u64,
    /// One past the last offset.
    pub(crate) end: u64,
    /// Records that could not be read.
    pub(crate) unreadable: u64,
}

impl Searched {
    /// Whether that was all that is retained.
    pub(crate) fn is_all(&self) -> bool {
        self.from <= self.first && self.to >= self.end && self.unreadable == 0
    }
}

/// Where a group of consumers stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) group: String,
    pub(crate) stream: String,
    /// First offset that it has not passed, by what it committed: it may be further.
    pub(crate) position: u64,
    /// One past the last offset.
    pub(crate) end: u64,
}

/// What a table holds of the message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Directory of the table.
    pub(crate) table: String,
    /// The last commit; `None` if there is no table.
    pub(crate) version: Option<u64>,
    /// First offset of the partition that is not in the table, by the table's own log.
    pub(crate) position: Option<u64>,
    pub(crate) rows: Vec<StoredRow>,
    /// Files that could hold it and were looked at.
    pub(crate) files: usize,
    /// Files that could hold it, and for which the time did not suffice.
    pub(crate) files_left: usize,
    /// What could not be read.
    pub(crate) problem: Option<String>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredRow {
    /// Below the directory of the table.
    pub(crate) file: String,
    /// Offsets of the first and last record with a row in the file; `None` if another program wrote the file.
    pub(crate) offsets: Option<(u64, u64)>,
    pub(crate) row_group: usize,
    /// Row in the row group, from 0.
    pub(crate) row: usize,
    /// Row in the file, from 0.
    pub(crate) file_row: usize,
    /// Version of the table that first had it, if its commit is known.
    pub(crate) version: Option<u64>,
    /// When that was committed.
    pub(crate) committed_at: Option<String>,
    #[serde(flatten)]
    pub(crate) reading: Reading,
    pub(crate) received_at: String,
    /// Of a table of alerts.
    pub(crate) alert_id: Option<String>,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) alert_id: String,
    pub(crate) rule: String,
    pub(crate) severity: String,
    pub(crate) message: String,
    /// Metric of the reading; of a rule over messages that of any of its readings.
    pub(crate) metric: String,
    /// Offset in the stream `alerts`.
    pub(crate) offset: u64,
    pub(crate) appended_at: String,
    /// Offset in `readings` that it fired on.
    pub(crate) source_offset: u64,
    /// It was appended again after a crash.
    pub(crate) fate: Fate,
}

/// A workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) rule: String,
    /// Offset in the stream `workflows`; `None` if the firing is not there (any more).
    pub(crate) offset: Option<u64>,
    /// How it stands; `None` if that is not known, and [`Run::note`] says why.
    pub(crate) detail: Option<RunDetail>,
    pub(crate) note: Option<String>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) id: LetterId,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) topic: String,
    pub(crate) received_at: String,
    /// Whether its boot and seq are those asked for. If not, they are not known, and only the device is the same.
    pub(crate) exact: bool,
    /// What was done about it; `None` where that is not known.
    pub(crate) state: Option<crate::dlq::view::State>,
}
