//! Dead letters as the HTTP API tells them and the commands print them.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use telemetry::Timestamp;

use super::limits::LIST_CHARS;

/// Where a letter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// A payload that the endpoint refused: stream `dead_letters`.
    Ingest,
    /// A step, a firing or a rule that was given up: stream `workflow_dead_letters`.
    Workflows,
}

impl Source {
    /// The sources, in the order of lists.
    pub(super) const ALL: [Self; 2] = [Self::Ingest, Self::Workflows];

    /// Where letters of this source are told, if not here.
    pub(super) fn elsewhere(self) -> String {
        let (letters, stage) = match self {
            Self::Ingest => ("ingest", "weir ingest"),
            Self::Workflows => ("workflows", "weir workflows"),
        };
        format!("letters of {letters} are not in this process: ask one of `{stage}`, by --http")
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Workflows => "workflow",
        }
    }
}

/// What was done about a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Nothing.
    Waiting,
    /// It was put back. If it failed again, there is a new letter.
    Redriven,
    /// Nobody wants it.
    Dropped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
        })
    }
}

/// Name of a letter, `ingest-OFFSET-ROW` or `workflow-OFFSET-ROW`: its place in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct LetterId {
    /// Which stream.
    pub(crate) source: Source,
    /// Offset of the record.
    pub(crate) offset: u64,
    /// Row in the record.
    pub(crate) row: u32,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.source.prefix(), self.offset, self.row)
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '-');
        let source = parts.next().and_then(|prefix| Source::ALL.into_iter().find(|source| source.prefix() == prefix));
        let offset = parts.next().and_then(|offset| offset.parse().ok());
        let row = parts.next().and_then(|row| row.parse().ok());
        let (Some(source), Some(offset), Some(row)) = (source, offset, row) else {
            return Err(format!("letter `{text}`: expected ingest-OFFSET-ROW or workflow-OFFSET-ROW"));
        };
        let id = Self { source, offset, row };
        // One letter has one name.
        if id.to_string() == text { Ok(id) } else { Err(format!("letter `{text}`: expected `{id}`")) }
    }
}

impl TryFrom<String> for LetterId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LetterId> for String {
    fn from(id: LetterId) -> Self {
        id.to_string()
    }
}

/// Which letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// All sources if `None`.
    pub(crate) source: Option<Source>,
    /// All reasons if `None`.
    pub(crate) reason: Option<String>,
    /// All states if `None`.
    pub(crate) state: Option<State>,
}

impl Filter {
    pub(super) fn wants_reason(&self, reason: &str) -> bool {
        self.reason.as_deref().is_none_or(|wanted| wanted == reason)
    }

    pub(super) fn wants_state(&self, state: State) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
    }
}

/// Some letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// Oldest first.
    pub(crate) letters: Vec<Summary>,
    /// Ask again with `after` = this; `None` if there are no more.
    pub(crate) next: Option<LetterId>,
}

/// A letter in a list. Long texts are cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) id: LetterId,
    pub(crate) source: Source,
    pub(crate) state: State,
    /// Kind of refusal, from a closed set, e.g. `future_time`, `workflow_step`.
    pub(crate) reason: String,
    /// What exactly.
    pub(crate) detail: String,
    /// Of ingest: what it was published to. Of workflows: `workflows/RUN/STEP`.
    pub(crate) topic: String,
    /// Of ingest: the MQTT client. Of workflows: the rule.
    pub(crate) client_id: String,
    /// When it became a letter, RFC 3339.
    pub(crate) received_at: String,
    /// Bytes of the payload.
    pub(crate) bytes: usize,
    /// How often it was tried; of workflows only [`Detail`] knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
}

/// A letter with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Detail {
    pub(crate) id: LetterId,
    pub(crate) source: Source,
    pub(crate) state: State,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) topic: String,
    pub(crate) client_id: String,
    pub(crate) received_at: String,
    /// Identity that the transport gave; one in the payload goes before it.
    pub(crate) boot: Option<i64>,
    pub(crate) seq: Option<i64>,
    /// `None` of workflows whose run is not there any more.
    pub(crate) attempts: Option<u32>,
    /// How often it was put back.
    pub(crate) redrives: u32,
    /// When it was redriven or dropped, RFC 3339.
    pub(crate) marked_at: Option<String>,
    pub(crate) bytes: usize,
    /// The payload, if it is text.
    pub(crate) text: Option<String>,
    /// The payload, whatever it is.
    pub(crate) base64: String,
}

/// Which letters to redrive or drop: either `ids`, or `all` that wait and that the filter chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Change {
    /// These, at most 1,000.
    pub(crate) ids: Vec<LetterId>,
    /// All that wait, at most 1,000 of them in one request: see [`Changed::next`].
    pub(crate) all: bool,
    /// With `all`: only of this source.
    pub(crate) source: Option<Source>,
    /// With `all`: only with this reason.
    pub(crate) reason: Option<String>,
    /// With `ids`: also what was redriven before. Its key is the same; a message without boot and seq has no key, and
    /// would be stored twice.
    pub(crate) again: bool,
    /// With `all`: go on after this one.
    pub(crate) after: Option<LetterId>,
    /// With `all`: no letter that came later, as the first answer said.
    pub(crate) until: Option<Until>,
}

/// Ends of the streams of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Until {
    /// First offset of `dead_letters` that is not meant.
    pub(crate) ingest: u64,
    /// First offset of `workflow_dead_letters` that is not meant.
    pub(crate) workflows: u64,
}

impl Until {
    pub(super) fn of(self, source: Source) -> u64 {
        match source {
            Source::Ingest => self.ingest,
            Source::Workflows => self.workflows,
        }
    }
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// Letters redriven, or dropped.
    pub(crate) done: usize,
    /// Letters among them that were refused again; each is a new letter now.
    pub(crate) refused: Vec<LetterId>,
    /// Letters that nothing was done about.
    pub(crate) failed: Vec<Failure>,
    /// With `all`: ask again with `after` = this, and `until`; `None` if there are no more.
    pub(crate) next: Option<LetterId>,
    /// With `all`: where the letters ended when the first request came.
    pub(crate) until: Option<Until>,
}

/// A letter that nothing was done about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) id: LetterId,
    /// Why.
    pub(crate) error: String,
}

/// RFC 3339, UTC, with microseconds; the number itself where no calendar has it.
pub(crate) fn time(at: Timestamp) -> String {
    let micros = at.as_micros();
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| micros.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// At most [`LIST_CHARS`] characters of `text`.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LIST_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_one_name() {
        for text in ["ingest-0-0", "workflow-12-3", "ingest-18446744073709551615-4294967295"] {
            assert_eq!(text.parse::<LetterId>().unwrap().to_string(), text);
        }
        for wrong in ["", "ingest", "ingest-1", "ingest-1-", "ingest-01-2", "ingest-+1-2", "other-1-2", "ingest-1-2-3"]
        {
            assert!(wrong.parse::<LetterId>().unwrap_err().contains(&format!("`{wrong}`")), "{wrong}");
        }
        let json = r#"{"ids":["workflow-1-2"],"again":true}"#;
        let change: Change = serde_json::from_str(json).unwrap();
        assert_eq!(change.ids, [LetterId { source: Source::Workflows, offset: 1, row: 2 }]);
        assert!(serde_json::from_str::<Change>(r#"{"id":"workflow-1-2"}"#).is_err(), "an unknown key");
    }

    #[test]
    fn letters_are_in_order_of_source_and_place() {
        let ids =
            ["ingest-2-0", "ingest-10-0", "ingest-10-1", "workflow-1-0"].map(|id| id.parse::<LetterId>().unwrap());
        assert!(ids.is_sorted());
    }

    #[test]
    fn times_are_of_the_calendar_and_texts_are_cut_between_characters() {
        assert_eq!(time(Timestamp::from_micros(1_785_229_200_000_001)), "2026-07-28T09:00:00.000001Z");
        assert_eq!(time(Timestamp::from_micros(i64::MAX)), i64::MAX.to_string());
        assert_eq!(shortened("läuft"), "läuft");
        assert_eq!(shortened(&"ä".repeat(1000)), format!("{}…", "ä".repeat(LIST_CHARS)));
    }
}
