//! The one place that names concrete backends: builds what a process does, of a configuration, and runs it.
//!
//! Stopping goes with the stream: the door first, then the rules, then workflows, then the tables. Each stage
//! drains what the one before it left, so that on return everything acknowledged is in the table. A stage apart only
//! makes durable what it has read: the others go on.
//!
//! In reading order: `role` (what a process does), `partitions` and `beginning` (of what), `backend` (where streams
//! are), `claims`, `consumers`, `door`, `readiness`, `halt`; `workflows`, `devices` and `bridge` are adapters.

mod backend;
mod beginning;
mod bridge;
mod claims;
mod consumers;
mod devices;
mod door;
mod halt;
mod partitions;
mod readiness;
mod role;
mod workflows;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use processors::RuleSet;
use prometheus::Registry;
use streams::consume;
use streams::metrics::ConsumerMetrics;
use telemetry::Clock;
use tokio::sync::watch;

#[cfg(all(test, feature = "fluvio"))]
pub(crate) use self::backend::show_cluster;
pub(crate) use self::backend::{OpenStreams, open_streams};
pub(crate) use self::beginning::Beginning;
pub(crate) use self::partitions::{Assignment, Instance, PartitionList};
pub(crate) use self::role::{Behind, Role, Tables};

use self::backend::Backend;
use self::consumers::{Consumers, Groups, Surroundings};
use self::devices::Connected;
use self::door::Door;
use self::halt::{Halt, Halting};
use self::readiness::Readiness;
use self::workflows::Reach;
use crate::api::{self, ApiState};
use crate::config::{self, Config};
use crate::dlq::{Dlq, Runs};
use crate::http;
use crate::metrics::{self, Balance};
use crate::page;
use crate::reload::{self, Reload};
use crate::snapshot::Source;
use crate::supervisor::Supervisor;

/// What a process does, running.
pub(crate) struct Pipeline {
    /// Where the endpoint listens, if there is one.
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) http: SocketAddr,
    pub(crate) registry: Registry,
    supervisor: Supervisor,
    door: Option<Door>,
    backend: Backend,
    /// Of a stage apart.
    halt: Option<Halt>,
    deadline: Duration,
    /// Held for what they do while they are there.
    _reload: Option<Reload>,
    _server: http::Server,
}

/// Directory of the table `name` under the data directory of `config`.
pub(crate) fn table(config: &Config, name: &str) -> PathBuf {
    config.data.dir.join("tables").join(name)
}

impl Pipeline {
    /// Starts all that `role` says; `None` if `stop` resolves before that is done. The admin port is served from the
    /// first moment, and says what is waited for: on a cluster another process may have the partitions.
    pub(crate) async fn start(
        config: &Config,
        rules: RuleSet,
        role: &Role,
        clock: Arc<dyn Clock>,
        stop: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Option<Self>> {
        let groups = Groups::of(config, role)?;
        let listener = http::bind(config.http.listen).await?;
        let http = listener.local_addr().context("HTTP address")?;
        let (registry, readiness) = (metrics::registry()?, Readiness::new());
        let server = http::serve(listener, registry.clone(), readiness.asked())?;
        let data = &config.data.dir;
        std::fs::create_dir_all(data).with_context(|| format!("data directory {}", data.display()))?;

        let mut stop = pin!(stop);
        let opening = Backend::open(config, role.name, role.sync, &registry, clock.clone());
        let backend = tokio::select! {
            backend = opening => backend?,
            asked = stop.as_mut() => return asked.map(|()| None),
        };
        let parts = Parts { config, role, clock, registry, http, server, readiness, backend: backend.clone() };
        let started = tokio::select! {
            started = Self::start_on(parts, groups, rules) => started.map(Some),
            asked = stop => asked.map(|()| None),
        };
        if !matches!(started, Ok(Some(_)))
            && let Err(error) = backend.close().await
        {
            tracing::warn!(error = format!("{error:#}"), "streams are not closed, leases end by themselves");
        }
        started
    }

    /// All that may be damaged is opened before the door, so that what cannot be stored is not accepted. The consumers
    /// run last: they have a backlog to read, and the door must not wait for it.
    async fn start_on(parts: Parts<'_>, groups: Groups, rules: RuleSet) -> anyhow::Result<Self> {
        let Parts { config, role, clock, registry, http, server, readiness, backend } = parts;
        let streams = backend.streams();
        let (rules, reload) = if role.rules {
            let (rules, reload) = keep_rules(config, rules, &registry)?;
            (Some(rules), reload)
        } else {
            (None, None)
        };
        claims::claim(&streams, groups.claims(streams.as_ref())?, &readiness).await?;

        let devices = Connected::default();
        let halt = role.apart.then(Halt::default);
        let read: Arc<dyn streams::Streams> = match &halt {
            Some(halt) => Arc::new(Halting { inner: streams.clone(), halt: halt.clone() }),
            None => streams.clone(),
        };
        let shown = ConsumerMetrics::register(&registry)?;
        let context = consume::Context { streams: read, clock: clock.clone(), metrics: shown.clone() };
        let reach = if role.door { Reach::Here(devices.clone()) } else { Reach::Elsewhere };
        let around = Surroundings { config, role, rules: rules.clone(), registry: &registry, reach };
        let consumers = Consumers::open(groups, around, context).await?;
        let workflows = consumers.workflows();
        // What lies in the log before the door opens is not of this process's receiving.
        let alone = !role.apart && matches!(config.streams.backend, config::Backend::Embedded);
        let table = consumers.readings_table();
        let table = table.map(|sink| metrics::Table::new(streams.as_ref(), &shown, sink, alone)).transpose()?;

        let mut supervisor = Supervisor::new()?;
        let door = match role.door {
            true => Some(Door::open(config, streams.clone(), clock.clone(), &registry).await?),
            false => None,
        };
        let commands = door.as_ref().map(|door| door.ingest.commands());
        if let Some(commands) = &commands {
            devices.open(commands.clone());
        }
        let intake = door.as_ref().map(|door| door.ingest.intake());
        Balance::register(&registry, streams.clone(), intake.clone(), table, alone)?;
        let bridge = door.as_ref().and_then(Door::bridge);
        let runs = workflows.clone().map(|workflows| Arc::new(workflows) as Arc<dyn Runs>);
        let dlq = match (&intake, &runs) {
            (None, None) => None,
            _ => Some(Dlq::open(&config.data.dir, streams.clone(), intake.clone(), runs, !role.apart, clock.clone())?),
        };
        let snapshot = Source::new(role.name, registry.clone(), readiness.asked(), streams.clone(), clock);
        let api = api::router(ApiState {
            workflows: workflows.clone(),
            dlq,
            rules,
            registry: registry.clone(),
            streams,
            data: config.data.dir.clone(),
            snapshot: snapshot.clone(),
        });
        server.open(api.merge(page::live(snapshot)));
        consumers.spawn(&mut supervisor);
        if let (Some(commands), Some(workflows)) = (commands, workflows) {
            supervisor.keep(tokio::spawn(devices::tell_arrivals(commands, workflows)));
        }
        readiness.running(intake, bridge, backend.clone());
        let mqtt = door.as_ref().map(|door| door.ingest.local_addr());
        let (address, data) = (mqtt.map(|mqtt| mqtt.to_string()), config.data.dir.display().to_string());
        tracing::info!(stage = role.name, mqtt = address, %http, data, "ready");
        let deadline = Duration::from_secs(config.mqtt.stop_deadline_seconds);
        Ok(Self { mqtt, http, registry, supervisor, door, backend, halt, deadline, _reload: reload, _server: server })
    }

    /// Resolves when a stage has failed, to what failed and why.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let mut lost = self.backend.failed();
        let door = async {
            match &self.door {
                Some(door) => door.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = door => error,
            reason = set(&mut lost) => anyhow::anyhow!("streams failed: {reason}"),
            error = self.supervisor.failed() => error,
        }
    }

    /// Stops: accepts no more, and returns when everything acknowledged is in the table; of a stage apart, when what it
    /// has read is passed on, and its partitions are free for others.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let deadline = self.deadline;
        let stop = async {
            if let Some(door) = self.door {
                door.close().await?;
            }
            if let Some(halt) = self.halt {
                halt.halt();
            }
            self.supervisor.stop().await?;
            self.backend.close().await
        };
        match tokio::time::timeout(deadline, stop).await {
            Ok(stopped) => stopped,
            Err(_) => bail!(
                "not stopped within {} s: what is acknowledged is in the streams, and reaches the table after the next start",
                deadline.as_secs()
            ),
        }
    }
}

/// What a start goes on with once streams are open.
struct Parts<'a> {
    config: &'a Config,
    role: &'a Role,
    clock: Arc<dyn Clock>,
    registry: Registry,
    http: SocketAddr,
    server: http::Server,
    readiness: Readiness,
    backend: Backend,
}

/// The rules in force, from now on: those of a file are kept up to date, others stay as they are.
fn keep_rules(
    config: &Config,
    rules: RuleSet,
    registry: &Registry,
) -> anyhow::Result<(watch::Receiver<Arc<RuleSet>>, Option<Reload>)> {
    let (file, streams) = (&config.rules.file, &config.streams.emit);
    reload::check_streams(&rules, streams).context("rules")?;
    if file.as_os_str().is_empty() {
        return Ok((watch::channel(Arc::new(rules)).1, None));
    }
    let (rules, reload) = Reload::start(file, streams, rules, registry)?;
    Ok((rules, Some(reload)))
}

/// Waits until something is there.
async fn set(reason: &mut watch::Receiver<Option<String>>) -> String {
    match reason.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
