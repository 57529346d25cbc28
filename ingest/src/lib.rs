//! The door: takes messages from devices, and acknowledges them when they are durable.
//!
//! ```text
//!  MQTT 3.1.1 / 5 ──> mqtt ──> admission ──> intake: the open group ──> committer ──> streams
//!        ^              │          └ refused: whole, to `dead_letters`       │
//!        └── PUBACK ────┴───────────── "group n is durable" ─────────────────┘
//! ```
//!
//! It decides what gets in, and when a sender may forget a message; it does not deduplicate, evaluate rules
//! or write tables. In reading order: [`config`], [`admission`] (may it come in), [`intake`] (the open group
//! and its commits; every door uses it), [`live`] (readings for those who watch), [`commands`] (what devices are
//! told), [`mqtt`] (the endpoint), [`door`] (start and stop), [`bridge`] (from a broker, beside the endpoint),
//! [`metrics`].

pub mod admission;
pub mod bridge;
pub mod commands;
pub mod config;
pub mod door;
pub mod intake;
pub mod live;
pub mod metrics;
pub mod mqtt;

pub use bridge::{Bridge, BridgeConfig, BridgeMetrics, BridgeState};
pub use commands::{Commands, SendError};
pub use config::IngestConfig;
pub use door::{Ingest, StartError, StopError};
pub use intake::{Closed, Incoming, IngestState, Intake, Receipt};
pub use metrics::{IngestMetrics, Passage};
