//! The commands, one file each.

mod demo;
mod load;
mod signals;
mod simulate;
mod status;
mod up;
mod verify;

use std::process::ExitCode;

use telemetry::clock::SystemClock;

use crate::bench;
use crate::cli::{Addresses, Command};
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
        Command::Simulate(arguments) => simulate::run(arguments, &config, clock).await,
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments, clock).await,
        Command::Config(addresses) => {
            apply(&mut config, &addresses);
            print!("{}", config.to_toml()?);
            Ok(ExitCode::SUCCESS)
        }
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
