//! What can be set at the bridge.

use std::path::PathBuf;
use std::time::Duration;

use telemetry::formats::Format;
use telemetry::limits as message;
use telemetry::topic::{Filter, TopicTemplate};

use super::limits::SUBSCRIPTIONS;
use crate::admission::{Admission, Routes};

/// Settings of the bridge. Plain data; certificates and the password are read when a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// `mqtt://host:port` or `mqtts://host:port`; without a port 1883 or 8883.
    pub url: String,
    /// Version of the protocol. Default 5.
    pub protocol: Protocol,
    /// The broker knows the session by it. 1 to 128 bytes. Default `weir`.
    pub client_id: String,
    /// User and password. Default none.
    pub login: Option<Login>,
    /// What to subscribe to; 1 to 64.
    pub subscriptions: Vec<Subscription>,
    /// Files of TLS, for `mqtts://`.
    pub tls: TlsFiles,
    /// Messages that may wait for their acknowledgement; at this number the connection is not read. MQTT 5 brokers are
    /// told. Default 1024, at least 1.
    pub in_flight: u16,
    /// How long the broker keeps the session while we are away; for MQTT 5. Default 7 days; 60 s to 136 years.
    pub session_expiry: Duration,
    /// Longest time without a packet of ours. Default 30 s; 1 s to 65,535 s. An MQTT 5 broker may want less.
    pub keep_alive: Duration,
    /// How long the broker may be silent when it should answer. Default 30 s; 10 ms to 1 hour.
    pub patience: Duration,
    /// First wait before a connection is tried again; it doubles. Default 100 ms; 1 ms to the longest.
    pub backoff: Duration,
    /// Longest wait. Default 10 s; at most 1 hour.
    pub longest_backoff: Duration,
    /// How long a stop waits until everything read is acknowledged. Default 10 s; at most 10 minutes.
    pub drain: Duration,
    /// Largest payload, in bytes. Default and upper bound [`message::PAYLOAD_BYTES`].
    pub payload_bytes: usize,
    /// How far ahead of our clock a device's time may be. Default 24 hours; at most 10 years.
    pub future: Duration,
    /// Subscribe to what a Mosquitto says that it dropped. Default true. Brokers without `$SYS` refuse it, which is
    /// logged; AWS IoT Core closes the connection, there it must be off.
    pub watch_drops: bool,
}

/// Version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// 3.1.1
    V4,
    /// 5
    #[default]
    V5,
}

/// Who we are at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Where the password is.
    pub password: Option<PasswordPlace>,
}

/// Where a password is, never the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordPlace {
    /// An environment variable.
    Env(String),
    /// A file; a line break at its end is not part of it.
    File(PathBuf),
}

/// PEM files of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates to trust. Default those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate, with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A filter, and how what it brings is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic filter, without `$share`.
    pub filter: String,
    /// Group of clients that share the messages.
    pub share: Option<String>,
    /// Where in a topic the fields of a message stand.
    pub topic_template: String,
    /// Format of the payloads.
    pub format: Format,
}

impl Subscription {
    /// The filter as the broker gets it.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.share {
            Some(group) => format!("$share/{group}/{}", self.filter),
            None => self.filter.clone(),
        }
    }
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            url: "mqtt://127.0.0.1:1883".to_owned(),
            protocol: Protocol::V5,
            client_id: "weir".to_owned(),
            login: None,
            subscriptions: Vec::new(),
            tls: TlsFiles::default(),
            in_flight: 1024,
            session_expiry: Duration::from_secs(7 * 24 * 60 * 60),
            keep_alive: Duration::from_secs(30),
            patience: Duration::from_secs(30),
            backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            payload_bytes: message::PAYLOAD_BYTES,
            future: message::FUTURE,
            watch_drops: true,
        }
    }
}

/// A setting is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is `{value}`: expected {expected}")]
pub struct InvalidSetting {
    /// Name of the setting.
    pub field: String,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub expected: String,
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl BridgeConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// Names the first setting that is wrong.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let address = self.address()?;
        let micros = Duration::from_micros(1);
        for (field, value, least, most, expected) in [
            ("session_expiry", self.session_expiry, 60_000, 4_294_967_295_000, "60 s to 4294967295 s"),
            ("keep_alive", self.keep_alive, 1000, 65_535_000, "1 s to 65535 s"),
            ("patience", self.patience, 10, 3_600_000, "10 ms to 1 hour"),
            ("longest_backoff", self.longest_backoff, 1, 3_600_000, "1 ms to 1 hour"),
            ("drain", self.drain, 0, 600_000, "at most 10 minutes"),
            ("future", self.future, 0, 3653 * 86_400_000, "at most 10 years"),
        ] {
            let bounds = Duration::from_millis(least)..Duration::from_millis(most) + micros;
            require(bounds.contains(&value), field, &format!("{value:?}"), expected)?;
        }
        let backoff = (Duration::from_millis(1)..=self.longest_backoff).contains(&self.backoff);
        require(backoff, "backoff", &format!("{:?}", self.backoff), "1 ms to `longest_backoff`")?;
        require(self.in_flight > 0, "in_flight", "0", "at least 1")?;
        let payload = (1..=message::PAYLOAD_BYTES).contains(&self.payload_bytes);
        require(payload, "payload_bytes", &self.payload_bytes.to_string(), "1 byte to 1 MiB")?;
        let name = (1..=128).contains(&self.client_id.len()) && !self.client_id.contains('\0');
        require(name, "client_id", &self.client_id, "1 to 128 bytes")?;
        let without_tls = self.tls == TlsFiles::default();
        require(address.tls || without_tls, "url", &self.url, "mqtts:// where certificates are given")?;
        let count = self.subscriptions.len();
        require((1..=SUBSCRIPTIONS).contains(&count), "subscriptions", &count.to_string(), "1 to 64 of them")?;
        self.routes().map(drop)
    }

    /// How messages of which topics are read.
    ///
    /// # Errors
    /// Names the subscription that is wrong.
    pub(super) fn routes(&self) -> Result<Routes, InvalidSetting> {
        let mut rules = Vec::with_capacity(self.subscriptions.len());
        for (index, subscription) in self.subscriptions.iter().enumerate() {
            let field = |name: &str| format!("subscriptions[{index}].{name}");
            let Subscription { filter, share, topic_template, format } = subscription;
            let wrong = |name: &str, value: &str, expected: &str| InvalidSetting {
                field: field(name),
                value: value.to_owned(),
                expected: expected.to_owned(),
            };
            let group = share.as_deref().unwrap_or("group");
            if group.is_empty() || group.contains(['/', '+', '#', '\0']) {
                return Err(wrong("share", group, "a name without `/`, `+` and `#`"));
            }
            let parsed = Filter::parse(filter).filter(|_| !filter.starts_with("$share/"));
            let parsed = parsed.ok_or_else(|| wrong("filter", filter, "an MQTT topic filter, without `$share`"))?;
            let template = TopicTemplate::parse(topic_template)
                .map_err(|error| wrong("topic_template", topic_template, &format!("a topic template: {error}")))?;
            rules.push((parsed, Admission::new(template, self.future).with_format(*format)));
        }
        Ok(Routes { client_id: self.client_id.as_str().into(), rules })
    }

    pub(super) fn address(&self) -> Result<Address, InvalidSetting> {
        parse_url(&self.url).ok_or_else(|| InvalidSetting {
            field: "url".to_owned(),
            value: self.url.clone(),
            expected: "mqtt://host:port or mqtts://host:port".to_owned(),
        })
    }
}

fn require(kept: bool, field: &str, value: &str, expected: &str) -> Result<(), InvalidSetting> {
    if kept {
        return Ok(());
    }
    Err(InvalidSetting { field: field.to_owned(), value: value.to_owned(), expected: expected.to_owned() })
}

fn parse_url(url: &str) -> Option<Address> {
    let (scheme, rest) = url.split_once("://")?;
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        _ => return None,
    };
    let usual = if tls { 8883 } else { 1883 };
    // An address of version 6 stands in brackets, because it has colons itself.
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
            (host, port)
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
        return None;
    }
    let port = port.map_or(Some(usual), |port| port.parse().ok().filter(|port| *port != 0))?;
    Some(Address { host: host.to_owned(), port, tls })
}

#[cfg(test)]
mod tests;
