//! Listing runs, newest first.

use redb::ReadableDatabase;

use super::{PLANS, RUNS, Store, StoreError};
use crate::workflows::limits;
use crate::workflows::view::{RunFilter, RunPage};

impl Store {
    /// Runs with numbers below `before` that `filter` takes, at most `limit`. It looks at a bounded number of runs,
    /// so a page may hold fewer although more follow.
    pub(in crate::workflows) fn list(
        &self,
        filter: &RunFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<RunPage, StoreError> {
        let read = || -> Result<RunPage, redb::Error> {
            let transaction = self.database.begin_read()?;
            let (table, plans) = (transaction.open_table(RUNS)?, transaction.open_table(PLANS)?);
            let mut page = RunPage::default();
            for (looked_at, entry) in table.range(..before.unwrap_or(u64::MAX))?.rev().enumerate() {
                if page.runs.len() >= limit || looked_at >= limits::SCAN {
                    return Ok(page);
                }
                let (number, json) = entry?;
                let run = self.decode(json.value(), &plans)?;
                page.next = Some(number.value());
                if filter.takes(&run) {
                    page.runs.push((&run).into());
                }
            }
            page.next = None;
            Ok(page)
        };
        read().map_err(|error| self.failed(error))
    }
}
