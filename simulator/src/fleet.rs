//! Many devices in one process, all by one seed.
//!
//! The same seed, start time and boot give the same messages, to the byte: a message belongs to the moment it
//! is due, not to the moment it can be sent.

mod device;
mod signals;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use telemetry::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::identity;
use crate::ledger;
use crate::outbox;
use crate::progress::{Progress, Summary};
use crate::publisher::{Device, Patience, Publisher, Run};

use device::Simulated;
pub use signals::METRICS;

/// Which fleet publishes what, where and for how long.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// MQTT server, `host:port`.
    pub mqtt: String,
    /// Number of devices, from 1.
    pub devices: u32,
    /// Messages a second of the whole fleet, above 0.
    pub rate: f64,
    /// How long to publish; `None` for until stopped.
    pub duration: Option<Duration>,
    /// All that is random follows from it.
    pub seed: u64,
    /// Restart counter of all devices; `None` for the seconds of the clock at the start.
    pub boot: Option<i64>,
    /// Devices are named by it and a number: `device` gives `device-0000`, `device-0001`, ...
    pub prefix: String,
    /// Where the devices stand, in turn; at least one.
    pub sites: Vec<String>,
    /// Topic to publish to, with places `{site}` and `{device_id}`.
    pub topic: String,
    /// File of what was acknowledged; one that exists is continued.
    pub ledger: PathBuf,
    /// Most messages of a device without their PUBACK, 1 to 65,535. When so many wait, the device makes no new
    /// ones and falls behind.
    pub in_flight: usize,
    /// How long to wait for PUBACKs at the end.
    pub drain: Duration,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            mqtt: "127.0.0.1:1883".into(),
            devices: 200,
            rate: 1000.0,
            duration: None,
            seed: 1,
            boot: None,
            prefix: "device".into(),
            sites: ["hall-a", "hall-b", "yard"].map(String::from).to_vec(),
            topic: "{site}/{device_id}/telemetry".into(),
            ledger: "ledger.csv".into(),
            in_flight: 64,
            drain: Duration::from_secs(30),
        }
    }
}

/// One device in this many speaks flat JSON, the others SenML.
const FLAT_ONE_IN: u32 = 5;
/// Connections are opened one after the other, this far apart: a server's backlog is limited.
const CONNECT_APART: Duration = Duration::from_micros(500);

/// Runs the fleet until its duration is over or `stop` is true (or its sender gone), then waits for what is not
/// acknowledged yet. A connection that fails is opened again, for ever.
///
/// # Errors
/// If the configuration makes no sense, or the ledger cannot be written; not if the server cannot be reached.
pub async fn run(
    config: FleetConfig,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
    progress: Arc<Progress>,
) -> anyhow::Result<Summary> {
    check(&config)?;
    let (start, now) = (clock.monotonic(), clock.now());
    let fleet = fleet(&config, now, start, config.boot.unwrap_or_else(|| identity::boot_now(&*clock)))?;
    let ledger = ledger::Writer::open(&config.ledger)?;
    let run = Arc::new(Run {
        mqtt: config.mqtt,
        clock,
        progress: Arc::clone(&progress),
        until: config.duration.map(|duration| start + duration),
        drain: config.drain,
        patience: Patience::default(),
    });
    let mut tasks = JoinSet::new();
    for (number, (device, source)) in (0..).zip(fleet) {
        let backoff = Backoff::new(random(config.seed, number, Draw::Backoff));
        let (run, stop, ledger) = (Arc::clone(&run), stop.clone(), ledger.sender());
        let publisher = Publisher::new(run, stop, ledger, device, source, config.in_flight, backoff);
        tasks.spawn(publisher.run(CONNECT_APART * number));
    }
    let mut ended = Ok(());
    while let Some(task) = tasks.join_next().await {
        if let Err(error) = task.context("a device panicked")? {
            ended = Err(error);
        }
    }
    // The writer's own error says why the devices could not go on.
    ledger.finish().await?;
    ended?;
    Ok(progress.summary(config.devices))
}

fn check(config: &FleetConfig) -> anyhow::Result<()> {
    ensure!(config.devices > 0, "devices: expected at least 1");
    ensure!(config.rate.is_finite() && config.rate > 0.0, "rate: {} is not above 0", config.rate);
    ensure!(!config.sites.is_empty(), "sites: expected at least one");
    identity::check_boot(config.boot)?;
    let most = outbox::MAX_CAPACITY;
    ensure!((1..=most).contains(&config.in_flight), "in_flight: {} is not in 1..={most}", config.in_flight);
    Ok(())
}

/// The devices, with what they will publish from `start` on.
fn fleet(
    config: &FleetConfig,
    start: Timestamp,
    start_monotonic: Duration,
    boot: i64,
) -> anyhow::Result<Vec<(Device, Simulated)>> {
    let interval = Duration::try_from_secs_f64(f64::from(config.devices) / config.rate)
        .with_context(|| format!("rate: {} is too low", config.rate))?;
    let digits = config.devices.saturating_sub(1).to_string().len().max(4);
    let mut fleet = Vec::new();
    for (number, site) in (0..config.devices).zip(config.sites.iter().cycle()) {
        let name = format!("{}-{number:0digits$}", config.prefix);
        identity::check_device(&name)?;
        identity::check_site(site)?;
        let topic = identity::topic(&config.topic, &[("site", site), ("device_id", &name)])?;
        let device = Device { name: name.into(), topic, boot };
        let mut random = random(config.seed, number, Draw::Signals);
        let phase = interval.mul_f64(random.random());
        let flat = random.random_ratio(1, FLAT_ONE_IN);
        let schedule = device::Schedule { start: start_monotonic, start_time: start, phase, interval };
        let source = Simulated::new(&device, schedule, flat, random);
        fleet.push((device, source));
    }
    Ok(fleet)
}

/// What a device draws random numbers for; each has a sequence of its own, so that a reconnect does not change
/// what is measured.
#[derive(Clone, Copy)]
enum Draw {
    Signals,
    Backoff,
}

fn random(seed: u64, device: u32, draw: Draw) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(device) * 2 + u64::from(matches!(draw, Draw::Backoff)));
    random
}
