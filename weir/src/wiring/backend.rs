//! Where streams are: in the embedded log, or on a cluster. Nobody else knows which.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus::Registry;
use streams::log::{EmbeddedLog, LogConfig, LogMetrics};
use streams::transfer::Destination;
use streams::{StreamName, StreamSpec, Streams};
use telemetry::Clock;
use telemetry::clock::SystemClock;
use telemetry::trace::Tracing;
use tokio::sync::watch;

use crate::config::{self, Config};

/// The streams of a configuration, open. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Backend {
    /// In this process, below the data directory.
    Embedded(Arc<EmbeddedLog>),
    /// On a cluster, shared with other processes.
    #[cfg(feature = "fluvio")]
    Fluvio(Arc<streams::fluvio::FluvioStreams>),
}

/// Streams that a command looks at or changes while nothing else runs on them.
#[derive(Clone, Debug)]
pub(crate) struct OpenStreams {
    pub(crate) streams: Arc<dyn Streams>,
    /// The same streams, to move others to.
    pub(crate) destination: Arc<dyn Destination>,
    backend: Backend,
}

/// Opens the streams that `config` names.
pub(crate) async fn open_streams(config: &Config) -> anyhow::Result<OpenStreams> {
    let backend = Backend::open(config, "streams", true, &Registry::new(), SystemClock::shared()).await?;
    Ok(OpenStreams { streams: backend.streams(), destination: backend.destination(), backend })
}

impl OpenStreams {
    /// Makes durable what is under way, and gives leases back.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.backend.close().await
    }
}

impl Backend {
    /// Opens the streams of `config` for the process of role `stage`. Appends to the embedded log are not synced unless
    /// `sync`.
    pub(super) async fn open(
        config: &Config,
        stage: &str,
        sync: bool,
        registry: &Registry,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let specs = specs(config)?;
        match config.streams.backend {
            config::Backend::Embedded => Ok(Self::Embedded(open_log(config, specs, sync, registry, clock)?)),
            config::Backend::Fluvio => connect(config, stage, specs, registry, clock).await,
        }
    }

    pub(super) fn streams(&self) -> Arc<dyn Streams> {
        match self {
            Self::Embedded(log) => log.clone(),
            #[cfg(feature = "fluvio")]
            Self::Fluvio(cluster) => cluster.clone(),
        }
    }

    fn destination(&self) -> Arc<dyn Destination> {
        match self {
            Self::Embedded(log) => log.clone(),
            #[cfg(feature = "fluvio")]
            Self::Fluvio(cluster) => cluster.clone(),
        }
    }

    /// Set, once, when nothing can be appended or committed until a restart; says why.
    pub(super) fn failed(&self) -> watch::Receiver<Option<String>> {
        match self {
            Self::Embedded(log) => log.failed(),
            #[cfg(feature = "fluvio")]
            Self::Fluvio(cluster) => cluster.failed(),
        }
    }

    /// Whether appends get through just now, and if not why.
    pub(super) fn ready(&self) -> Result<(), String> {
        match self {
            Self::Embedded(log) => {
                let status = log.status();
                if status.full { Err(full(status.used_bytes, status.quota_bytes)) } else { Ok(()) }
            }
            #[cfg(feature = "fluvio")]
            Self::Fluvio(cluster) => cluster.reachable(),
        }
    }

    /// Makes durable what is under way, and gives leases back.
    pub(super) async fn close(&self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(log) => log.close().await.context("streams"),
            #[cfg(feature = "fluvio")]
            Self::Fluvio(cluster) => cluster.close().await.context("streams"),
        }
    }
}

/// What is said while the log takes no more.
pub(super) fn full(used: u64, quota: u64) -> String {
    format!("acknowledgements stopped: log holds {used} of {quota} bytes, waiting for consumers")
}

/// All streams of a configuration; every process opens all of them.
fn specs(config: &Config) -> anyhow::Result<Vec<StreamSpec>> {
    let partitions = config.streams.partitions;
    let stream = |name, partitions| StreamSpec { name, partitions };
    let mut specs = vec![
        stream(StreamName::readings(), partitions),
        stream(StreamName::alerts(), partitions),
        stream(StreamName::dead_letters(), 1),
        stream(StreamName::workflows(), partitions),
        stream(StreamName::workflow_dead_letters(), 1),
    ];
    specs.extend(config.emit()?.into_iter().map(|name| stream(name, partitions)));
    Ok(specs)
}

/// The largest record is a whole open group in one partition; its size there is an estimate.
fn record_bytes(config: &Config) -> usize {
    config.streams.queue_bytes / 2
}

fn open_log(
    config: &Config,
    specs: Vec<StreamSpec>,
    sync: bool,
    registry: &Registry,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<EmbeddedLog>> {
    if !sync {
        tracing::warn!(
            "acknowledging without fdatasync: a power cut loses what was acknowledged, for measurements only"
        );
    }
    let settings = &config.streams;
    let log = LogConfig {
        dir: config.data.dir.join("log"),
        segment_bytes: settings.segment_bytes,
        quota_bytes: settings.quota_bytes,
        retention_bytes: settings.retention_bytes,
        retention_age: Duration::from_secs(settings.retention_age_seconds),
        queue_bytes: settings.queue_bytes,
        record_bytes: record_bytes(config),
        sync,
    };
    let metrics = LogMetrics::register(registry)?;
    let opened = EmbeddedLog::open(log, specs, clock, Tracing::default(), metrics).context("streams")?;
    tracing::info!(recovery = ?opened.recovery(), "log opened");
    Ok(opened)
}

#[cfg(feature = "fluvio")]
async fn connect(
    config: &Config,
    stage: &str,
    specs: Vec<StreamSpec>,
    registry: &Registry,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Backend> {
    use streams::fluvio::{FluvioConfig, FluvioMetrics, FluvioStreams, Tls};

    let settings = &config.fluvio;
    let tls = (!settings.tls.domain.is_empty()).then(|| Tls {
        domain: settings.tls.domain.clone(),
        ca: settings.tls.ca.clone(),
        certificate: settings.tls.certificate.clone(),
        key: settings.tls.key.clone(),
    });
    let cluster = FluvioConfig {
        endpoint: settings.endpoint.clone(),
        topic_prefix: settings.topic_prefix.clone(),
        replication: settings.replication,
        retention: Duration::from_secs(settings.retention_seconds),
        timeout: Duration::from_secs_f64(settings.timeout_seconds),
        lease: Duration::from_secs_f64(settings.lease_seconds),
        owner: owner(stage),
        record_bytes: record_bytes(config),
        queue_bytes: config.streams.queue_bytes,
        tls,
    };
    tracing::warn!(
        retention_seconds = settings.retention_seconds,
        "streams are on fluvio: what is acknowledged is in the memory of the leader and of {} followers, not on disk, and \
         retention deletes what nobody has read; docs/guarantees.md says more",
        settings.replication.saturating_sub(1)
    );
    let metrics = FluvioMetrics::register(registry).context("metrics of the cluster")?;
    let connected = FluvioStreams::connect(cluster, specs, clock, Tracing::default(), metrics).await;
    let connected = connected.with_context(|| format!("fluvio cluster at {}", settings.endpoint))?;
    tracing::info!(endpoint = settings.endpoint, "connected to the cluster");
    Ok(Backend::Fluvio(connected))
}

/// Shows the metrics of a cluster without one, for who documents them.
#[cfg(all(test, feature = "fluvio"))]
pub(crate) fn show_cluster(registry: &Registry) -> Result<(), prometheus::Error> {
    streams::fluvio::FluvioMetrics::register(registry)?.begin(std::iter::once("weir.readings"));
    Ok(())
}

#[cfg(not(feature = "fluvio"))]
async fn connect(
    _config: &Config,
    _stage: &str,
    _specs: Vec<StreamSpec>,
    _registry: &Registry,
    _clock: Arc<dyn Clock>,
) -> anyhow::Result<Backend> {
    anyhow::bail!(
        "streams.backend = \"fluvio\": this binary was built without the feature `fluvio`, expected \"embedded\""
    )
}

/// What others are told of this process: what, where, which.
#[cfg(feature = "fluvio")]
fn owner(stage: &str) -> String {
    // Without a name the process id still says something.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("weir {stage} on {}, process {}", host.trim(), std::process::id())
}
