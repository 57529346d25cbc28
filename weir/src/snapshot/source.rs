//! Makes snapshots of one process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use streams::Streams;
use telemetry::Clock;
use tokio::sync::Mutex;

use super::alerts::Newest;
use super::series::Series;
use super::{Alert, Ready, Snapshot, parts};
use crate::http::Readiness;

/// Streams that do not answer by then have no new alerts: the rest of the snapshot is wanted all the same.
const ALERTS_WITHIN: Duration = Duration::from_secs(2);

/// What snapshots are made of. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Source {
    stage: &'static str,
    registry: Registry,
    readiness: Readiness,
    streams: Arc<dyn Streams>,
    clock: Arc<dyn Clock>,
    newest: Arc<Mutex<Newest>>,
}

impl Source {
    /// Of the process that does `stage`.
    pub(crate) fn new(
        stage: &'static str,
        registry: Registry,
        readiness: Readiness,
        streams: Arc<dyn Streams>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { stage, registry, readiness, streams, clock, newest: Arc::default() }
    }

    /// The process now.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let alerts = self.alerts().await;
        let series = Series::of(&self.registry);
        let reason = (self.readiness)().err();
        Snapshot {
            time_ms: self.clock.now().as_micros() / 1000,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stage: self.stage.to_owned(),
            started_ms: parts::started(&series),
            ready: Ready { ok: reason.is_none(), reason },
            totals: parts::totals(&series),
            streams: parts::streams(&series),
            groups: parts::groups(&series),
            tables: parts::tables(&series),
            rules: parts::rules(&series),
            workflows: parts::workflows(&series),
            fleet: parts::fleet(&series),
            devices: parts::devices(&series),
            balance: parts::balance(&series),
            latencies: parts::latencies(&series),
            alerts,
        }
    }

    async fn alerts(&self) -> Vec<Alert> {
        let mut newest = self.newest.lock().await;
        match tokio::time::timeout(ALERTS_WITHIN, newest.read(self.streams.as_ref())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "no new alerts can be read"),
            Err(_) => tracing::debug!("no new alerts can be read: the streams do not answer"),
        }
        newest.alerts().to_vec()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("stage", &self.stage).finish_non_exhaustive()
    }
}
