//! The targets outside the process: webhooks, brokers, devices, e-mail, and the log.
//!
//! Not here: `emit`, which the executor does itself, since it must be exactly once.

pub(crate) mod command;
pub mod limits;
pub(crate) mod reason;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use telemetry::Clock;

use crate::plan::{Action, Mqtt, Secret, Step};
use crate::workflows::address::{Guard, Lookup, Prefix, SystemLookup};
use crate::workflows::broker::Broker;
use crate::workflows::devices::ConnectedDevices;
use crate::workflows::log::Log;
use crate::workflows::target::{Devices, Target, Targets};
use crate::workflows::webhook::Webhooks;

/// What the configuration says about the world outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutsideConfig {
    /// Networks that webhooks and brokers may be in although they are not public: `10.0.0.0/8`, `127.0.0.1/32`.
    /// Default none.
    pub allow_addresses: Vec<Prefix>,
    /// The SMTP server of the step `email`. Default none: such steps are refused.
    pub email: Option<EmailConfig>,
}

/// The SMTP server, named by the configuration and therefore not subject to the address filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailConfig {
    /// `smtps://host:port` (TLS from the first byte, port 465 by default) or `smtp://host:port` (587 by default), which
    /// goes on to TLS by STARTTLS: always where there is a user, otherwise if the server offers it.
    pub url: String,
    /// Sender: `weir@example.com` or `Weir <weir@example.com>`.
    pub from: String,
    /// User, if the server wants one.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

/// Makes the targets.
#[derive(Debug)]
pub struct Outside {
    guard: Guard,
    clock: Arc<dyn Clock>,
    webhooks: Result<Arc<Webhooks>, String>,
    devices: Arc<ConnectedDevices>,
    email: Result<Arc<dyn Target>, String>,
}

impl Outside {
    /// Targets as `config` wants them. What cannot be made is refused when a step asks for it.
    #[expect(clippy::new_ret_no_self, reason = "whoever needs targets needs no more than their trait")]
    #[must_use]
    pub fn new(config: &OutsideConfig, devices: Arc<dyn Devices>, clock: Arc<dyn Clock>) -> Arc<dyn Targets> {
        Arc::new(Self::with_lookup(config, devices, clock, Arc::new(SystemLookup)))
    }

    fn with_lookup(
        config: &OutsideConfig,
        devices: Arc<dyn Devices>,
        clock: Arc<dyn Clock>,
        lookup: Arc<dyn Lookup>,
    ) -> Self {
        let guard = Guard::new(lookup, &config.allow_addresses);
        Self {
            webhooks: Webhooks::new(guard.clone(), clock.clone()).map(Arc::new),
            devices: Arc::new(ConnectedDevices::new(devices, clock.clone())),
            email: email(config.email.as_ref(), &clock),
            guard,
            clock,
        }
    }
}

impl Targets for Outside {
    fn open(&self, step: &Step) -> Result<Arc<dyn Target>, String> {
        match &step.action {
            Action::Webhook(_) => Ok(self.webhooks.clone()?),
            Action::Mqtt(Mqtt { broker: Some(url), .. }) => {
                Ok(Arc::new(Broker::new(url, self.guard.clone(), self.clock.clone())?))
            }
            Action::Mqtt(Mqtt { broker: None, .. }) => Ok(self.devices.clone()),
            Action::Email { .. } => self.email.clone(),
            Action::Log => Ok(Arc::new(Log)),
            Action::Emit { stream } => Err(format!("stream `{stream}` is not outside: the executor appends to it")),
        }
    }
}

fn email(config: Option<&EmailConfig>, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Target>, String> {
    let config = config.ok_or("no SMTP server is configured for e-mail")?;
    #[cfg(feature = "email")]
    {
        Ok(Arc::new(crate::workflows::email::Email::new(config, clock.clone())?))
    }
    #[cfg(not(feature = "email"))]
    {
        let _: (&EmailConfig, &Arc<dyn Clock>) = (config, clock);
        Err("this binary was built without the feature `email`".to_owned())
    }
}

#[cfg(test)]
mod tests;
