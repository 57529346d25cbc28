//! Streams on a Fluvio cluster.
//!
//! Weaker than the embedded log in one point that cannot be made up here: an append is acknowledged when it is in the
//! page cache of the leader, and with two replicas in that of a follower; the cluster never syncs its files.
//!
//! In reading order: `envelope` (what a record is), `copies` (records that came twice), `records` (batches, and whether
//! they arrived whole), `tls`, `connection` and `cluster` (whom to ask), `admin` (topics), `bounds` and `watcher` (where
//! partitions end), `hidden` (what servers keep to themselves), `fetch` and `reader`, `produce` and `producer`, `topic` and `groups` (who reads what), `streams`,
//! `import`; `limits`. See docs/adr/0013-streams-on-fluvio.md.

mod admin;
mod bounds;
mod cluster;
mod config;
mod connection;
mod copies;
mod destination;
mod envelope;
mod fetch;
mod groups;
mod hidden;
mod import;
mod limits;
mod metrics;
mod produce;
mod producer;
mod reader;
mod records;
mod streams;
mod tls;
mod topic;
mod watcher;

pub use config::{FluvioConfig, Tls};
pub use metrics::FluvioMetrics;
pub use streams::FluvioStreams;
