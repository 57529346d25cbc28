//! Where partitions begin and end, by what the cluster said last.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use telemetry::Clock;
use tokio::sync::watch;

use super::cluster::Place;
use super::limits::{LOWER_END, READ_LATELY};
use super::metrics::FluvioMetrics;

/// What is known of all partitions.
#[derive(Debug)]
pub(super) struct Bounds {
    spans: Mutex<BTreeMap<Place, Span>>,
    clock: Arc<dyn Clock>,
    metrics: FluvioMetrics,
    /// Counts what became durable.
    changed: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
struct Span {
    offsets: Range<u64>,
    /// Since when the cluster says that the partition ends before that.
    lower_since: Option<Duration>,
    read_at: Option<Duration>,
}

impl Bounds {
    pub(super) fn new(places: impl IntoIterator<Item = Place>, clock: Arc<dyn Clock>, metrics: FluvioMetrics) -> Self {
        let spans = places.into_iter().map(|place| (place, Span::default())).collect();
        Self { spans: Mutex::new(spans), clock, metrics, changed: watch::Sender::new(0) }
    }

    /// Offsets of the cluster; `None` if the partition is unknown.
    pub(super) fn of(&self, place: &Place) -> Option<Range<u64>> {
        self.spans().get(place).map(|span| span.offsets.clone())
    }

    /// Changes whenever an end moved.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Somebody reads `place`: its end is asked for often.
    pub(super) fn wanted(&self, place: &Place) {
        let now = self.clock.monotonic();
        if let Some(span) = self.spans().get_mut(place) {
            span.read_at = Some(now);
        }
    }

    /// All partitions, or only those read lately.
    pub(super) fn places(&self, all: bool) -> Vec<Place> {
        let now = self.clock.monotonic();
        let lately = |span: &Span| span.read_at.is_some_and(|at| now.saturating_sub(at) < READ_LATELY);
        self.spans().iter().filter(|(_, span)| all || lately(span)).map(|(place, _)| place.clone()).collect()
    }

    /// `place` ends at `end` or later: somebody appended there, or found records there.
    pub(super) fn raise(&self, place: &Place, end: u64) {
        let mut spans = self.spans();
        let Some(span) = spans.get_mut(place).filter(|span| span.offsets.end < end) else { return };
        span.offsets.end = end;
        span.lower_since = None;
        drop(spans);
        self.changed.send_modify(|count| *count += 1);
    }

    /// The leader of `place` says that it has `told`. Ends that come before those known are believed only when the
    /// leader insists; what is between was lost by the cluster.
    pub(super) fn told(&self, place: &Place, told: Range<u64>) {
        let now = self.clock.monotonic();
        let mut spans = self.spans();
        let Some(span) = spans.get_mut(place) else { return };
        span.offsets.start = span.offsets.start.max(told.start);
        let known = span.offsets.end;
        if told.end < known {
            let since = *span.lower_since.get_or_insert(now);
            if now.saturating_sub(since) < LOWER_END {
                return;
            }
            tracing::error!(topic = %place.0, partition = place.1, known, told = told.end, "the cluster lost records");
            self.metrics.went_back.with_label_values(&[&*place.0]).inc();
            span.offsets = told.start.min(told.end)..told.end;
        }
        span.offsets.end = told.end;
        span.lower_since = None;
        drop(spans);
        if told.end != known {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    fn spans(&self) -> MutexGuard<'_, BTreeMap<Place, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
