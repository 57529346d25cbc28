//! Names of directories and files: the only place that makes or reads them.

use std::fmt;

use chrono::{DateTime, NaiveDate};

/// Microseconds of an hour.
pub(crate) const HOUR_MICROS: i64 = 3_600_000_000;
/// Last hour whose date has four digits for the year, 9999-12-31T23: readers know no later ones.
const LAST_HOUR: i64 = 70_389_527;

/// Names of the partition columns, in order.
pub(crate) const PARTITION_COLUMNS: [&str; 2] = ["date", "hour"];

/// An hour of event time, UTC: hours since the Unix epoch, 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hour(u32);

impl Hour {
    /// The hour that `micros` since the Unix epoch is in. Times before 1970 or after 9999 are kept in the
    /// first or last hour: ingest refuses them, and a row is never dropped for its time.
    pub(crate) fn of(micros: i64) -> Self {
        Self(u32::try_from(micros.div_euclid(HOUR_MICROS).clamp(0, LAST_HOUR)).unwrap_or(0))
    }

    /// Hours since the Unix epoch.
    pub(crate) fn index(self) -> u32 {
        self.0
    }

    /// The hour `index` hours after the Unix epoch.
    pub(crate) fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Start of the hour, in microseconds since the Unix epoch.
    pub(crate) fn start_micros(self) -> i64 {
        i64::from(self.0) * HOUR_MICROS
    }

    /// Its date, as `YYYY-MM-DD`.
    pub(crate) fn date(self) -> String {
        let date =
            DateTime::from_timestamp_micros(self.start_micros()).map_or(NaiveDate::MIN, |time| time.date_naive());
        date.format("%Y-%m-%d").to_string()
    }

    /// Hour of the day, 0 to 23.
    pub(crate) fn of_day(self) -> u32 {
        self.0 % 24
    }

    /// Directory below the table: `date=YYYY-MM-DD/hour=HH`.
    pub(crate) fn directory(self) -> String {
        format!("date={}/hour={:02}", self.date(), self.of_day())
    }
}

/// Name of a data file: what it holds of which partition. Numbers are padded so that names sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartName {
    /// Partition of the stream.
    pub(crate) partition: u32,
    /// Offset of the first record with a row in the file.
    pub(crate) first: u64,
    /// Offset of the last one.
    pub(crate) last: u64,
    /// Epoch of the owner that wrote it, if the table is shared: two owners of a partition never make the same
    /// name, so whoever wakes up late cannot delete or replace a file of the next one.
    pub(crate) epoch: Option<u64>,
}

impl PartName {
    /// Reads a file name; `None` if it is not exactly one this sink writes.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix("part-")?.strip_suffix(".parquet")?.split('-');
        let part = Self {
            partition: numbers.next()?.parse().ok()?,
            first: numbers.next()?.parse().ok()?,
            last: numbers.next()?.parse().ok()?,
            epoch: numbers.next().map(str::parse).transpose().ok()?,
        };
        // Written back, it must be the same: no other padding, no sign, nothing after.
        (part.to_string() == name).then_some(part)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part-{:05}-{:020}-{:020}", self.partition, self.first, self.last)?;
        self.epoch.map_or(Ok(()), |epoch| write!(f, "-{epoch:010}"))?;
        f.write_str(".parquet")
    }
}

/// Beginning of the name of a staging directory of a shared table: whose it is. What follows makes it unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StagingName {
    /// Partition of the stream.
    pub(crate) partition: u32,
    /// Epoch of its owner.
    pub(crate) epoch: u64,
}

impl StagingName {
    /// Reads it from the name of a directory.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (partition, rest) = name.split_once('-')?;
        let (epoch, _) = rest.split_once('-')?;
        Some(Self { partition: partition.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

impl fmt::Display for StagingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}-{:010}", self.partition, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_utc_dates_and_hours() {
        assert_eq!(Hour::of(0).directory(), "date=1970-01-01/hour=00");
        assert_eq!(Hour::of(1_709_251_199_999_999).directory(), "date=2024-02-29/hour=23");
        assert_eq!(Hour::of(1_709_251_200_000_000).directory(), "date=2024-03-01/hour=00");
    }

    #[test]
    fn times_no_reader_knows_stay_in_the_first_or_last_hour() {
        assert_eq!(Hour::of(i64::MIN).directory(), "date=1970-01-01/hour=00");
        assert_eq!(Hour::of(i64::MAX).directory(), "date=9999-12-31/hour=23");
    }

    #[test]
    fn names_sort_as_their_numbers_and_read_back() {
        let low = PartName { partition: 3, first: 9, last: 99, epoch: None };
        let high = PartName { partition: 3, first: 10, last: u64::MAX, epoch: None };
        assert_eq!(low.to_string(), "part-00003-00000000000000000009-00000000000000000099.parquet");
        assert!(low.to_string() < high.to_string());
        assert_eq!(PartName::parse(&high.to_string()), Some(high));
        let shared = PartName { epoch: Some(7), ..low };
        assert_eq!(shared.to_string(), "part-00003-00000000000000000009-00000000000000000099-0000000007.parquet");
        assert_eq!(PartName::parse(&shared.to_string()), Some(shared));
    }

    #[test]
    fn a_staging_directory_says_whose_it_is() {
        let name = StagingName { partition: 3, epoch: 12 };
        assert_eq!(StagingName::parse(&format!("{name}-5f-1-0")), Some(name));
        assert_eq!(StagingName::parse(&format!("{name}-5f-1-0.gone")), Some(name));
        assert_eq!(StagingName::parse("lost+found"), None);
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in
            ["part-00000-1-2.parquet", "part-3-4.parquet", "part-00003-a-b.parquet", "x.parquet", "part-.parquet"]
        {
            assert_eq!(PartName::parse(name), None, "{name}");
        }
        let ours = PartName { partition: 0, first: 1, last: 2, epoch: None }.to_string();
        assert_eq!(PartName::parse(&ours.replace(".parquet", "-1.parquet")), None);
        assert_eq!(PartName::parse(&ours.replace(".parquet", "-0000000001-1.parquet")), None);
        assert_eq!(PartName::parse(&format!("{ours}.crc")), None);
    }
}
