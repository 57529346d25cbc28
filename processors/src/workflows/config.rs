//! Settings of the executor, as plain data.

use std::time::Duration;

use super::limits;

/// Settings of the executor. Defaults are those of [`WorkflowsConfig::default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowsConfig {
    /// The partitions of the stream `workflows` whose runs are for this executor; `None` for all. The outbox remembers
    /// them. Default all.
    pub partitions: Option<Vec<u32>>,
    /// Most attempts at one target at the same time, at least 1. Default 16.
    pub concurrency: usize,
    /// Most steps of one target that wait in memory, at least 1; those beyond wait in the store. Default 65,536.
    pub window: usize,
    /// Failures in a row after which a target's circuit breaker opens, at least 1. Default 5.
    pub breaker_failures: u32,
    /// How long it stays open the first time; doubled each time the attempt after it fails too. Default 5 s.
    pub breaker_open: Duration,
    /// The longest that gets. Default 60 s.
    pub breaker_open_cap: Duration,
    /// How long a run that ended is kept, its key, and a run that waits with a dead letter. A firing whose key comes
    /// again later runs again. Default 7 days.
    pub keep: Duration,
    /// Most runs that ended whose details are kept; their keys stay. Default 100,000.
    pub keep_runs: u64,
    /// Most runs that have not ended, those that wait with a dead letter included. What fires beyond becomes a dead
    /// letter whole. Default 1,000,000.
    pub max_pending: u64,
    /// How old a change may get before it is written. After a crash, steps done within it are done again, with the
    /// same key. Default 200 ms.
    pub commit_interval: Duration,
}

impl Default for WorkflowsConfig {
    fn default() -> Self {
        Self {
            partitions: None,
            concurrency: limits::CONCURRENCY,
            window: limits::WINDOW,
            breaker_failures: 5,
            breaker_open: Duration::from_secs(5),
            breaker_open_cap: Duration::from_secs(60),
            keep: Duration::from_secs(7 * 24 * 3600),
            keep_runs: 100_000,
            max_pending: 1_000_000,
            commit_interval: Duration::from_millis(200),
        }
    }
}
