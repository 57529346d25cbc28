//! `weir up` with its bridge to the broker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Child;

use super::Bench;
use super::bare::FILTER;
use super::drain::{Drained, Taken};
use super::endpoint::{self, Ends};
use super::mosquitto::Mosquitto;
use crate::admin::AdminClient;
use crate::bench::process;
use crate::bench::scenario::{generate, terminate};
use crate::ports::free_address;
use crate::verify;

/// How figures call it.
pub(super) const NAME: &str = "bridge through Mosquitto";

/// How often it is asked how far it is.
const POLL: Duration = Duration::from_millis(20);
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);
/// What shows that the subscription is there.
const PROBE: Duration = Duration::from_millis(100);
const PROBES: u32 = 10;
/// How long nothing new may come until all is believed to have come: a broker without a backlog sends at once.
const QUIET: Duration = Duration::from_secs(1);

/// A process with the bridge.
struct Bridge {
    child: Child,
    admin: AdminClient,
    data: PathBuf,
}

/// Makes the session: subscribes, takes a few messages, and leaves.
pub(super) async fn subscribe(bench: &Bench, mosquitto: &Mosquitto) -> anyhow::Result<()> {
    let mut bridge = Bridge::start(bench, mosquitto, "bridge-subscribes").await?;
    bridge.reach("weir_bridge_connected", 1.0).await?;
    // It may be connected and not yet subscribed, so that the first ones may not come.
    let mut probes = 0;
    while bridge.metric("weir_bridge_messages_total").await? == 0.0 {
        ensure!(probes < PROBES, "the bridge takes nothing, though it is connected");
        generate(&bench.load(PROBE), mosquitto.address()).await?;
        probes += 1;
    }
    bridge.settle("weir_bridge_acknowledged_total").await?;
    terminate(&bridge.child)?;
    process::usage_until_exit(&mut bridge.child, "weir up").await?;
    std::fs::remove_dir_all(&bridge.data).with_context(|| bridge.data.display().to_string())
}

/// Takes what has gathered, until all of it is in the table.
pub(super) async fn take(bench: &Bench, mosquitto: &Mosquitto, taken: Taken, round: u32) -> anyhow::Result<Drained> {
    let (began, broker) = (bench.clock.monotonic(), mosquitto.cpu_seconds()?);
    let mut bridge = Bridge::start(bench, mosquitto, &format!("bridge-{round}")).await?;
    let before = bridge.reach("weir_bridge_messages_total", 1.0).await?;
    let first = bench.clock.monotonic();
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    bridge.reach("weir_bridge_acknowledged_total", taken.messages as f64).await?;
    let time = bench.clock.monotonic().saturating_sub(first);
    terminate(&bridge.child)?;
    let usage = process::usage_until_exit(&mut bridge.child, "weir up").await?;
    let stored_within = bench.clock.monotonic().saturating_sub(began);
    let broker_cpu_seconds = mosquitto.cpu_seconds()? - broker;
    let stored = verify::rows(&bridge.data.join("tables/readings"))?;
    ensure!(stored >= taken.readings(), "{} readings acknowledged, {stored} in the table", taken.readings());
    std::fs::remove_dir_all(&bridge.data).with_context(|| bridge.data.display().to_string())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
    let messages = taken.messages.saturating_sub(before as u64);
    Ok(Drained {
        messages,
        time,
        stored: Some((stored, stored_within)),
        readings: taken.readings(),
        cpu_seconds: usage.cpu_seconds,
        broker_cpu_seconds,
        peak_bytes: Some(usage.peak_bytes),
    })
}

impl Bridge {
    async fn start(bench: &Bench, mosquitto: &Mosquitto, name: &str) -> anyhow::Result<Self> {
        let (data, http) = (bench.directory.join(name), free_address()?);
        let settings = settings(mosquitto.address());
        let mut child = endpoint::start(&data, Ends { mqtt: free_address()?, http }, &settings)?;
        crate::bench::scenario::listening(http, &mut child).await?;
        Ok(Self { child, admin: AdminClient::new(http), data })
    }

    /// Waits until a metric is so high; its value then.
    async fn reach(&mut self, name: &str, wanted: f64) -> anyhow::Result<f64> {
        let (mut highest, mut idle) = (0.0, Duration::ZERO);
        loop {
            // While it starts it does not tell.
            let value = self.metric(name).await.unwrap_or(0.0);
            if value >= wanted {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait().context("weir up")? {
                bail!("weir up ended with {status} while {name} was {value} of {wanted}");
            }
            idle = if value > highest { Duration::ZERO } else { idle + POLL };
            highest = value.max(highest);
            ensure!(idle < PATIENCE, "{name} stays at {value} of {wanted} for {} s", PATIENCE.as_secs());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a metric rises no more.
    async fn settle(&self, name: &str) -> anyhow::Result<()> {
        let mut before = None;
        loop {
            let value = self.metric(name).await?;
            if before == Some(value) {
                return Ok(());
            }
            before = Some(value);
            tokio::time::sleep(QUIET).await;
        }
    }

    async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.admin.text("/metrics").await?;
        metric(&text, name).with_context(|| format!("weir up tells no {name}"))
    }
}

fn settings(broker: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("WEIR_BRIDGE__URL", format!("\"mqtt://{broker}\"")),
        ("WEIR_BRIDGE__CLIENT_ID", "\"weir-bench\"".to_owned()),
        ("WEIR_BRIDGE__SUBSCRIPTIONS", format!("[{{ filter = \"{FILTER}\" }}]")),
    ]
}

/// Sum of the series of a metric.
pub(super) fn metric(text: &str, name: &str) -> Option<f64> {
    let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let values = text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok());
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}
