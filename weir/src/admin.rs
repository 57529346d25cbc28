//! The admin interface of a running process, seen from another one: what `weir rules list`, `weir dlq` and
//! `weir workflows` ask.

pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod table;

pub(crate) use client::AdminClient;
