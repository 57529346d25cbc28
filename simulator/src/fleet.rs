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

use crate::backoff::{self, Backoff};
use crate::identity;
use crate::mischief::Mischief;
use crate::outbox;
use crate::patience::{self, Patience};
use crate::progress::{Progress, Summary};
use crate::publisher::{Device, Habits, Publisher, Run};
use crate::surge::Surge;
use crate::witness;

use device::{Character, Restarts, Schedule, Simulated};
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
    /// How the rate rises and falls; `None` for a steady one.
    pub surge: Option<Surge>,
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
    /// File of everything sent, one line a reading; one that exists is continued.
    pub sent: Option<PathBuf>,
    /// File of every command that a device got, one line each; one that exists is continued. With it each device
    /// subscribes to its `commands_topic`, at QoS 1, and acknowledges what comes.
    pub commands: Option<PathBuf>,
    /// Topic of the commands of a device, with places `{site}` and `{device_id}`.
    pub commands_topic: String,
    /// How long a device waits for an acknowledgement, or for anything at all, before it gives its connection up
    /// and opens a new one with the same client id; from 100 ms.
    pub patience: Duration,
    /// Longest pause between two attempts to connect; the first pauses are shorter, 25 to 50 ms.
    pub reconnect_within: Duration,
    /// Share of the messages that are sent badly, 0 to 1: twice, out of order, or late.
    pub mischief: f64,
    /// The clock of each device is wrong by an amount drawn from minus to plus this.
    pub skew: Duration,
    /// Each device restarts in this time: its connection is lost, `boot` is one more, numbers begin again, and
    /// what is not acknowledged is kept. From 2 s, so that boots never outrun the clock and a later run begins
    /// with higher ones.
    pub boot_each: Option<Duration>,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            mqtt: "127.0.0.1:1883".into(),
            devices: 200,
            rate: 1000.0,
            surge: None,
            duration: None,
            seed: 1,
            boot: None,
            prefix: "device".into(),
            sites: ["hall-a", "hall-b", "yard"].map(String::from).to_vec(),
            topic: "{site}/{device_id}/telemetry".into(),
            ledger: "ledger.csv".into(),
            in_flight: 64,
            drain: Duration::from_secs(30),
            sent: None,
            commands: None,
            commands_topic: "{site}/{device_id}/commands".into(),
            patience: patience::USUAL,
            reconnect_within: backoff::USUAL_LONGEST,
            mischief: 0.0,
            skew: Duration::ZERO,
            boot_each: None,
        }
    }
}

/// The shortest time between restarts.
const BOOT_EACH_LEAST: Duration = Duration::from_secs(2);
/// One device in this many speaks flat JSON, the others SenML.
const FLAT_ONE_IN: u32 = 5;
/// Connections are opened one after the other, this far apart: a server's backlog is limited.
const CONNECT_APART: Duration = Duration::from_micros(500);

/// Runs the fleet until its duration is over or `stop` is true (or its sender gone), then waits for what is not
/// acknowledged yet. A connection that fails is opened again, for ever.
///
/// # Errors
/// If the configuration makes no sense, or the ledger or the file of what is sent cannot be written; not if the server cannot be reached.
pub async fn run(
    config: FleetConfig,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
    progress: Arc<Progress>,
) -> anyhow::Result<Summary> {
    check(&config)?;
    let (start, now) = (clock.monotonic(), clock.now());
    let fleet = fleet(&config, now, start, config.boot.unwrap_or_else(|| identity::boot_now(&*clock)))?;
    let witness = witness::Writers::open(&config.ledger, config.sent.as_deref(), config.commands.as_deref())?;
    let run = Arc::new(Run {
        mqtt: config.mqtt,
        clock,
        progress: Arc::clone(&progress),
        until: config.duration.map(|duration| start + duration),
        drain: config.drain,
        patience: Patience::of(config.patience),
    });
    let mut tasks = JoinSet::new();
    for (number, (device, source)) in (0..).zip(fleet) {
        let habits = Habits {
            in_flight: config.in_flight,
            backoff: Backoff::new(config.reconnect_within, random(config.seed, number, Draw::Backoff)),
            mischief: Mischief::new(config.mischief, random(config.seed, number, Draw::Mischief)),
        };
        let publisher = Publisher::new(Arc::clone(&run), stop.clone(), witness.senders(), device, source, habits);
        tasks.spawn(publisher.run(CONNECT_APART * number));
    }
    let mut ended = Ok(());
    while let Some(task) = tasks.join_next().await {
        if let Err(error) = task.context("a device panicked")? {
            ended = Err(error);
        }
    }
    // The writer's own error says why the devices could not go on.
    witness.finish().await?;
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
    let (patience, least) = (config.patience, patience::SHORTEST);
    ensure!(patience >= least, "patience: {patience:?} is below {least:?}");
    ensure!((0.0..=1.0).contains(&config.mischief), "mischief: {} is not in 0..=1", config.mischief);
    if let Some(each) = config.boot_each {
        ensure!(each >= BOOT_EACH_LEAST, "boot_each: {each:?} is below {BOOT_EACH_LEAST:?}");
    }
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
        let topic = |template| identity::topic(template, &[("site", site), ("device_id", &name)]);
        let commands = config.commands.as_ref().map(|_| topic(&config.commands_topic)).transpose()?;
        let device = Device { topic: topic(&config.topic)?, commands, name: name.as_str().into() };
        let mut signals = random(config.seed, number, Draw::Signals);
        let phase = interval.mul_f64(signals.random());
        let flat = signals.random_ratio(1, FLAT_ONE_IN);
        let start_time = skewed(start, config.skew, &mut random(config.seed, number, Draw::Skew));
        let restarts = config.boot_each.map(|every| {
            let phase = every.mul_f64(random(config.seed, number, Draw::Restarts).random());
            Restarts { every, phase }
        });
        let site = identity::site_told(&config.topic, site).to_owned();
        let character = Character { name: Arc::clone(&device.name), site, boot, restarts, flat };
        let schedule = Schedule { start: start_monotonic, start_time, phase, interval, surge: config.surge };
        fleet.push((device, Simulated::new(character, schedule, signals)));
    }
    Ok(fleet)
}

/// What a device draws random numbers for; each has a sequence of its own, so that a reconnect does not change
/// what is measured.
#[derive(Clone, Copy)]
enum Draw {
    Signals,
    Backoff,
    Mischief,
    Skew,
    Restarts,
}

/// `time` on a clock that is wrong by up to `skew`, before or after.
fn skewed(time: Timestamp, skew: Duration, random: &mut ChaCha8Rng) -> Timestamp {
    let most = i64::try_from(skew.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_add(random.random_range(-most..=most)))
}

fn random(seed: u64, device: u32, draw: Draw) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // A device has the streams 2n and 2n + 1 of each of three ranges.
    let of_device = u64::from(device) * 2;
    random.set_stream(match draw {
        Draw::Signals => of_device,
        Draw::Backoff => of_device + 1,
        Draw::Mischief => (1 << 40) + of_device,
        Draw::Skew => (1 << 40) + of_device + 1,
        Draw::Restarts => (2 << 40) + of_device,
    });
    random
}
