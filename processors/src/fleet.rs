//! What the fleet measures, for dashboards, without a series for each device: by metric and site, and how many devices
//! are heard of.
//!
//! Bounded, whatever devices send: [`PAIRS`] pairs of metric and site, first come, first served until the process ends;
//! readings of all others, and of names that are no labels ([`NAME_BYTES`]), are counted under `other`. Devices are
//! known by a hash of their name, see `devices`.
//!
//! In reading order: `columns`, `pairs` (what is known of a metric at a site), `minute` (the values of one minute),
//! `rows` (a batch to pairs), `devices`, `show` (series).

mod columns;
mod devices;
mod minute;
mod pairs;
mod rows;
mod show;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute;
use prometheus::Registry;
use telemetry::{Clock, Timestamp};

use self::columns::Columns;
use self::devices::Devices;
use self::pairs::Pairs;

/// Most pairs of metric and site, `other` not counted: each has five series.
pub const PAIRS: usize = 256;
/// Longest name of a metric or a site, in bytes, that becomes the value of a label. Longer ones, and names with control
/// characters, are `other`.
pub const NAME_BYTES: usize = 64;

/// The fleet as this process sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    state: Arc<Mutex<State>>,
    /// There once something observes: what is shown depends on the time.
    clock: Arc<OnceLock<Arc<dyn Clock>>>,
    descs: Arc<show::Descs>,
}

#[derive(Debug, Default)]
struct State {
    pairs: Pairs,
    devices: Devices,
}

impl Fleet {
    /// Registers the metrics; they are shown once there is a clock.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let (state, clock, descs) = (Arc::default(), Arc::default(), Arc::new(show::Descs::new()?));
        let fleet = Self { state, clock, descs };
        registry.register(Box::new(fleet.clone()))?;
        Ok(fleet)
    }

    /// Shows it from now on, by `clock`. The first one stays.
    pub(crate) fn keep_time(&self, clock: &Arc<dyn Clock>) {
        self.clock.get_or_init(|| clock.clone());
    }

    /// Takes in `batch` of the stream `readings`, which repeats nothing.
    pub(crate) fn observe(&self, batch: &RecordBatch) {
        let (Some(columns), Some(clock)) = (Columns::of(batch), self.clock.get()) else { return };
        let Some(newest) = compute::max(columns.received) else { return };
        let mut state = self.state();
        rows::observe(&mut state.pairs, &columns, clock.now());
        // A record spans milliseconds: one time for all its devices.
        for device in columns.devices.iter().flatten() {
            state.devices.see(device, Timestamp::from_micros(newest));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
