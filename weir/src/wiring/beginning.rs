//! Where a consumer group begins that has no position yet.

use std::str::FromStr;

use anyhow::Context;
use chrono::DateTime;
use streams::{Partition, Streams};
use telemetry::Timestamp;

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// At the first record that is retained.
    #[default]
    First,
    /// Behind the last record there is.
    Now,
    /// At the first record appended at this time or later.
    At(Timestamp),
}

impl Beginning {
    /// The offset of `partition` to begin at.
    pub(super) async fn offset(self, streams: &dyn Streams, partition: &Partition) -> anyhow::Result<u64> {
        let failed = || partition.to_string();
        match self {
            Self::First => Ok(streams.bounds(partition).with_context(failed)?.start),
            Self::Now => Ok(streams.bounds(partition).with_context(failed)?.end),
            Self::At(time) => streams::seek::at_time(streams, partition, time).await.with_context(failed),
        }
    }
}

impl FromStr for Beginning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => Ok(Self::First),
            "now" => Ok(Self::Now),
            time => match DateTime::parse_from_rfc3339(time) {
                Ok(time) => Ok(Self::At(Timestamp::from_micros(time.timestamp_micros()))),
                Err(_) => Err(format!(
                    "`{text}`: expected beginning, now, or a time with its zone such as 2026-11-23T08:00:00Z"
                )),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_word_or_a_time_with_its_zone() {
        assert_eq!("beginning".parse(), Ok(Beginning::First));
        assert_eq!("now".parse(), Ok(Beginning::Now));
        let time = Beginning::At(Timestamp::from_micros(1_785_229_200_000_000));
        assert_eq!("2026-07-28T09:00:00Z".parse(), Ok(time));
        assert_eq!("2026-07-28T11:00:00+02:00".parse(), Ok(time));
        for wrong in ["", "yesterday", "2026-07-28", "2026-07-28T09:00:00", "5"] {
            let error = wrong.parse::<Beginning>().unwrap_err();
            assert!(error.contains(&format!("`{wrong}`")) && error.contains("beginning, now"), "{error}");
        }
    }
}
