//! The log of a table, by the Delta Lake protocol (reader version 1, writer version 2).
//!
//! ```text
//! _delta_log/00000000000000000000.json                 protocol, metaData
//! _delta_log/00000000000000000001.json                 add, add, txn, commitInfo
//! _delta_log/00000000000000000100.checkpoint.parquet   all of 0..=100 that still holds
//! _delta_log/_last_checkpoint                          {"version":100,"size":812}
//! ```
//!
//! One file is one commit, and its name is free or taken: that decides who wrote it. Commits and old
//! checkpoints are never deleted. Why not a library: docs/adr/0006.

pub(crate) mod action;
pub(crate) mod application;
pub(crate) mod checkpoint;
pub(crate) mod log;
pub(crate) mod schema;
pub(crate) mod stats;

#[cfg(test)]
mod tests;

pub(crate) use action::{Action, Add, Txn};
pub(crate) use log::Snapshot;

/// Directory of the log, below the table.
pub(crate) const LOG_DIR: &str = "_delta_log";
/// Highest protocol versions this code understands: reader, writer.
pub(crate) const PROTOCOL: (i32, i32) = (1, 2);
