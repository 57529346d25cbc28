//! Firings against times in which something is known to have been wrong.
//!
//! * A window is *detected* if a firing of the rule is in it, its ends included.
//! * *Precision* is firings inside windows by all firings; without a firing there is none.
//! * *Recall* is windows detected by all windows.
//! * *Time to detect* of a window is from its beginning to the first firing in it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use telemetry::Timestamp;

use super::super::moment;
use super::tally::count;

/// Largest file of labels, in bytes: tens of thousands of windows.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The windows of one recording, in order of their beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) recording: String,
    pub(super) windows: Vec<Window>,
}

/// A time in which something was wrong, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// How well the firings of a rule, or of all, fit the windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Score {
    pub(super) firings: u64,
    pub(super) firings_in_windows: u64,
    pub(super) windows: u64,
    pub(super) windows_detected: u64,
    pub(super) precision: Option<f64>,
    pub(super) recall: Option<f64>,
    /// Of each window, in order; `None` if it was not detected.
    pub(super) seconds_to_detect: Vec<Option<f64>>,
}

impl Labels {
    /// The windows of `recording` in the file `path`, or of the only recording in it.
    ///
    /// # Errors
    /// Names file, recording and value.
    pub(super) fn read(path: &Path, recording: Option<&str>) -> anyhow::Result<Self> {
        let named = || format!("labels {}", path.display());
        let bytes = std::fs::metadata(path).with_context(named)?.len();
        if bytes > FILE_BYTES {
            bail!("labels {}: {bytes} bytes, at most {FILE_BYTES} expected", path.display());
        }
        let text = std::fs::read_to_string(path).with_context(named)?;
        Self::parse(&text, recording).with_context(named)
    }

    fn parse(text: &str, recording: Option<&str>) -> anyhow::Result<Self> {
        let recordings: BTreeMap<String, Vec<(String, String)>> =
            serde_json::from_str(text).context("expected JSON of the shape {\"NAME\": [[\"FROM\", \"TO\"], ...]}")?;
        let known = || recordings.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let (name, pairs) = match recording {
            Some(name) => {
                (name, recordings.get(name).with_context(|| format!("no recording `{name}`, there are {}", known()))?)
            }
            None => match recordings.iter().collect::<Vec<_>>().as_slice() {
                [(name, pairs)] => (name.as_str(), *pairs),
                _ => bail!("say with --recording which one of {}", known()),
            },
        };
        let mut windows = Vec::with_capacity(pairs.len());
        for (from, to) in pairs {
            let window = Window {
                from: moment::parse(from).map_err(anyhow::Error::msg)?,
                to: moment::parse(to).map_err(anyhow::Error::msg)?,
            };
            if window.to < window.from {
                bail!("window [`{from}`, `{to}`] of `{name}` ends before it begins");
            }
            windows.push(window);
        }
        windows.sort();
        Ok(Self { recording: name.to_owned(), windows })
    }

    /// How well firings at `times` fit.
    #[expect(clippy::cast_precision_loss, reason = "ratios for a person")]
    pub(super) fn score(&self, times: &[Timestamp]) -> Score {
        let inside = times.iter().filter(|time| self.windows.iter().any(|window| window.holds(**time))).count();
        let first = |window: &Window| times.iter().copied().filter(|time| window.holds(*time)).min();
        let seconds: Vec<Option<f64>> =
            self.windows.iter().map(|window| first(window).map(|time| time.since(window.from).as_secs_f64())).collect();
        let detected = seconds.iter().flatten().count();
        let ratio = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
        Score {
            firings: count(times.len()),
            firings_in_windows: count(inside),
            windows: count(self.windows.len()),
            windows_detected: count(detected),
            precision: ratio(inside, times.len()),
            recall: ratio(detected, self.windows.len()),
            seconds_to_detect: seconds,
        }
    }
}

impl Window {
    fn holds(&self, time: Timestamp) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"a.csv": [["2014-01-02 00:00:00.000000", "2014-01-02 12:00:00.000000"],
        ["2014-01-01 00:00:00", "2014-01-01 06:00:00"]], "b.csv": []}"#;

    fn times(texts: &[&str]) -> Vec<Timestamp> {
        texts.iter().map(|text| moment::parse(text).unwrap()).collect()
    }

    #[test]
    fn precision_counts_firings_and_recall_windows() {
        let labels = Labels::parse(TEXT, Some("a.csv")).unwrap();
        // The ends belong to a window; the last firing is in none.
        let fired = ["2014-01-01 06:00:00", "2014-01-01 01:00:00", "2014-01-01 00:30:00", "2014-01-03 00:00:00"];
        let score = labels.score(&times(&fired));
        assert_eq!((score.firings, score.firings_in_windows), (4, 3));
        assert_eq!((score.windows, score.windows_detected), (2, 1));
        assert_eq!((score.precision, score.recall), (Some(0.75), Some(0.5)));
        assert_eq!(score.seconds_to_detect, [Some(1800.0), None]);
    }

    #[test]
    fn without_firings_there_is_no_precision_and_without_windows_no_recall() {
        let silent = Labels::parse(TEXT, Some("a.csv")).unwrap().score(&[]);
        assert_eq!((silent.precision, silent.recall), (None, Some(0.0)));
        let unlabelled = Labels::parse(TEXT, Some("b.csv")).unwrap().score(&times(&["2014-01-01"]));
        assert_eq!((unlabelled.precision, unlabelled.recall), (Some(0.0), None));
    }

    #[test]
    fn what_is_wrong_with_labels_is_named() {
        let error = |text: &str, name| format!("{:#}", Labels::parse(text, name).unwrap_err());
        assert!(error(TEXT, None).contains("`a.csv`, `b.csv`"));
        assert!(error(TEXT, Some("c.csv")).contains("no recording `c.csv`"));
        assert!(error(r#"{"a": [["2014-01-01", "soon"]]}"#, None).contains("`soon`"));
        assert!(error(r#"{"a": [["2014-01-02", "2014-01-01"]]}"#, None).contains("ends before it begins"));
        assert!(error("[]", None).contains("expected JSON of the shape"));
    }
}
