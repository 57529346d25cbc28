//! Times in rule files: a whole number and a unit, such as `10m`.

use std::fmt;
use std::time::Duration;

/// Units, in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The time that `text` is, from `shortest` to `longest`.
pub(crate) fn parse(text: &str, (shortest, longest): (Duration, Duration)) -> Result<Duration, String> {
    let expected = || {
        let (shortest, longest) = (Shown(shortest), Shown(longest));
        format!("`{text}` is not a time from {shortest} to {longest}; write a whole number and ms, s, m, h or d")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(expected)?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    let time = number.checked_mul(*millis).map(Duration::from_millis).ok_or_else(expected)?;
    if (shortest..=longest).contains(&time) { Ok(time) } else { Err(expected()) }
}

/// A time of whole milliseconds as rule files have it, in the longest unit that leaves no rest.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let whole = |(_, unit): &&(&str, u64)| millis >= *unit && millis.is_multiple_of(*unit);
        match UNITS.iter().find(whole) {
            Some((name, unit)) => write!(f, "{}{name}", millis / unit),
            None => f.write_str("0s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: (Duration, Duration) = (Duration::ZERO, Duration::MAX);

    #[test]
    fn times_are_read_and_shown() {
        for (text, millis) in [("1ms", 1), ("90s", 90_000), ("10m", 600_000), ("25h", 90_000_000), ("7d", 604_800_000)]
        {
            let time = parse(text, ALL).unwrap();
            assert_eq!(time, Duration::from_millis(millis));
            assert_eq!(Shown(time).to_string(), text);
        }
        assert_eq!(Shown(Duration::from_millis(60_000)).to_string(), "1m");
        assert_eq!(Shown(Duration::ZERO).to_string(), "0s");
    }

    #[test]
    fn other_texts_are_refused_with_the_bounds() {
        let bounds = (Duration::from_secs(1), Duration::from_secs(86_400));
        for text in ["", "s", "10", "1.5s", "-1s", "1 s", "10M", "1w", "999ms", "25h", "99999999999999999999s", "ü"] {
            let problem = parse(text, bounds).unwrap_err();
            assert!(problem.contains(&format!("`{text}`")) && problem.contains("from 1s to 1d"), "{problem}");
        }
    }
}
