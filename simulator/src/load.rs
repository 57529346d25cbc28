//! A load generator: as many messages as the server acknowledges (closed loop), or a fixed number a second
//! (open loop), for `weir bench`.
//!
//! A message costs the copy of a ready-made packet and a few digits: far less than what it costs the server,
//! with which the generator shares the machine. It is no device: it does not reconnect, and what is wrong with
//! an acknowledgement (out of order, twice, of nothing) ends the run with an error.

mod lane;
mod pacer;
mod report;
mod template;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use telemetry::{Clock, limits};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::identity;
use crate::outbox;

use lane::{Lane, Outcome, Pace, Phases};
use pacer::{Pacer, Schedule};
pub use report::{Latency, LoadReport};
use template::Template;

/// What load, on how many connections, for how long.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// MQTT server, `host:port`.
    pub mqtt: String,
    /// Connections, from 1.
    pub connections: u32,
    /// Devices on each connection, from 1; they take turns.
    pub devices_per_connection: u32,
    /// Most messages of a connection without their PUBACK, 1 to 65,535.
    pub in_flight: u16,
    /// Readings in a message, from 1.
    pub readings_per_message: usize,
    /// Messages in all, the warm-up's included; `None` for as many as the duration allows.
    pub messages: Option<u64>,
    /// How long to measure, after the warm-up; `None` for until all messages are sent. One of the two must be
    /// given.
    pub duration: Option<Duration>,
    /// Messages a second of all connections, sent on schedule whether or not the server keeps up (up to
    /// `in_flight`), with latency counted from the scheduled time. `None` for as many as are acknowledged.
    pub rate: Option<f64>,
    /// How long to load before measuring.
    pub warmup: Duration,
    /// How long to wait while no PUBACK comes.
    pub drain: Duration,
    /// Devices are named by it and a number.
    pub prefix: String,
    /// Topic to publish to, with places `{site}` (which is `bench`) and `{device_id}`.
    pub topic: String,
    /// Restart counter of the devices; `None` for the seconds of the clock at the start.
    pub boot: Option<i64>,
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self {
            mqtt: "127.0.0.1:1883".into(),
            connections: 64,
            devices_per_connection: 1,
            in_flight: 512,
            readings_per_message: 1,
            messages: None,
            duration: Some(Duration::from_secs(10)),
            rate: None,
            warmup: Duration::from_secs(2),
            drain: Duration::from_secs(10),
            prefix: "bench".into(),
            topic: "{site}/{device_id}/telemetry".into(),
            boot: None,
        }
    }
}

/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Loads the server until the messages or the duration are over, or `stop` is true (or its sender gone), then
/// waits for what is not acknowledged yet.
///
/// # Errors
/// If the configuration makes no sense, a connection fails, or the server acknowledges out of order or what
/// it was not sent. That some messages are never acknowledged is no error: the report says how many.
pub async fn run(config: LoadConfig, clock: Arc<dyn Clock>, stop: watch::Receiver<bool>) -> anyhow::Result<LoadReport> {
    check(&config)?;
    let boot = config.boot.unwrap_or_else(|| identity::boot_now(&*clock));
    let mut lanes = Vec::new();
    for number in 0..config.connections {
        let name = format!("{}-load-{number}", config.prefix);
        let connection = Connection::open(&config.mqtt, &name, lane::KEEP_ALIVE, lane::READ_BYTES, CONNECT_WITHIN)
            .await
            .with_context(|| format!("connection {number} to {}", config.mqtt))?;
        lanes.push((number, connection, templates(&config, number, boot)?));
    }
    let phases = Phases::new(&config, &*clock);
    let wakers: Vec<Arc<Notify>> = lanes.iter().map(|_| Arc::new(Notify::new())).collect();
    let schedule = config.rate.map(|rate| Schedule { start: phases.start, rate, connections: config.connections });
    let pacer = schedule.map(|schedule| Pacer::start(schedule, Arc::clone(&clock), wakers.clone()));
    let mut tasks = JoinSet::new();
    for ((number, connection, templates), due) in lanes.into_iter().zip(wakers) {
        let messages = config.messages.map(|all| share(all, number, config.connections));
        let pace = schedule.map(|schedule| Pace { schedule, number, due });
        let lane = Lane::new(connection, templates, config.in_flight, messages, phases, pace);
        let (clock, stop) = (Arc::clone(&clock), stop.clone());
        tasks.spawn(async move { lane.run(&*clock, stop).await.with_context(|| format!("connection {number}")) });
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    while let Some(task) = tasks.join_next().await {
        outcomes.push(task.context("a connection panicked")??);
    }
    if let Some(pacer) = pacer {
        pacer.finish().await.context("the pacer panicked")?;
    }
    Ok(report::report(outcomes, phases.warm_at, config.readings_per_message))
}

fn check(config: &LoadConfig) -> anyhow::Result<()> {
    ensure!(config.connections > 0, "connections: expected at least 1");
    ensure!(config.devices_per_connection > 0, "devices_per_connection: expected at least 1");
    let most = outbox::MAX_CAPACITY;
    ensure!(config.in_flight > 0, "in_flight: 0 is not in 1..={most}");
    let (readings, most) = (config.readings_per_message, limits::READINGS_PER_MESSAGE);
    ensure!((1..=most).contains(&readings), "readings_per_message: {readings} is not in 1..={most}");
    ensure!(config.messages.is_some() || config.duration.is_some(), "messages or duration: expected one of them");
    if let Some(rate) = config.rate {
        ensure!(rate.is_finite() && rate > 0.0, "rate: {rate} is not above 0");
    }
    identity::check_boot(config.boot)
}

fn templates(config: &LoadConfig, connection: u32, boot: i64) -> anyhow::Result<Vec<Template>> {
    let first = u64::from(connection) * u64::from(config.devices_per_connection);
    let mut templates = Vec::new();
    for number in first..first + u64::from(config.devices_per_connection) {
        let device = format!("{}-{number:05}", config.prefix);
        identity::check_device(&device)?;
        let topic = identity::topic(&config.topic, &[("site", "bench"), ("device_id", &device)])?;
        templates.push(Template::new(&topic, &device, boot, config.readings_per_message));
    }
    Ok(templates)
}

/// Part `number` of `all` in `parts` parts.
fn share(all: u64, number: u32, parts: u32) -> u64 {
    all / u64::from(parts) + u64::from(u64::from(number) < all % u64::from(parts))
}
