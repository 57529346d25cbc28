//! The cluster that streams may be on.

use std::path::PathBuf;

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// Where streams are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// In the embedded log below `data.dir`.
    #[default]
    Embedded,
    /// On a Fluvio cluster.
    Fluvio,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fluvio {
    pub(crate) endpoint: String,
    pub(crate) topic_prefix: String,
    pub(crate) replication: u32,
    pub(crate) retention_seconds: u64,
    pub(crate) timeout_seconds: f64,
    pub(crate) lease_seconds: f64,
    pub(crate) tls: FluvioTls,
}

/// TLS to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FluvioTls {
    /// Empty: no TLS.
    pub(crate) domain: String,
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Default for Fluvio {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:9003".to_owned(),
            topic_prefix: "weir-".to_owned(),
            replication: 1,
            retention_seconds: 7 * 24 * 60 * 60,
            timeout_seconds: 5.0,
            lease_seconds: 10.0,
            tls: FluvioTls::default(),
        }
    }
}

impl Fluvio {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !(1..=16).contains(&self.replication) {
            bail!("fluvio.replication = {}: expected a number from 1 to 16", self.replication);
        }
        if !(3600..=366 * 86_400).contains(&self.retention_seconds) {
            bail!("fluvio.retention_seconds = {}: expected a number from 3600 to 31622400", self.retention_seconds);
        }
        for (name, seconds, least, most) in
            [("timeout_seconds", self.timeout_seconds, 0.5, 60.0), ("lease_seconds", self.lease_seconds, 2.0, 300.0)]
        {
            if !(least..=most).contains(&seconds) {
                bail!("fluvio.{name} = {seconds}: expected seconds from {least} to {most}");
            }
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = self.topic_prefix.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric());
        if self.topic_prefix.len() > 32 || !self.topic_prefix.bytes().all(allowed) || !begins {
            bail!(
                "fluvio.topic_prefix = `{}`: expected up to 32 lower case letters, digits or `-`, not beginning with `-`",
                self.topic_prefix
            );
        }
        let files = [&self.tls.ca, &self.tls.certificate, &self.tls.key];
        let given = files.iter().filter(|path| !path.as_os_str().is_empty()).count();
        if given != if self.tls.domain.is_empty() { 0 } else { files.len() } {
            bail!("fluvio.tls: expected `domain`, `ca`, `certificate` and `key` together, or none of them");
        }
        Ok(())
    }
}
