//! Points in time as people write them. Without a zone they are UTC.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use telemetry::Timestamp;

const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// The time that `text` says: a date, a date and time, or RFC 3339 with a zone.
///
/// # Errors
/// A text for a person.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let zoned = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros());
    let naive = |format: &str| Some(NaiveDateTime::parse_from_str(text, format).ok()?.and_utc().timestamp_micros());
    let date =
        || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros());
    let micros = zoned()
        .or_else(|| ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"].into_iter().find_map(naive))
        .or_else(date)
        .ok_or_else(|| {
            format!("`{text}`: expected a time such as 2014-01-31, 2014-01-31 08:00:00 or 2014-01-31T08:00:00Z")
        })?;
    Ok(Timestamp::from_micros(micros))
}

/// RFC 3339, as exact as the time is.
pub(super) fn text(time: Timestamp) -> String {
    let time_of = DateTime::from_timestamp_micros(time.as_micros());
    time_of.map_or_else(|| format!("{} us", time.as_micros()), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Days since 1970 of a time, UTC.
pub(super) fn day(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(MICROS_PER_DAY)
}

/// The date of a [`day`].
pub(super) fn date(day: i64) -> String {
    text(Timestamp::from_micros(day.saturating_mul(MICROS_PER_DAY))).split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_zone_are_utc() {
        let expected = Timestamp::from_micros(1_386_656_700_000_000);
        for written in
            ["2013-12-10 06:25:00.000000", "2013-12-10T06:25:00", "2013-12-10T06:25:00Z", "2013-12-10T07:25:00+01:00"]
        {
            assert_eq!(parse(written), Ok(expected), "{written}");
        }
        assert_eq!(parse("2013-12-10").map(text), Ok("2013-12-10T00:00:00Z".to_owned()));
        for wrong in ["yesterday", "2013-13-01", "1386656700", ""] {
            assert!(parse(wrong).unwrap_err().contains("expected a time"), "{wrong}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_also_before_1970() {
        let time = |text| parse(text).unwrap();
        assert_eq!(date(day(time("2013-12-10T23:59:59.999999Z"))), "2013-12-10");
        assert_eq!(date(day(time("1969-12-31T23:00:00Z"))), "1969-12-31");
    }
}
