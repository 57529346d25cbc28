//! What reads the streams: rules, workflows, tables.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use processors::workflows::{GROUP, Started};
use processors::{RuleSet, RulesEffect, RulesMetrics};
use prometheus::Registry;
use sink::{SinkConfig, SinkMetrics, TableSink, TableSpec};
use streams::consume::{self, ConsumerConfig};
use streams::{Partition, Position, StreamName, Streams};
use tokio::sync::watch;

use super::devices::Connected;
use super::workflows;
use crate::config::Config;
use crate::supervisor::{Stage, Supervisor};

/// How long firings gather: they have gathered as readings.
const GATHER_FIRINGS: Duration = Duration::from_millis(1);

/// The consumers, opened and not yet running.
pub(super) struct Consumers {
    context: consume::Context,
    rules: (ConsumerConfig, RulesEffect),
    pub(super) workflows: Started,
    firings: ConsumerConfig,
    tables: Vec<(Stage, ConsumerConfig, TableSink)>,
}

impl Consumers {
    /// Opens outbox and tables, and registers each group that is new: from then on the log keeps all that it has not
    /// passed. That must be so before the first message is acknowledged.
    pub(super) async fn open(
        config: &Config,
        rules: watch::Receiver<Arc<RuleSet>>,
        context: consume::Context,
        registry: &Registry,
        devices: Connected,
    ) -> anyhow::Result<Self> {
        let metrics = RulesMetrics::register(registry)?;
        let effect = RulesEffect::new(rules, context.streams.clone(), metrics, context.clock.clone())
            .append_bytes(config.streams.queue_bytes / 2);
        let gather = Duration::from_secs_f64(config.rules.gather_seconds);
        let rules = (ConsumerConfig { gather, ..consumer(config, "rules", StreamName::readings()) }, effect);

        let workflows = workflows::start(config, &context, registry, devices).await?;
        let firings = consumer(config, GROUP, StreamName::workflows());
        let firings = ConsumerConfig { gather: GATHER_FIRINGS, ..firings };

        let (metrics, sink) = (SinkMetrics::register(registry)?, sink_config(config));
        let table = |stage, spec, stream: StreamName| -> anyhow::Result<_> {
            let group = format!("sink/{stream}");
            let table = TableSink::open(&sink, spec, config.streams.partitions, context.clock.clone(), &metrics)?;
            Ok((stage, consumer(config, &group, stream), table))
        };
        let mut tables = vec![
            table(Stage::ReadingsTable, TableSpec::readings(), StreamName::readings())?,
            table(Stage::AlertsTable, TableSpec::alerts(), StreamName::alerts())?,
        ];
        for stream in config.emit()? {
            let stage = Stage::EventsTable(stream.to_string());
            tables.push(table(stage, TableSpec::events(stream.as_str()), stream)?);
        }
        for consumer in [&rules.0, &firings].into_iter().chain(tables.iter().map(|(_, consumer, _)| consumer)) {
            register(context.streams.as_ref(), consumer).await?;
        }
        Ok(Self { context, rules, workflows, firings, tables })
    }

    pub(super) fn spawn(self, supervisor: &mut Supervisor) {
        let Self { context, rules: (consumer, effect), workflows, firings, tables } = self;
        supervisor.spawn(Stage::Rules, |stop| consume::run(context.clone(), consumer, effect, stop));
        let Started { workflows: _, effect, executor } = workflows;
        supervisor.spawn(Stage::Workflows, |stop| consume::run(context.clone(), firings, effect, stop));
        supervisor.spawn(Stage::Executor, |stop| executor.run(stop));
        for (stage, consumer, effect) in tables {
            supervisor.spawn(stage, |stop| consume::run(context.clone(), consumer, effect, stop));
        }
    }
}

/// Commits the beginning of each partition where the group has no position.
async fn register(streams: &dyn Streams, consumer: &ConsumerConfig) -> anyhow::Result<()> {
    let failed = || format!("consumer group {}", consumer.group);
    let partitions: Vec<_> =
        consumer.partitions.iter().map(|index| Partition::new(consumer.stream.clone(), *index)).collect();
    streams.claim(&consumer.group, &partitions).await.with_context(failed)?;
    let mut begins = Vec::new();
    for partition in partitions {
        if streams.position(&consumer.group, &partition).await.with_context(failed)?.is_none() {
            let offset = streams.bounds(&partition).with_context(failed)?.start;
            begins.push((partition, Position { offset, ..Position::default() }));
        }
    }
    if begins.is_empty() {
        return Ok(());
    }
    streams.commit(&consumer.group, begins).await.with_context(failed)
}

fn sink_config(config: &Config) -> SinkConfig {
    SinkConfig {
        root: config.data.dir.join("tables"),
        staging: config.data.dir.join("staging"),
        roll_rows: config.sink.roll_rows,
        roll_bytes: config.sink.roll_bytes,
        roll_age: Duration::from_secs_f64(config.sink.roll_age_seconds),
        ..SinkConfig::default()
    }
}

fn consumer(config: &Config, group: &str, stream: StreamName) -> ConsumerConfig {
    ConsumerConfig {
        group: group.into(),
        stream,
        partitions: (0..config.streams.partitions).collect(),
        read_bytes: config.consumers.read_bytes,
        commit_interval: Duration::from_secs_f64(config.consumers.commit_interval_seconds),
        gather: consume::GATHER,
    }
}
