//! The task that owns the connection to a broker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use telemetry::Clock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use twox_hash::XxHash64;

use super::Publish;
use crate::workflows::address::{Denied, Guard};
use crate::workflows::outside::limits;
use crate::workflows::outside::reason::brief;
use crate::workflows::target::Outcome;

/// What it takes to connect.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) guard: Guard,
    pub(super) clock: Arc<dyn Clock>,
    /// Longest wait for a PUBACK.
    pub(super) patience: Duration,
}

/// Connects when something is to be published, for as long as the connection lasts; until all handles are gone.
pub(super) async fn drive(dialer: Arc<Dialer>, mut publishes: mpsc::Receiver<Publish>) {
    let mut connections = 0;
    while let Some(first) = publishes.recv().await {
        let mut waiting = Waiting::default();
        let end = match dialer.dial(connections).await {
            Ok((client, events)) => connected(&dialer, client, events, first, &mut publishes, &mut waiting).await,
            Err(outcome) => {
                waiting.add(first.done, Duration::ZERO);
                outcome
            }
        };
        connections += 1;
        // Those who came meanwhile: a broker that is away is tried once for all of them.
        while let Ok(publish) = publishes.try_recv() {
            waiting.add(publish.done, Duration::ZERO);
        }
        waiting.fail_all(&end);
    }
}

impl Dialer {
    /// A client for the connection number `connections`; it connects when it is polled, to an address that was
    /// checked.
    async fn dial(&self, connections: usize) -> Result<(AsyncClient, EventLoop), Outcome> {
        let resolved = timeout(limits::BROKER_CONNECT, self.guard.resolve(&self.host)).await;
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(denied @ Denied::Refused { .. })) => return Err(Outcome::Refused(denied.to_string())),
            Ok(Err(denied)) => return Err(Outcome::Failed(brief(&denied.to_string()))),
            Err(_) => return Err(Outcome::Failed(format!("cannot resolve `{}`: no answer", self.host))),
        };
        // One address a connection; the next one is tried by the next.
        let address = addresses.get(connections % addresses.len().max(1)).copied();
        let address = address.ok_or_else(|| Outcome::Failed(format!("`{}` has no addresses", self.host)))?;
        let mut options = MqttOptions::new(self.client_id(), bare_host(address), self.port);
        options
            .set_clean_session(true)
            .set_keep_alive(limits::BROKER_KEEP_ALIVE)
            .set_max_packet_size(limits::BROKER_RECEIVED_BYTES, limits::BROKER_SENT_BYTES)
            .set_inflight(limits::BROKER_PACKET_IDS);
        let (client, mut events) = AsyncClient::new(options, limits::BROKER_IN_FLIGHT);
        events.network_options.set_connection_timeout(limits::BROKER_CONNECT.as_secs());
        events.network_options.set_tcp_nodelay(true);
        Ok((client, events))
    }

    /// Differs from that of any other process, and has the 23 characters that each broker takes.
    fn client_id(&self) -> String {
        let seed = format!("{} {} {}:{}", std::process::id(), self.clock.now().as_micros(), self.host, self.port);
        format!("weir-{:016x}", XxHash64::oneshot(0, seed.as_bytes()))
    }
}

/// As rumqttc wants it: IPv6 in brackets, the port apart.
fn bare_host(address: SocketAddr) -> String {
    let text = address.to_string();
    text.rsplit_once(':').map_or_else(|| text.clone(), |(host, _)| host.to_owned())
}

/// Publishes until the connection ends; returns why. What still waits then failed.
async fn connected(
    dialer: &Dialer,
    client: AsyncClient,
    mut events: EventLoop,
    first: Publish,
    publishes: &mut mpsc::Receiver<Publish>,
    waiting: &mut Waiting,
) -> Outcome {
    if let Err(outcome) = submit(dialer, &client, waiting, first) {
        return outcome;
    }
    loop {
        // A poll is never given up half way: what it was writing would be lost.
        let mut poll = Box::pin(events.poll());
        let event = loop {
            let patience = waiting.patience(dialer);
            tokio::select! {
                event = &mut poll => break event,
                publish = publishes.recv(), if waiting.has_room() => {
                    let Some(publish) = publish else {
                        return Outcome::Failed("the connection to the broker was closed".to_owned());
                    };
                    if let Err(outcome) = submit(dialer, &client, waiting, publish) {
                        return outcome;
                    }
                }
                () = sleep(patience.unwrap_or_default()), if patience.is_some() => {
                    return Outcome::Failed(format!("no PUBACK within {:?}", dialer.patience));
                }
            }
        };
        drop(poll);
        let end = match event {
            Ok(event) => waiting.happened(&event),
            Err(error) => {
                // A PUBACK that came with the end of the connection counts.
                let late = events.state.events.drain(..).find_map(|event| waiting.happened(&event));
                late.or_else(|| Some(failed(&error)))
            }
        };
        if let Some(outcome) = end {
            return outcome;
        }
    }
}

/// Gives a publish to the client. Its queue has room for all that may wait, so this never waits itself.
fn submit(dialer: &Dialer, client: &AsyncClient, waiting: &mut Waiting, publish: Publish) -> Result<(), Outcome> {
    if publish.done.is_closed() {
        return Ok(());
    }
    let Publish { topic, payload, done } = publish;
    let sent = client.try_publish(topic, QoS::AtLeastOnce, false, payload);
    waiting.add(done, dialer.clock.monotonic());
    sent.map_err(|_| Outcome::Failed("the client of the broker takes nothing".to_owned()))
}

fn failed(error: &ConnectionError) -> Outcome {
    Outcome::Failed(brief(&format!("connection to the broker: {error}")))
}

/// The publishes without PUBACK, in order.
#[derive(Default)]
struct Waiting(VecDeque<Sent>);

struct Sent {
    /// Known once the client has taken it.
    id: Option<u16>,
    /// Monotonic time.
    since: Duration,
    done: oneshot::Sender<Outcome>,
}

impl Waiting {
    fn add(&mut self, done: oneshot::Sender<Outcome>, since: Duration) {
        self.0.push_back(Sent { id: None, since, done });
    }

    fn has_room(&self) -> bool {
        self.0.len() < limits::BROKER_IN_FLIGHT
    }

    /// How long the oldest may still wait.
    fn patience(&self, dialer: &Dialer) -> Option<Duration> {
        let since = self.0.front()?.since;
        Some(dialer.patience.saturating_sub(dialer.clock.monotonic().saturating_sub(since)))
    }

    /// Takes note of an event; an outcome if the connection is no longer any good.
    fn happened(&mut self, event: &Event) -> Option<Outcome> {
        match event {
            // The client takes publishes in the order they were given to it.
            Event::Outgoing(Outgoing::Publish(id)) => {
                self.0.iter_mut().find(|sent| sent.id.is_none())?.id = Some(*id);
                None
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let at = self.0.iter().position(|sent| sent.id == Some(ack.pkid))?;
                // Whoever waited may have gone.
                drop(self.0.remove(at)?.done.send(Outcome::Done("acknowledged by the broker".to_owned())));
                None
            }
            Event::Outgoing(Outgoing::AwaitAck(_)) => {
                Some(Outcome::Failed("the broker does not acknowledge what it was sent long ago".to_owned()))
            }
            Event::Incoming(Packet::Disconnect) => Some(Outcome::Failed("the broker closed the connection".to_owned())),
            _ => None,
        }
    }

    fn fail_all(&mut self, outcome: &Outcome) {
        for sent in self.0.drain(..) {
            // Whoever waited may have gone.
            drop(sent.done.send(outcome.clone()));
        }
    }
}
