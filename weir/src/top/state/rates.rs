//! What happens in a second, from two snapshots of one process.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::snapshot::Snapshot;
use crate::top::figures::float;

/// A count of what happened since a process started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::top) enum Series {
    ReceivedMessages,
    ReceivedReadings,
    AcknowledgedReadings,
    AppendedRecords,
    AppendedBytes,
    /// Messages refused for a reason.
    Rejected(String),
    /// Rows that a group read in a stream.
    GroupRows(String, String),
    /// Rows committed to a table.
    TableRows(String),
    /// Times that a rule was true.
    Matches(String),
    /// Firings that reached the executor of workflows.
    Firings,
    /// Readings of a metric at a site.
    Fleet(String, String),
}

/// All counts of a process, at one moment.
pub(super) type Counts = BTreeMap<Series, f64>;

/// The counts in `snapshot`.
pub(super) fn counts(snapshot: &Snapshot) -> Counts {
    let totals = &snapshot.totals;
    let mut counts = Counts::from([
        (Series::ReceivedMessages, float(totals.received_messages.unwrap_or(0))),
        (Series::ReceivedReadings, float(totals.received_readings.unwrap_or(0))),
        (Series::AcknowledgedReadings, float(totals.acknowledged_readings.unwrap_or(0))),
        (Series::AppendedRecords, float(totals.appended_records.unwrap_or(0))),
        (Series::AppendedBytes, float(totals.appended_bytes.unwrap_or(0))),
        (Series::Firings, float(snapshot.workflows.as_ref().map_or(0, |workflows| workflows.firings))),
    ]);
    counts.extend(totals.rejected.iter().map(|(reason, count)| (Series::Rejected(reason.clone()), float(*count))));
    for group in &snapshot.groups {
        counts.insert(Series::GroupRows(group.group.clone(), group.stream.clone()), float(group.read_rows));
    }
    counts.extend(snapshot.tables.iter().map(|table| (Series::TableRows(table.table.clone()), float(table.rows))));
    counts.extend(snapshot.rules.iter().map(|rule| (Series::Matches(rule.rule.clone()), float(rule.matches))));
    for pair in &snapshot.fleet {
        counts.insert(Series::Fleet(pair.metric.clone(), pair.site.clone()), float(pair.readings));
    }
    counts
}

/// Whether the process was started anew between two snapshots: a count is smaller than it was, or it says so.
pub(super) fn restarted(before: (&Snapshot, &Counts), after: (&Snapshot, &Counts)) -> bool {
    let is_another = before.0.started_ms.zip(after.0.started_ms).is_some_and(|(before, after)| before != after);
    is_another || is_smaller(before.1, after.1)
}

fn is_smaller(before: &Counts, after: &Counts) -> bool {
    after.iter().any(|(series, count)| before.get(series).is_some_and(|before| count < before))
}

/// What happened in each second of `time` that made `before` into `after`. What a process has not told of before was zero,
/// as all is before a start.
pub(super) fn between(before: &Counts, after: &Counts, time: Duration) -> BTreeMap<Series, f64> {
    let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
    let was = |series| before.get(series).copied().unwrap_or(0.0);
    after.iter().map(|(series, count)| (series.clone(), (count - was(series)) / seconds)).collect()
}

/// The rates of several processes together.
pub(super) fn sum<'a>(sources: impl Iterator<Item = &'a BTreeMap<Series, f64>>) -> BTreeMap<Series, f64> {
    let mut all = BTreeMap::new();
    for (series, rate) in sources.flatten() {
        *all.entry(series.clone()).or_insert(0.0) += rate;
    }
    all
}
