//! The executor, with streams in memory, a real outbox, a clock that tests move, and targets that do as they are told.

mod commands;
mod crashes;
mod exactly_once;
mod limits;
pub(super) mod plans;
mod property;
mod script;
mod shares;
mod speed;
mod steps;
mod targets;
mod traces;
mod world;
