//! The exit: Arrow batches to a Parquet table with a Delta Lake log, committed exactly once.
//!
//! Not a query engine and not a catalog: it writes one table per [`TableSpec`] under one root, and reads
//! back only what it needs to go on after a crash and what `weir verify` compares. A table belongs to one
//! process, or is shared by several that each write their own partitions ([`SinkConfig::shared`]).
//!
//! ```text
//! ROOT/readings/_delta_log/00000000000000000007.json
//! ROOT/readings/date=2026-07-28/hour=09/part-00003-00000000000000001200-00000000000000001299.parquet
//! STAGING/readings/0.staged                     (outside the table, so that no glob sees half a file)
//!
//! ROOT/readings/date=2026-07-28/hour=09/part-00003-…-…-0000000007.parquet     shared: with the owner's epoch
//! ROOT/.staging/readings/00003-0000000007-…/0.staged                          shared: one for each owner
//! ```
//!
//! In reading order: [`spec`] (the tables), [`config`], [`effect`] (what the consume loop drives), `buffer`
//! (rows held until a flush), `arrange` and `dictionary` (rows sorted, cut by hour), `file` (one Parquet
//! file), `compute` (where both are done), `layout` (names), `commit` (the three steps of a commit), `record` (the
//! third of them), `trace` (its spans), `recovery` (what a restart does first), `lock`, `ownership` (partitions of a
//! shared table) and `leftovers` (of an unfinished commit), `delta` (the log), `durable` (the file system), [`table`]
//! (the table as a reader sees it), [`metrics`], [`error`].

pub mod config;
pub mod effect;
pub mod error;
pub mod metrics;
pub mod spec;
pub mod table;

mod arrange;
mod buffer;
mod commit;
mod compute;
mod delta;
mod dictionary;
mod durable;
mod file;
mod layout;
mod leftovers;
mod lock;
mod ownership;
mod record;
mod recovery;
mod trace;

#[cfg(test)]
mod tests;

pub use config::SinkConfig;
pub use effect::TableSink;
pub use error::SinkError;
pub use metrics::SinkMetrics;
pub use spec::TableSpec;
pub use table::Table;
