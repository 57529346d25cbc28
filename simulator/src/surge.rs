//! A load that rises and falls again, whatever becomes of what was sent: an open loop.
//!
//! ```text
//!  rate       factor x ─ ─ ─ ╱╲
//!                          ╱    ╲
//!        1 x ────────────╱        ╲──────────────
//!            0         after   + rise   + rise      time since the start
//! ```
//! Devices measure at moments that a steady fleet would have, bent by this curve. So the schedule is a function of
//! the time alone: what cannot be sent when it is due waits in the device, and is late, not left out.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// Most that a load may rise to.
const MOST: f64 = 1_000.0;

/// How a load rises and falls: read from `FACTORx@RISE` or `FACTORx@RISE+AFTER`, as in `10x@2m` and `10x@2m+30s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surge {
    /// The highest rate, in usual rates, 1 to 1000.
    factor: f64,
    /// How long the rate rises, and how long it falls; above 0.
    rise: Duration,
    /// How long the rate is the usual one before it rises.
    after: Duration,
}

impl Surge {
    /// A load that is the usual one `after` the start, then rises to `factor` times as much within `rise`, and falls
    /// within the same time.
    ///
    /// # Errors
    /// If `factor` is not in 1 to 1000, or `rise` is zero.
    pub fn new(factor: f64, rise: Duration, after: Duration) -> anyhow::Result<Self> {
        ensure!((1.0..=MOST).contains(&factor), "surge: factor {factor}: expected a number from 1 to {MOST}");
        ensure!(!rise.is_zero(), "surge: time to the peak: expected more than none");
        Ok(Self { factor, rise, after })
    }

    /// When a message is due that is due `steady` after the start at the usual rate.
    pub(crate) fn bend(&self, steady: Duration) -> Duration {
        let Some(messages) = steady.checked_sub(self.after) else { return steady };
        // In messages of a source that has one a second at the usual rate.
        let (messages, rise) = (messages.as_secs_f64(), self.rise.as_secs_f64());
        let whole = rise * (1.0 + self.factor);
        let time = if messages >= whole {
            2.0 * rise + (messages - whole)
        } else if messages <= whole / 2.0 {
            self.rising(messages)
        } else {
            // It falls as it rose, seen from the other end.
            2.0 * rise - self.rising(whole - messages)
        };
        self.after.saturating_add(Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX))
    }

    /// Seconds in which a rising rate makes `messages`: the time t with t + slope / 2 * t^2 = messages.
    fn rising(&self, messages: f64) -> f64 {
        let slope = (self.factor - 1.0) / self.rise.as_secs_f64();
        // Of the two forms of the root this one is exact where the slope is 0 or nearly.
        2.0 * messages / (1.0 + (1.0 + 2.0 * slope * messages).sqrt())
    }
}

impl FromStr for Surge {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let expected = || format!("`{text}`: expected FACTORx@RISE or FACTORx@RISE+AFTER, e.g. 10x@2m or 10x@2m+30s");
        let (factor, times) = text.split_once("x@").with_context(expected)?;
        let (rise, after) = times.split_once('+').unwrap_or((times, "0s"));
        Self::new(
            factor.parse().ok().with_context(expected)?,
            time(rise).with_context(expected)?,
            time(after).with_context(expected)?,
        )
    }
}

/// A time such as `30s`, `2m`, `500ms`, `1h`.
fn time(text: &str) -> anyhow::Result<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => bail!("`{unit}` is no unit of time: expected ms, s, m or h"),
    };
    Ok(Duration::try_from_secs_f64(number.parse::<f64>()? * scale)?)
}

#[cfg(test)]
mod tests;
