//! What the payload formats promise from the outside: round trips, no panics, the columns in the end, the speed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise, and say where")]

mod columns;
mod encode;
mod properties;
mod speed;
