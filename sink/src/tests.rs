//! What the sink promises, on a real directory.

mod crash;
mod layout;
mod measure;
mod property;
mod roundtrip;
mod support;
