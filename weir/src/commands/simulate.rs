//! `weir simulate`: a fleet or a recording, against any broker.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use simulator::{FleetConfig, Progress, ReplayConfig, Summary};
use telemetry::Clock;
use tokio::sync::watch;

use super::signals;
use crate::cli::Simulate;
use crate::config::Config;

/// Publishes; success if everything was acknowledged.
pub(crate) async fn run(arguments: Simulate, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let progress = Arc::new(Progress::default());
    let (stop, stopped) = watch::channel(false);
    let (ledger, sent) = (arguments.ledger.clone(), arguments.sent.clone());
    let publish = async {
        match &arguments.replay {
            Some(_) => simulator::replay::run(replay(&arguments, config)?, clock, stopped, progress).await,
            None => simulator::fleet::run(fleet(&arguments, config), clock, stopped, progress).await,
        }
    };
    tokio::pin!(publish);
    let summary = tokio::select! {
        summary = &mut publish => summary?,
        signal = signals::stop_or_hangup() => {
            signal?;
            stop.send_replace(true);
            publish.await?
        }
    };
    print(&summary);
    println!("ledger        {}", ledger.display());
    if let Some(sent) = sent {
        println!("sent          {}", sent.display());
    }
    Ok(if summary.unacknowledged == 0 && summary.unpublished_readings == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn fleet(arguments: &Simulate, config: &Config) -> FleetConfig {
    let fleet = super::fleet(&arguments.fleet, config, arguments.mqtt.clone(), arguments.ledger.clone());
    FleetConfig {
        surge: arguments.surge,
        drain: arguments.drain,
        sent: arguments.sent.clone(),
        patience: arguments.patience,
        reconnect_within: arguments.reconnect_within,
        commands: arguments.commands.clone(),
        commands_topic: arguments.commands_topic.clone(),
        mischief: arguments.mischief,
        skew: arguments.skew,
        boot_each: arguments.boot_each,
        ..fleet
    }
}

fn replay(arguments: &Simulate, config: &Config) -> anyhow::Result<ReplayConfig> {
    let required = |value: &Option<String>, flag: &str| value.clone().with_context(|| format!("{flag} is required"));
    Ok(ReplayConfig {
        mqtt: arguments.mqtt.clone(),
        file: arguments.replay.clone().context("--replay is required")?,
        metric: required(&arguments.metric, "--metric")?,
        device: required(&arguments.device, "--device")?,
        unit: arguments.unit.clone().unwrap_or_default(),
        speed: arguments.speed,
        ledger: arguments.ledger.clone(),
        drain: arguments.drain,
        sent: arguments.sent.clone(),
        patience: arguments.patience,
        reconnect_within: arguments.reconnect_within,
        topic: config.mqtt.topic_template.clone(),
        ..ReplayConfig::default()
    })
}

fn print(summary: &Summary) {
    println!("messages      {:>12} ({} readings)", summary.messages, summary.readings);
    println!("acknowledged  {:>12} ({} readings)", summary.acknowledged_messages, summary.acknowledged_readings);
    println!("unanswered    {:>12}", summary.unacknowledged);
    println!("reconnects    {:>12}", summary.reconnects);
    println!("stray         {:>12} acknowledgements of nothing sent", summary.stray_acknowledgements);
    println!("late          {:>12} messages, at most {} ms", summary.late_messages, summary.max_lateness_micros / 1000);
    if summary.restarts > 0 {
        println!("restarts      {:>12}", summary.restarts);
    }
    if summary.unpublished_readings > 0 {
        println!("unpublished   {:>12} readings of the recording", summary.unpublished_readings);
    }
}
