//! What the sink promises, on a real directory.

mod crash;
mod events;
mod layout;
mod measure;
mod property;
mod roundtrip;
mod support;
