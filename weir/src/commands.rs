//! The commands, one file each.

mod demo;
pub(crate) mod dlq;
pub(crate) mod explain;
#[cfg(feature = "faults")]
pub(crate) mod faults;
mod load;
pub(crate) mod rules;
mod signals;
mod simulate;
mod stage;
mod status;
pub(crate) mod streams;
pub(crate) mod top;
mod up;
mod verify;
pub(crate) mod workflows;

use std::path::PathBuf;
use std::process::ExitCode;

use processors::RuleSet;
use simulator::FleetConfig;
use telemetry::clock::SystemClock;

use crate::bench;
use crate::cli::{Addresses, Bench, BenchCommand, Command, Fleet, StageAddresses, WorkflowsStage};
use crate::config::Config;

/// Runs `command`.
pub(crate) async fn run(command: Command, mut config: Config) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::shared();
    match command {
        Command::Demo(arguments) => {
            apply(&mut config, &arguments.addresses);
            demo::run(arguments, config, clock).await
        }
        Command::Up(arguments) => {
            apply(&mut config, &arguments.addresses);
            up::run(arguments, config, clock).await
        }
        Command::Ingest(arguments) => {
            apply(&mut config, &arguments.addresses);
            stage::ingest(&config, clock).await
        }
        Command::Process(arguments) => {
            apply_stage(&mut config, &arguments.addresses);
            stage::process(arguments, config, clock).await
        }
        Command::Workflows(WorkflowsStage { command: None, addresses, share }) => {
            apply_stage(&mut config, &addresses);
            stage::workflows(&share, &config, clock).await
        }
        Command::Sink(arguments) => {
            apply_stage(&mut config, &arguments.addresses);
            stage::sink(arguments, &config, clock).await
        }
        Command::Simulate(arguments) => simulate::run(arguments, &config, clock).await,
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Bench(Bench { what: Some(BenchCommand::Rules(arguments)), .. }) => {
            bench::rules::run(&arguments, clock).await
        }
        Command::Bench(Bench { what: Some(BenchCommand::Brokers(arguments)), .. }) => {
            bench::brokers::run(&arguments, clock).await
        }
        Command::Bench(arguments) => bench::run(&arguments, clock).await,
        Command::Dlq(command) => dlq::run(command, &config).await,
        Command::Workflows(WorkflowsStage { command: Some(command), .. }) => workflows::run(command, &config).await,
        Command::Streams(command) => streams::run(command, &config).await,
        Command::Explain(arguments) => explain::run(&arguments, &config, clock).await,
        Command::Top(arguments) => top::run(arguments, &config, clock).await,
        Command::Rules(command) => rules::run(command, &config, clock).await,
        Command::Config(addresses) => {
            apply(&mut config, &addresses);
            print!("{}", config.to_toml()?);
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "faults")]
        Command::Faults(arguments) => faults::run(&arguments),
        Command::Load(arguments) => load::run(arguments, clock).await,
    }
}

fn apply(config: &mut Config, flags: &Addresses) {
    if let Some(data) = &flags.data {
        config.data.dir.clone_from(data);
    }
    if let Some(mqtt) = flags.mqtt {
        config.mqtt.listen = mqtt;
    }
    if let Some(http) = flags.http {
        config.http.listen = http;
    }
}

fn apply_stage(config: &mut Config, flags: &StageAddresses) {
    let StageAddresses { data, http } = flags.clone();
    apply(config, &Addresses { data, http, mqtt: None });
}

/// The rules of the configured file, or `otherwise` where none is configured.
fn rules(config: &Config, otherwise: RuleSet) -> anyhow::Result<RuleSet> {
    let file = &config.rules.file;
    if file.as_os_str().is_empty() { Ok(otherwise) } else { Ok(RuleSet::load(file)?) }
}

/// The fleet of `flags`, publishing to `mqtt` and writing `ledger`.
fn fleet(flags: &Fleet, config: &Config, mqtt: String, ledger: PathBuf) -> FleetConfig {
    FleetConfig {
        mqtt,
        devices: flags.devices,
        rate: flags.rate,
        duration: flags.duration,
        seed: flags.seed,
        ledger,
        topic: config.mqtt.topic_template.clone(),
        ..FleetConfig::default()
    }
}
