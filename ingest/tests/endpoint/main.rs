//! The endpoint as its clients see it: real sockets, raw packets and two client libraries, over streams in
//! memory that can hold back, refuse and fail.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that meets something else is to fail there"
)]

mod bounds;
#[path = "../bridge/mod.rs"]
mod bridge;
mod commands;
mod door;
mod gate;
mod kept;
mod libraries;
mod live;
mod loss;
mod protocol;
mod publishing;
mod put_back;
mod raw;
mod refusals;
mod stopping;
mod traces;
mod trouble;
