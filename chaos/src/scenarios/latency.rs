//! How long it takes from the acknowledgement of a reading to the web request that it starts: default settings,
//! nominal load, nobody in trouble.
//!
//! The proxy writes down when the PUBACK was in the device's socket, the hook when the first byte of the request was
//! there; both by one clock. Devices, proxy, hook and Weir share the machine.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::fleet::{self, Fleet};
use crate::hook::{Hook, Record};
use crate::outcome::Outcome;
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::round::make_empty;
use crate::setting::Setting;
use crate::tier::Tier;
use crate::weir::{Launch, Weir};
use crate::workflows::{self, Workflows};

/// Messages a second, and the devices that send them.
const RATE: f64 = 5_000.0;
const DEVICES: u32 = 50;
/// Fires for about one message in a hundred, spread over devices and time: by the last digits of a noisy value.
const RULE: &str = "metric = 'temperature' AND floor(value * 100) % 100 = 7";
/// The load before anything counts: files are opened, connections made.
const WARM_UP: Duration = Duration::from_secs(3);
/// Longest 99th percentile, in milliseconds.
const BOUND: f64 = 50.0;

/// A line of the proxy's file.
#[derive(Debug, Deserialize)]
struct Puback {
    device: String,
    boot: i64,
    seq: i64,
    passed_at: u64,
}

/// What of a line of the hook's file is needed.
#[derive(Debug, Deserialize)]
struct Call {
    received_at: u64,
    device: String,
    boot: Option<i64>,
    seq: Option<i64>,
    new: u8,
}

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let directory = setting.directory.join(format!("hook-latency-{}", setting.seed));
    make_empty(&directory)?;
    let seconds = u64::from(setting.count(8, 60, 300));
    let began = load(setting, &directory, Duration::from_secs(seconds))?;
    let counted_from = began + u64::try_from(WARM_UP.as_micros())?;
    let mut outcome = Outcome::default();
    measure(setting, &directory, counted_from, &mut outcome)?;
    fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(outcome)
}

/// Lets devices send for `time` after the warm-up, until everything that fired is done; gives when they began.
fn load(setting: &Setting, directory: &Path, time: Duration) -> anyhow::Result<u64> {
    let record = Arc::new(Mutex::new(Record::create(&directory.join("hooks.csv"))?));
    let hook = Hook::start("latency", free_address()?, &record, setting.seed)?;
    let launch = launch(setting, directory, &hook)?;
    let (mut weir, _) = Weir::start(&launch)?;
    let proxy = Proxy::start(free_address()?, launch.mqtt, &directory.join("pubacks.csv"), setting.seed)?;
    let plan = fleet::Plan { devices: DEVICES, rate: RATE, seed: setting.seed, options: Vec::new() };
    let began = clock::micros();
    let mut fleet = Fleet::start(&setting.binaries.weir, &plan, proxy.address(), directory)?;
    clock::pause(WARM_UP + time);
    fleet.finish(&mut weir)?;
    workflows::drain(&weir)?;
    weir.stop()?;
    proxy.finish()?;
    let tally = hook.finish()?;
    record.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
    ensure!(
        tally.requests == tally.keys,
        "{} requests for {} firings of a hook that does well",
        tally.requests,
        tally.keys
    );
    Ok(began)
}

fn launch(setting: &Setting, directory: &Path, hook: &Hook) -> anyhow::Result<Launch> {
    let rules = directory.join("rules.toml");
    let rule = format!(
        "[[rule]]\nid = \"latency\"\nwhen = \"{RULE}\"\nseverity = \"info\"\nmessage = \"{{value}}\"\n\
         [[rule.step]]\nwebhook = \"http://{}/hook/{{device_id}}\"\n",
        hook.address()
    );
    fs::write(&rules, rule).with_context(|| rules.display().to_string())?;
    Ok(Launch {
        binary: setting.binaries.weir.clone(),
        wrapper: Vec::new(),
        data: directory.join("data"),
        mqtt: free_address()?,
        http: free_address()?,
        rules,
        environment: vec![Workflows::allow()],
        log: directory.join("weir.log"),
    })
}

/// Puts the two files together.
#[expect(clippy::cast_precision_loss, reason = "counts and microseconds for a report")]
fn measure(setting: &Setting, directory: &Path, from: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let pubacks: Vec<Puback> = read(&directory.join("pubacks.csv"))?;
    let pubacks: HashMap<_, _> =
        pubacks.into_iter().map(|line| ((line.device, line.boot, line.seq), line.passed_at)).collect();
    let calls: Vec<Call> = read(&directory.join("hooks.csv"))?;
    let mut milliseconds = Vec::new();
    for call in calls.into_iter().filter(|call| call.new == 1) {
        let identity = call.boot.zip(call.seq).context("a request names no message")?;
        let message = (call.device, identity.0, identity.1);
        let passed_at =
            pubacks.get(&message).with_context(|| format!("a request for {message:?}, not acknowledged"))?;
        if *passed_at >= from {
            // A request may come before the acknowledgement, which has its own way.
            milliseconds.push((call.received_at as f64 - *passed_at as f64) / 1000.0);
        }
    }
    ensure!(!milliseconds.is_empty(), "nothing fired");
    let messages = pubacks.values().filter(|passed_at| **passed_at >= from).count();
    let share = milliseconds.len() as f64 / messages as f64;
    let count = milliseconds.len() as f64;
    milliseconds.sort_by(f64::total_cmp);
    let p99 = at(&milliseconds, 0.99);
    let figures = [
        ("messages_acknowledged", messages as f64),
        ("requests", count),
        ("share_of_messages", share),
        ("puback_to_request_p50_ms", at(&milliseconds, 0.5)),
        ("puback_to_request_p90_ms", at(&milliseconds, 0.9)),
        ("puback_to_request_p99_ms", p99),
        ("puback_to_request_longest_ms", at(&milliseconds, 1.0)),
    ];
    outcome.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    // Other work may run beside the quick tier.
    if setting.tier != Tier::Quick && p99 > BOUND {
        let seed = setting.seed;
        outcome.violations.push(format!("hook-latency, seed {seed}: p99 is {p99:.1} ms, at most {BOUND} is allowed"));
    }
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let mut lines = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
    lines.deserialize().collect::<Result<_, _>>().with_context(|| path.display().to_string())
}

/// The value at a share of sorted ones.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
fn at(sorted: &[f64], share: f64) -> f64 {
    let rank = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}
