//! What the sink promises, on a real directory.

mod crash;
mod events;
mod freshness;
mod history;
mod layout;
mod measure;
mod owners;
mod property;
mod roundtrip;
mod shared;
mod stale;
mod support;
mod together;
mod traces;
