//! The broker that messages may come from.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// A broker, and what of it is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bridge {
    /// Empty: no bridge.
    pub(crate) url: String,
    pub(crate) protocol: Protocol,
    pub(crate) client_id: String,
    pub(crate) user: String,
    /// Where the password is, never the password.
    pub(crate) password: String,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) max_in_flight_messages: u16,
    pub(crate) session_expiry_seconds: u32,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) patience_seconds: f64,
    pub(crate) watch_drops: bool,
}

/// Version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Protocol {
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V4,
    /// MQTT 5.
    #[default]
    #[serde(rename = "5")]
    V5,
}

/// A topic filter, and how what it brings is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscription {
    pub(crate) filter: String,
    /// The group that shares the messages among instances. Empty: each gets all.
    #[serde(default)]
    pub(crate) share: String,
    /// Empty: that of `mqtt.topic_template`.
    #[serde(default)]
    pub(crate) topic_template: String,
    #[serde(default)]
    pub(crate) format: Format,
}

/// Format of payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// By the first character: `[` is SenML, `{` is flat.
    #[default]
    Auto,
    /// SenML JSON (RFC 8428).
    Senml,
    /// A flat JSON object.
    Json,
}

impl Default for Bridge {
    fn default() -> Self {
        Self {
            url: String::new(),
            protocol: Protocol::V5,
            client_id: "weir".to_owned(),
            user: String::new(),
            password: String::new(),
            subscriptions: Vec::new(),
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            max_in_flight_messages: 1024,
            session_expiry_seconds: 7 * 24 * 60 * 60,
            keep_alive_seconds: 30,
            patience_seconds: 30.0,
            watch_drops: true,
        }
    }
}

impl Bridge {
    /// Whether there is one.
    pub(crate) fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        let rest = self.url.strip_prefix("mqtt://").or_else(|| self.url.strip_prefix("mqtts://"));
        rest.filter(|rest| !rest.is_empty() && !rest.contains(['/', '@', '?', '#']))
            .with_context(|| format!("bridge.url = `{}`: expected mqtt://host:port or mqtts://host:port", self.url))?;
        if self.subscriptions.is_empty() {
            bail!("bridge.subscriptions is empty: expected at least one [[bridge.subscriptions]] with a `filter`");
        }
        if self.client_id.is_empty() || self.client_id.len() > 128 {
            bail!(
                "bridge.client_id = `{}`: expected 1 to 128 bytes: the broker knows the session by it",
                self.client_id
            );
        }
        for (name, value, least, most) in [
            ("max_in_flight_messages", u64::from(self.max_in_flight_messages), 1, 65_535),
            ("session_expiry_seconds", u64::from(self.session_expiry_seconds), 60, u64::from(u32::MAX)),
            ("keep_alive_seconds", u64::from(self.keep_alive_seconds), 1, 65_535),
        ] {
            if !(least..=most).contains(&value) {
                bail!("bridge.{name} = {value}: expected a number from {least} to {most}");
            }
        }
        if !(1.0..=3600.0).contains(&self.patience_seconds) {
            bail!("bridge.patience_seconds = {}: expected seconds from 1 to 3600", self.patience_seconds);
        }
        if self.certificate.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            bail!("bridge: expected `certificate` and `key` together, or none of them");
        }
        Ok(())
    }
}
