//! Streams on a Fluvio cluster.
//!
//! Weaker than the embedded log in one point that cannot be made up here: an append is acknowledged when it is in the
//! page cache of the leader, and with two replicas in that of a follower; the cluster never syncs its files.

mod config;
mod topic;

pub use config::{FluvioConfig, Tls};
