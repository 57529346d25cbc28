//! The bridge as a broker sees it: a stub that does what brokers must not, and a Mosquitto.

mod acknowledging;
mod held;
mod meeting;
mod mosquitto;
mod reading;
mod stopping;
mod stub;
mod traces;
mod trouble;
mod window;
mod world;
