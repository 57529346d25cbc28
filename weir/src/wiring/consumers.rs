//! What reads the streams: rules, workflows, tables; as far as they belong to this process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use processors::workflows::{GROUP, Started, Workflows};
use processors::{RuleSet, RulesEffect, RulesMetrics};
use prometheus::Registry;
use sink::{SinkConfig, SinkMetrics, TableSink, TableSpec};
use streams::consume::{self, ConsumerConfig};
use streams::{Partition, Position, StreamName, Streams};
use tokio::sync::watch;

use super::beginning::Beginning;
use super::claims::Claim;
use super::role::Role;
use super::workflows::{self, Reach};
use crate::config::Config;
use crate::supervisor::{Stage, Supervisor};

/// How long firings gather: they have gathered as readings.
const GATHER_FIRINGS: Duration = Duration::from_millis(1);

/// The groups of this process, with what they read.
pub(super) struct Groups {
    /// The partitions of this process, of every stream.
    own: Vec<u32>,
    rules: Option<ConsumerConfig>,
    firings: Option<ConsumerConfig>,
    tables: Vec<(Stage, TableSpec, ConsumerConfig)>,
}

impl Groups {
    pub(super) fn of(config: &Config, role: &Role) -> anyhow::Result<Self> {
        let own = role.partitions.of(config.streams.partitions)?;
        let consumer = |group: &str, stream, gather| consumer(config, group, stream, own.clone(), gather);
        let gather = Duration::from_secs_f64(config.rules.gather_seconds);
        let rules = role.rules.then(|| consumer("rules", StreamName::readings(), gather));
        let firings = role.workflows.then(|| consumer(GROUP, StreamName::workflows(), GATHER_FIRINGS));
        let table = |stream: StreamName| {
            let (stage, spec) = match stream.as_str() {
                "readings" => (Stage::ReadingsTable, TableSpec::readings()),
                "alerts" => (Stage::AlertsTable, TableSpec::alerts()),
                name => (Stage::EventsTable(name.to_owned()), TableSpec::events(name)),
            };
            (stage, spec, consumer(&format!("sink/{stream}"), stream, consume::GATHER))
        };
        let tables = role.tables.of(config)?.into_iter().map(table).collect();
        Ok(Self { own, rules, firings, tables })
    }

    /// All that must be this process's own.
    pub(super) fn claims(&self, streams: &dyn Streams) -> anyhow::Result<Vec<Claim>> {
        let tables = self.tables.iter().map(|(_, _, consumer)| consumer);
        let mut claims: Vec<Claim> =
            self.rules.iter().chain(tables).map(|consumer| (consumer.group.clone(), partitions(consumer))).collect();
        if self.firings.is_some() {
            claims.extend(processors::workflows::claims(Some(&self.own), streams)?);
        }
        Ok(claims)
    }
}

/// What consumers need of the process around them.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a Config,
    pub(super) role: &'a Role,
    /// The rules in force, where they run.
    pub(super) rules: Option<watch::Receiver<Arc<RuleSet>>>,
    pub(super) registry: &'a Registry,
    /// How workflows get to devices.
    pub(super) reach: Reach,
}

/// The consumers, opened and not yet running.
pub(super) struct Consumers {
    context: consume::Context,
    rules: Option<(ConsumerConfig, RulesEffect)>,
    firings: Option<(ConsumerConfig, Started)>,
    tables: Vec<(Stage, ConsumerConfig, TableSink)>,
    /// Where tables are written.
    sink: Option<SinkMetrics>,
}

impl Consumers {
    /// Opens outbox and tables, and registers each group that is new: from then on the log keeps all that it has not
    /// passed. That must be so before the first message is acknowledged. The partitions must be claimed before:
    /// opening a table bars whoever had them.
    pub(super) async fn open(
        groups: Groups,
        around: Surroundings<'_>,
        context: consume::Context,
    ) -> anyhow::Result<Self> {
        let Surroundings { config, role, rules, registry, reach } = around;
        let (streams, from) = (context.streams.clone(), role.from);
        let rules = match (groups.rules, rules) {
            (Some(consumer), Some(rules)) => {
                let metrics = RulesMetrics::register(registry)?;
                let (clock, tracing) = (context.clock.clone(), telemetry::trace::Tracing::default());
                let effect = RulesEffect::new(rules, streams.clone(), metrics, clock, tracing);
                Some((consumer, effect.append_bytes(config.streams.queue_bytes / 2)))
            }
            _ => None,
        };
        let firings = match groups.firings {
            Some(consumer) => Some((consumer, workflows::start(config, groups.own, &context, registry, reach).await?)),
            None => None,
        };
        let (mut tables, mut shown) = (Vec::new(), None);
        if !groups.tables.is_empty() {
            let (metrics, sink) = (SinkMetrics::register(registry)?, sink_config(config, role));
            for (stage, spec, consumer) in groups.tables {
                let table = open_table(&sink, spec, &consumer.partitions, &context, &metrics).await?;
                tables.push((stage, consumer, table));
            }
            shown = Some(metrics);
        }
        let consumers = rules.iter().map(|(consumer, _)| consumer).chain(firings.iter().map(|(consumer, _)| consumer));
        for consumer in consumers.chain(tables.iter().map(|(_, consumer, _)| consumer)) {
            register(streams.as_ref(), consumer, from).await?;
        }
        Ok(Self { context, rules, firings, tables, sink: shown })
    }

    /// The executor, where workflows run.
    pub(super) fn workflows(&self) -> Option<Workflows> {
        self.firings.as_ref().map(|(_, started)| started.workflows.clone())
    }

    /// What the table of readings shows, where it is written.
    pub(super) fn readings_table(&self) -> Option<SinkMetrics> {
        let written = self.tables.iter().any(|(stage, ..)| *stage == Stage::ReadingsTable);
        self.sink.clone().filter(|_| written)
    }

    pub(super) fn spawn(self, supervisor: &mut Supervisor) {
        let Self { context, rules, firings, tables, sink: _ } = self;
        if let Some((consumer, effect)) = rules {
            supervisor.spawn(Stage::Rules, |stop| consume::run(context.clone(), consumer, effect, stop));
        }
        if let Some((consumer, Started { workflows: _, effect, executor })) = firings {
            supervisor.spawn(Stage::Workflows, |stop| consume::run(context.clone(), consumer, effect, stop));
            supervisor.spawn(Stage::Executor, |stop| executor.run(stop));
        }
        for (stage, consumer, effect) in tables {
            supervisor.spawn(stage, |stop| consume::run(context.clone(), consumer, effect, stop));
        }
    }
}

/// On a thread of its own: leases are renewed meanwhile, however long it takes.
async fn open_table(
    sink: &SinkConfig,
    spec: TableSpec,
    partitions: &[u32],
    context: &consume::Context,
    metrics: &SinkMetrics,
) -> anyhow::Result<TableSink> {
    let (sink, partitions, clock) = (sink.clone(), partitions.to_vec(), context.clock.clone());
    let (metrics, tracing) = (metrics.clone(), telemetry::trace::Tracing::default());
    let open = move || TableSink::open(&sink, spec, &partitions, clock, tracing, &metrics);
    Ok(tokio::task::spawn_blocking(open).await.context("opening a table")??)
}

/// Commits where to begin in each partition where the group has no position.
async fn register(streams: &dyn Streams, consumer: &ConsumerConfig, from: Beginning) -> anyhow::Result<()> {
    let failed = || format!("consumer group {}", consumer.group);
    let mut begins = Vec::new();
    for partition in partitions(consumer) {
        if streams.position(&consumer.group, &partition).await.with_context(failed)?.is_none() {
            let offset = from.offset(streams, &partition).await.with_context(failed)?;
            begins.push((partition, Position { offset, ..Position::default() }));
        }
    }
    if begins.is_empty() {
        return Ok(());
    }
    streams.commit(&consumer.group, begins).await.with_context(failed)
}

fn partitions(consumer: &ConsumerConfig) -> Vec<Partition> {
    consumer.partitions.iter().map(|index| Partition::new(consumer.stream.clone(), *index)).collect()
}

fn sink_config(config: &Config, role: &Role) -> SinkConfig {
    SinkConfig {
        root: config.data.dir.join("tables"),
        staging: config.data.dir.join("staging"),
        roll_rows: config.sink.roll_rows,
        roll_bytes: config.sink.roll_bytes,
        roll_age: Duration::from_secs_f64(config.sink.roll_age_seconds),
        shared: role.apart,
        ..SinkConfig::default()
    }
}

fn consumer(
    config: &Config,
    group: &str,
    stream: StreamName,
    partitions: Vec<u32>,
    gather: Duration,
) -> ConsumerConfig {
    ConsumerConfig {
        group: group.into(),
        stream,
        partitions,
        read_bytes: config.consumers.read_bytes,
        commit_interval: Duration::from_secs_f64(config.consumers.commit_interval_seconds),
        gather,
    }
}
