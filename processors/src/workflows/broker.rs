//! Commands to an outside MQTT broker, at QoS 1 of MQTT 3.1.1.
//!
//! A command is done when its PUBACK came. The outbox is the executor's; the client keeps nothing over a connection:
//! when one ends, for whatever reason, all that wait fail, the executor tries them again with the same key, and the
//! next connection has a new client. A resumed client could resend what the executor resends too, and what it stashed
//! on a collision of packet identifiers can stop it for good (facts on rumqttc).

mod connection;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use telemetry::Clock;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::workflows::address::Guard;
use crate::workflows::broker::connection::{Dialer, drive};
use crate::workflows::outside::{command, limits};
use crate::workflows::target::{Attempt, Outcome, Target};

/// One broker. Connects when the first command comes.
#[derive(Debug)]
pub struct Broker {
    dialer: Arc<Dialer>,
    /// To the task that owns the connection, once there is one. It ends with this handle.
    publishes: Mutex<Option<mpsc::Sender<Publish>>>,
}

/// A command on its way to the task of the connection.
#[derive(Debug)]
struct Publish {
    topic: String,
    payload: Bytes,
    done: oneshot::Sender<Outcome>,
}

impl Broker {
    /// The broker at `url`, `mqtt://host:port`; without a port 1883.
    ///
    /// # Errors
    /// A text for a person: not such a URL.
    pub fn new(url: &str, guard: Guard, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let (host, port) = check(url)?;
        let dialer = Dialer { host, port, guard, clock, patience: limits::BROKER_PATIENCE };
        Ok(Self::with_dialer(dialer))
    }

    fn with_dialer(dialer: Dialer) -> Self {
        Self { dialer: Arc::new(dialer), publishes: Mutex::new(None) }
    }

    fn publishes(&self) -> mpsc::Sender<Publish> {
        let mut publishes = self.publishes.lock().unwrap_or_else(PoisonError::into_inner);
        match publishes.as_ref().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender.clone(),
            None => {
                let (sender, receiver) = mpsc::channel(limits::BROKER_QUEUE);
                tokio::spawn(drive(self.dialer.clone(), receiver));
                publishes.insert(sender).clone()
            }
        }
    }
}

/// Host and port of a broker's URL.
///
/// # Errors
/// A text for a person.
pub fn check(url: &str) -> Result<(String, u16), String> {
    let wrong = |what: &str| Err(format!("broker `{url}` {what}; expected `mqtt://host:port`"));
    let Ok(parsed) = Url::parse(url) else { return wrong("is not a URL") };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("a broker's URL cannot hold user and password; expected `mqtt://host:port`".to_owned());
    }
    match parsed.scheme() {
        "mqtt" => {}
        "mqtts" | "ssl" => return wrong("needs TLS, which commands to brokers do not have yet"),
        _ => return wrong("has another scheme"),
    }
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
        return wrong("has more than host and port");
    }
    match parsed.host_str() {
        Some(host) if !host.is_empty() => Ok((host.to_owned(), parsed.port().unwrap_or(1883))),
        _ => wrong("has no host"),
    }
}

#[async_trait]
impl Target for Broker {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        let rendered = match command::render(attempt, self.dialer.clock.as_ref()) {
            Ok(rendered) => rendered,
            Err(outcome) => return outcome,
        };
        let (done, outcome) = oneshot::channel();
        let publish = Publish { topic: rendered.topic, payload: rendered.payload, done };
        let lost = || Outcome::Failed("the task of the connection to the broker ended".to_owned());
        match self.publishes().send(publish).await {
            Ok(()) => outcome.await.unwrap_or_else(|_| lost()),
            Err(_) => lost(),
        }
    }
}

#[cfg(test)]
mod tests;
