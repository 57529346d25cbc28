//! Reads a recording: CSV with a header and the columns `timestamp` and `value`.

use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use csv::StringRecord;
use telemetry::Timestamp;

/// One row of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When, to the microsecond.
    pub time: Timestamp,
    /// The double nearest to the text of the file.
    pub value: f64,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, or is no CSV.
    #[error("{}: {source}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: csv::Error,
    },
    /// The header has no column of this name.
    #[error("{}: no column `{column}`, found {found}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The missing column.
        column: &'static str,
        /// The columns it has.
        found: String,
    },
    /// A field has a text that is not of its kind.
    #[error("{}, line {line}: {column} `{found}`: expected {expected}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// The text of the field, cut if it is long.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// SenML reads times below 2^28 seconds as relative to now.
const EARLIEST_SECONDS: i64 = 1 << 28;
const TIMES: &str =
    "`YYYY-MM-DD HH:MM:SS` in UTC, RFC 3339, or seconds since 1970; not before 1978-07-04, to the microsecond";
const VALUES: &str = "a finite number";
const LONGEST_SHOWN: usize = 60;

/// Reads all rows of the recording at `path`, in its order.
///
/// # Errors
/// [`Error`] names file, line, field, text and what was expected.
pub fn read(path: &Path) -> Result<Vec<Row>, Error> {
    let failed = |source| Error::Csv { path: path.to_owned(), source };
    let file = File::open(path).map_err(|error| failed(error.into()))?;
    let mut lines = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let header = lines.headers().map_err(failed)?.clone();
    let (time, value) = (column(path, &header, "timestamp")?, column(path, &header, "value")?);
    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    while lines.read_record(&mut record).map_err(failed)? {
        let field = |column, index| {
            let found: &str = record.get(index).unwrap_or_default();
            let line = record.position().map_or(0, csv::Position::line);
            let bad = move |expected| Error::Field {
                path: path.to_owned(),
                line,
                column,
                found: found.chars().take(LONGEST_SHOWN).collect(),
                expected,
            };
            (found, bad)
        };
        let (text, bad) = field("timestamp", time);
        let time = parse_time(text).ok_or_else(|| bad(TIMES))?;
        let (text, bad) = field("value", value);
        let value = text.parse().ok().filter(|value| f64::is_finite(*value)).ok_or_else(|| bad(VALUES))?;
        rows.push(Row { time, value });
    }
    Ok(rows)
}

fn column(path: &Path, header: &StringRecord, name: &'static str) -> Result<usize, Error> {
    header.iter().position(|column| column == name).ok_or_else(|| Error::Column {
        path: path.to_owned(),
        column: name,
        found: header.iter().collect::<Vec<_>>().join(", "),
    })
}

/// A time without a zone is UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let micros = parse_seconds(text)
        .or_else(|| exact_micros(DateTime::parse_from_rfc3339(text).ok()?.to_utc()))
        .or_else(|| {
            let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
            let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
            exact_micros(time.and_utc())
        })?;
    (micros >= EARLIEST_SECONDS * 1_000_000).then(|| Timestamp::from_micros(micros))
}

/// A finer time is refused, because it would arrive as another one.
fn exact_micros(time: DateTime<Utc>) -> Option<i64> {
    time.timestamp_subsec_nanos().is_multiple_of(1000).then(|| time.timestamp_micros())
}

/// Seconds since 1970, with up to six decimals, read digit by digit: a double would round.
fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = fraction.trim_end_matches('0');
    if !digits(whole) || !digits(fraction) || decimals.len() > 6 {
        return None;
    }
    let micros: i64 = format!("{decimals:0<6}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}
