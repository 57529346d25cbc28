//! The binary as a user runs it. `WEIR_BIN` names another build of it, `WEIR_PYTHON` the Python of the readers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails should say where")]

mod backtest;
mod client;
mod clients;
mod command_line;
mod dashboards;
mod demo;
mod deploy;
mod dlq;
mod explain;
mod kills;
mod layers;
mod metrics;
mod page;
#[path = "../../src/ports.rs"]
mod ports;
mod process;
mod readers;
mod recording;
mod rules;
mod stages;
mod streams;
mod top;
mod workflows;
