//! Streams as a person sees them; the same from within a process and over its API.

use std::fmt;
use std::str::FromStr;

use anyhow::Context;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use streams::seek::{self, Place};
use streams::{Error, Partition, StreamName, Streams};
use telemetry::Timestamp;
use telemetry::ipc::Decoder;
use telemetry::schema;

use super::rows;

/// Rows of an answer, at most.
pub(crate) const PAGE_ROWS: usize = 1000;
/// Bytes read at once: with rows of some hundred bytes about a page.
const READ_BYTES: usize = 128 * 1024;

/// All partitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Partitions {
    pub(crate) partitions: Vec<PartitionView>,
}

/// One partition: its first offset, one past its last, and the records between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionView {
    pub(crate) stream: String,
    pub(crate) partition: u32,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) records: u64,
}

/// All groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<GroupView>,
}

/// A group in one partition: the first offset it has not passed, and the records behind that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupView {
    pub(crate) group: String,
    pub(crate) stream: String,
    pub(crate) partition: u32,
    pub(crate) position: u64,
    pub(crate) lag: u64,
}

/// Rows, and where to go on. A record that cannot be read is one row with the field `error`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Map<String, Value>>,
    /// Place to go on at: an offset, and a row in its record where a page ended within one.
    pub(crate) next: From,
    /// Whether that was all there is.
    pub(crate) at_end: bool,
}

/// Where to read from: `beginning`, `now`, a time, or an offset, which may name a row of its record: `17.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct From {
    pub(crate) place: Place,
    row: usize,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = |place| Ok(Self { place, row: 0 });
        match text {
            "beginning" => return at(Place::Beginning),
            "now" => return at(Place::Now),
            _ => {}
        }
        let (offset, row) = text.split_once('.').unwrap_or((text, "0"));
        if let (Ok(offset), Ok(row)) = (offset.parse(), row.parse()) {
            return Ok(Self { place: Place::Offset(offset), row });
        }
        let expected = || {
            format!(
                "`{text}`: expected beginning, now, an offset, or a time such as 2026-01-31 or 2026-01-31T08:00:00Z"
            )
        };
        at(Place::Time(time(text).ok_or_else(expected)?))
    }
}

impl TryFrom<String> for From {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::convert::From<From> for String {
    fn from(from: From) -> Self {
        from.to_string()
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Beginning => f.write_str("beginning"),
            Place::Now => f.write_str("now"),
            Place::Time(time) => f.write_str(&crate::dlq::view::time(time)),
            Place::Offset(offset) if self.row == 0 => write!(f, "{offset}"),
            Place::Offset(offset) => write!(f, "{offset}.{}", self.row),
        }
    }
}

/// A date or a date and time; UTC where it names no zone.
fn time(text: &str) -> Option<Timestamp> {
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros());
    let naive = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc());
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    let micros = zoned.or_else(|| naive().or_else(date).map(|time| time.timestamp_micros()))?;
    Some(Timestamp::from_micros(micros))
}

pub(crate) fn partitions(streams: &dyn Streams) -> anyhow::Result<Partitions> {
    let mut partitions = Vec::new();
    for spec in streams.specs() {
        for partition in 0..spec.partitions {
            let bounds = streams.bounds(&Partition::new(spec.name.clone(), partition))?;
            let (first, end, records) = (bounds.start, bounds.end, bounds.end.saturating_sub(bounds.start));
            let stream = spec.name.to_string();
            partitions.push(PartitionView { stream, partition, first, end, records });
        }
    }
    Ok(Partitions { partitions })
}

pub(crate) async fn groups(streams: &dyn Streams) -> anyhow::Result<Groups> {
    let mut groups = Vec::new();
    for at in streams.groups().await? {
        let end = match streams.bounds(&at.partition) {
            Ok(bounds) => bounds.end,
            // A stream that this configuration does not have.
            Err(Error::UnknownPartition(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        groups.push(GroupView {
            group: at.group.to_string(),
            stream: at.partition.stream.to_string(),
            partition: at.partition.index,
            position: at.offset,
            lag: end.saturating_sub(at.offset),
        });
    }
    Ok(Groups { groups })
}

/// At most `limit` rows of a partition, from a place on; does not wait for more.
pub(crate) async fn page(
    streams: &dyn Streams,
    stream: &str,
    partition: u32,
    from: From,
    limit: usize,
) -> anyhow::Result<Page> {
    let name = StreamName::new(stream).with_context(|| format!("`{stream}`: expected the name of a stream"))?;
    let of = Partition::new(name, partition);
    let mut next = seek::offset(streams, &of, from.place).await?;
    let mut skip = if from.place == Place::Offset(next) { from.row } else { 0 };
    let mut shown = Vec::new();
    let end = streams.bounds(&of)?.end;
    while next < end {
        let read = streams.read(&of, next, READ_BYTES).await?;
        for record in read.records {
            let (offset, found) = (record.offset, decoded(&of, record));
            let (all, left) = (found.len(), limit - shown.len());
            shown.extend(found.into_iter().skip(skip).take(left));
            if all.saturating_sub(skip) > left {
                let next = From { place: Place::Offset(offset), row: skip + left };
                return Ok(Page { rows: shown, next, at_end: false });
            }
            (next, skip) = (offset + 1, 0);
        }
        next = next.max(read.next);
    }
    Ok(Page { rows: shown, next: From { place: Place::Offset(next), row: 0 }, at_end: true })
}

/// The rows of a record, each with its place.
fn decoded(of: &Partition, record: streams::Record) -> Vec<Map<String, Value>> {
    let mut head = Map::new();
    head.insert("partition".to_owned(), of.index.into());
    head.insert("offset".to_owned(), record.offset.into());
    head.insert("appended_at".to_owned(), crate::dlq::view::time(record.appended_at).into());
    let batch =
        Decoder::new(schema::of_stream(of.stream.as_str())).and_then(|mut decoder| decoder.decode(record.payload));
    let batch = match batch {
        Ok(batch) => batch,
        Err(error) => {
            head.insert("error".to_owned(), error.to_string().into());
            return vec![head];
        }
    };
    let row = |row: usize| {
        let mut all = head.clone();
        all.insert("row_of_record".to_owned(), row.into());
        all.extend(rows::row(&batch, row));
        all
    };
    (0..batch.num_rows()).map(row).collect()
}

#[cfg(test)]
mod tests;
