//! A subscriber that does nothing but receive: rumqttc with automatic acknowledgements and a persistent session.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rumqttc::{Event, Packet, v5};
use telemetry::Clock;

use super::Bench;
use super::drain::{Drained, Rounds, Taken};
use super::mosquitto::{IN_FLIGHT, Mosquitto};
use crate::bench::process;

/// Both clients of the crate: the faster one is the measure.
pub(super) const VERSIONS: [Version; 2] = [Version::V4, Version::V5];

/// What the generator publishes to.
pub(super) const FILTER: &str = "bench/+/telemetry";
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests that may wait in the client: it makes two.
const REQUESTS: usize = 16;
/// Largest packet; those of the generator are far smaller.
const PACKET_BYTES: u32 = 1 << 20;
/// How long the broker keeps a session, longer than any run.
const SESSION_SECONDS: u32 = 86_400;
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Version of MQTT: the crate has a client for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V5,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V4 => "bare rumqttc, MQTT 3.1.1",
            Self::V5 => "bare rumqttc, MQTT 5",
        }
    }
}

/// What a client saw, of both versions.
enum Seen {
    Message,
    Subscribed,
    /// Its own DISCONNECT went out.
    Left,
    Other,
}

enum Client {
    V4(rumqttc::AsyncClient, Box<rumqttc::EventLoop>),
    V5(v5::AsyncClient, Box<v5::EventLoop>),
}

/// Makes the session of a subscriber, and leaves.
pub(super) async fn subscribe(mosquitto: &Mosquitto, version: Version) -> anyhow::Result<()> {
    let mut client = Client::new(version, mosquitto);
    client.subscribe().await?;
    loop {
        match client.next().await? {
            Seen::Subscribed => client.leave().await?,
            Seen::Left => return Ok(()),
            Seen::Message | Seen::Other => {}
        }
    }
}

/// Each subscriber takes its queue, one after the other.
pub(super) async fn take_all(
    bench: &Bench,
    mosquitto: &Mosquitto,
    taken: Taken,
    rounds: &mut Rounds,
) -> anyhow::Result<()> {
    for version in VERSIONS {
        eprintln!("measuring: {} takes {} messages", version.name(), taken.messages);
        rounds.add(version.name(), take(bench, mosquitto, version, taken).await?);
    }
    Ok(())
}

async fn take(bench: &Bench, mosquitto: &Mosquitto, version: Version, taken: Taken) -> anyhow::Result<Drained> {
    let client = Client::new(version, mosquitto);
    let (own, broker) = (process::own_cpu_seconds()?, mosquitto.cpu_seconds()?);
    let clock = Arc::clone(&bench.clock);
    // A thread of its own, with nothing else on it.
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(receive(client, taken.messages, &*clock))
    });
    let time = thread.await.context("the subscriber panicked")??;
    Ok(Drained {
        messages: taken.messages - 1,
        time,
        stored: None,
        readings: taken.readings(),
        cpu_seconds: process::own_cpu_seconds()? - own,
        broker_cpu_seconds: mosquitto.cpu_seconds()? - broker,
        peak_bytes: None,
    })
}

/// Receives so many messages; the time from the first to the last one.
async fn receive(mut client: Client, messages: u64, clock: &dyn Clock) -> anyhow::Result<Duration> {
    let (mut received, mut first) = (0, None);
    while received < messages {
        if let Seen::Message = client.next().await.with_context(|| format!("{received} of {messages} messages came"))? {
            first.get_or_insert_with(|| clock.monotonic());
            received += 1;
        }
    }
    let time = clock.monotonic().saturating_sub(first.unwrap_or_default());
    // Its last acknowledgements go out before it.
    client.leave().await?;
    while !matches!(client.next().await?, Seen::Left) {}
    Ok(time)
}

impl Client {
    fn new(version: Version, mosquitto: &Mosquitto) -> Self {
        let (host, port) = (mosquitto.address().ip().to_string(), mosquitto.address().port());
        match version {
            Version::V4 => {
                let mut options = rumqttc::MqttOptions::new("bare-4", host, port);
                options.set_clean_session(false).set_keep_alive(KEEP_ALIVE);
                options.set_max_packet_size(PACKET_BYTES as usize, PACKET_BYTES as usize);
                let (client, events) = rumqttc::AsyncClient::new(options, REQUESTS);
                Self::V4(client, Box::new(events))
            }
            Version::V5 => {
                let mut options = v5::MqttOptions::new("bare-5", host, port);
                options.set_clean_start(false).set_keep_alive(KEEP_ALIVE);
                options.set_session_expiry_interval(Some(SESSION_SECONDS));
                options.set_receive_maximum(Some(IN_FLIGHT)).set_max_packet_size(Some(PACKET_BYTES));
                let (client, events) = v5::AsyncClient::new(options, REQUESTS);
                Self::V5(client, Box::new(events))
            }
        }
    }

    async fn subscribe(&self) -> anyhow::Result<()> {
        match self {
            Self::V4(client, _) => client.subscribe(FILTER, rumqttc::QoS::AtLeastOnce).await.context("SUBSCRIBE"),
            Self::V5(client, _) => client.subscribe(FILTER, v5::mqttbytes::QoS::AtLeastOnce).await.context("SUBSCRIBE"),
        }
    }

    async fn leave(&self) -> anyhow::Result<()> {
        match self {
            Self::V4(client, _) => client.disconnect().await.context("DISCONNECT"),
            Self::V5(client, _) => client.disconnect().await.context("DISCONNECT"),
        }
    }

    async fn next(&mut self) -> anyhow::Result<Seen> {
        let Ok(seen) = tokio::time::timeout(PATIENCE, self.poll()).await else {
            bail!("nothing comes from mosquitto for {} s", PATIENCE.as_secs());
        };
        seen
    }

    async fn poll(&mut self) -> anyhow::Result<Seen> {
        Ok(match self {
            Self::V4(_, events) => match events.poll().await? {
                Event::Incoming(Packet::Publish(_)) => Seen::Message,
                Event::Incoming(Packet::SubAck(_)) => Seen::Subscribed,
                Event::Outgoing(rumqttc::Outgoing::Disconnect) => Seen::Left,
                _ => Seen::Other,
            },
            Self::V5(_, events) => match events.poll().await? {
                v5::Event::Incoming(v5::Incoming::Publish(_)) => Seen::Message,
                v5::Event::Incoming(v5::Incoming::SubAck(_)) => Seen::Subscribed,
                v5::Event::Outgoing(rumqttc::Outgoing::Disconnect) => Seen::Left,
                _ => Seen::Other,
            },
        })
    }
}
