//! Runs of an executor that does not run.

use std::fmt;
use std::path::Path;

use super::handle::{WorkflowsError, find};
use super::run::key_of;
use super::store::Store;
use super::view::RunDetail;

/// The runs as they were when their executor stopped. Looking at them changes nothing on disk.
pub struct StoppedRuns {
    store: Store,
}

impl StoppedRuns {
    /// Reads the outbox `workflows.redb` in `dir` into memory; `None` if there is none. Blocks.
    ///
    /// # Errors
    /// [`WorkflowsError::Store`] if a process writes it, it is damaged, or larger than
    /// [`super::limits::COPY_BYTES`].
    pub fn read(dir: &Path) -> Result<Option<Self>, WorkflowsError> {
        Ok(Store::copy(dir)?.map(|store| Self { store }))
    }

    /// The run of this id. Blocks.
    ///
    /// # Errors
    /// [`WorkflowsError::Store`].
    pub fn show(&self, id: &str) -> Result<Option<RunDetail>, WorkflowsError> {
        let run = find(&self.store, key_of(id))?;
        Ok(run.filter(|run| run.firing.run_id == id).map(|run| RunDetail::from(&run)))
    }
}

impl fmt::Debug for StoppedRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoppedRuns").field("store", &self.store).finish()
    }
}
