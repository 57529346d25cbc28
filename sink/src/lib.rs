//! The exit: Arrow batches to a Parquet table with a Delta Lake log, committed exactly once.
//!
//! Not a query engine and not a catalog: it writes one table per [`TableSpec`] under one root, and reads
//! back only what it needs to go on after a crash and what `weir verify` compares.
//!
//! ```text
//! ROOT/readings/_delta_log/00000000000000000007.json
//! ROOT/readings/date=2026-07-28/hour=09/part-00003-00000000000000001200-00000000000000001299.parquet
//! STAGING/readings/0.staged                     (outside the table, so that no glob sees half a file)
//! ```
//!
//! In reading order: [`spec`] (the tables), [`config`], [`effect`] (what the consume loop drives), `buffer`
//! (rows held until a flush), `arrange` and `dictionary` (rows sorted, cut by hour), `file` (one Parquet
//! file), `layout` (names), `commit` (the three steps of a commit), `recovery` (what a restart does first),
//! `delta` (the log), `durable` (the file system), [`table`] (the table as a reader sees it), [`metrics`],
//! [`error`].

pub mod config;
pub mod effect;
pub mod error;
pub mod metrics;
pub mod spec;
pub mod table;

mod arrange;
mod buffer;
mod commit;
mod delta;
mod dictionary;
mod durable;
mod file;
mod layout;
mod recovery;

#[cfg(test)]
mod tests;

pub use config::SinkConfig;
pub use effect::TableSink;
pub use error::SinkError;
pub use metrics::SinkMetrics;
pub use spec::TableSpec;
pub use table::Table;
