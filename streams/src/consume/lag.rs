//! Lag of a consumer group, reported also while its effect is stuck.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use telemetry::Timestamp;

use super::{ConsumerConfig, Context, Passed};
use crate::contract::Partition;

const INTERVAL: Duration = Duration::from_millis(500);

pub(super) struct Lag {
    context: Context,
    config: ConsumerConfig,
    /// By partition: first offset not applied, and since when something waits there.
    places: Mutex<BTreeMap<u32, Place>>,
}

#[derive(Clone, Copy)]
struct Place {
    next: u64,
    waiting_since: Option<Timestamp>,
}

impl Lag {
    /// Of a consumer that stands at `passed`, which is everything in the stream if it was idle when it stopped.
    pub(super) fn new(context: Context, config: ConsumerConfig, passed: impl Iterator<Item = Passed>) -> Self {
        let place = |passed: Passed| (passed.partition, Place { next: passed.next, waiting_since: None });
        Self { context, config, places: Mutex::new(passed.map(place).collect()) }
    }

    /// Everything before `next` is applied; the last record of it was appended at `appended_at`.
    pub(super) fn passed(&self, partition: u32, next: u64, appended_at: Timestamp) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(partition, Place { next, waiting_since: Some(appended_at) });
    }

    /// Reports for ever.
    pub(super) async fn report(&self) {
        loop {
            self.report_once();
            tokio::time::sleep(INTERVAL).await;
        }
    }

    pub(super) fn report_once(&self) {
        for &index in &self.config.partitions {
            let Ok(bounds) = self.context.streams.bounds(&Partition::new(self.config.stream.clone(), index)) else {
                continue;
            };
            let Some((records, seconds)) = self.measure(index, bounds.end) else { continue };
            let (group, stream, partition) = (&*self.config.group, self.config.stream.as_str(), index.to_string());
            let labels = [group, stream, partition.as_str()];
            self.context.metrics.lag_records.with_label_values(&labels).set(i64::try_from(records).unwrap_or(i64::MAX));
            self.context.metrics.lag_seconds.with_label_values(&labels).set(seconds);
        }
    }

    fn measure(&self, partition: u32, end: u64) -> Option<(u64, f64)> {
        let now = self.context.clock.now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.get_mut(&partition)?;
        let records = end.saturating_sub(place.next);
        if records == 0 {
            place.waiting_since = None;
            return Some((0, 0.0));
        }
        let since = *place.waiting_since.get_or_insert(now);
        Some((records, now.since(since).as_secs_f64()))
    }
}
