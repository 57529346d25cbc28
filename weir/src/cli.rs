//! The command line.

mod stages;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::stages::{IngestStage, ProcessStage, Share, SinkStage, StageAddresses, WorkflowsStage};

/// Telemetry from devices to Parquet: every reading that is acknowledged is in the table exactly once.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    /// Configuration file; see config/weir.toml for every option
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything with a simulated fleet, then check the promise and print the verdict
    Demo(Demo),
    /// Run everything for real devices, until SIGTERM or Ctrl-C
    Up(Up),
    /// Run one stage apart, on a cluster: take messages from devices or a broker
    Ingest(IngestStage),
    /// Run one stage apart, on a cluster: evaluate rules
    Process(ProcessStage),
    /// Run one stage apart, on a cluster: write tables
    Sink(SinkStage),
    /// Publish as a fleet, or replay a recording, to any MQTT broker, and write a ledger of what it acknowledged
    Simulate(Simulate),
    /// Compare a ledger with a table: what was lost, what is there twice
    Verify(Verify),
    /// Measure the endpoint alone and the whole pipeline, generator included, on this machine
    Bench(Bench),
    /// Messages that were refused and workflows that were given up, in a running process
    #[command(subcommand)]
    Dlq(crate::commands::dlq::DlqCommand),
    /// What rules started, in a running process: the state of each run and step. Without a command: run one stage
    /// apart, on a cluster: do the steps of rules that fired
    Workflows(WorkflowsStage),
    /// What streams hold and how far groups have come; moving streams to another backend
    #[command(subcommand)]
    Streams(crate::commands::streams::StreamsCommand),
    /// Follow one message: when it was received, where it is in streams and table, what it fired and started
    Explain(crate::commands::explain::Explain),
    /// Watch running processes in a terminal: rates, lag, values, alerts, the balance
    Top(crate::commands::top::Top),
    /// Check, try, backtest and list rules
    #[command(subcommand)]
    Rules(crate::commands::rules::RulesCommand),
    /// Print the configuration in force
    Config(Addresses),
    /// What the harness in chaos/ asks of this binary
    #[cfg(feature = "faults")]
    #[command(hide = true)]
    Faults(crate::commands::faults::Faults),
    /// Generate load as `weir bench` does, print a JSON report
    #[command(hide = true)]
    Load(Load),
}

impl Command {
    /// Whether it runs until it is stopped, as a service.
    pub(crate) fn is_service(&self) -> bool {
        match self {
            Self::Up(_) | Self::Ingest(_) | Self::Process(_) | Self::Sink(_) => true,
            Self::Workflows(workflows) => workflows.command.is_none(),
            _ => false,
        }
    }
}

/// Where to listen and where to keep data; overrides the configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Addresses {
    /// Directory of log and tables [default: weir-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address of the MQTT endpoint [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtt: Option<SocketAddr>,
    /// Address of metrics and health [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
}

/// The simulated fleet, wherever one runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct Fleet {
    /// Simulated devices
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) devices: u32,
    /// Messages per second of the whole fleet
    #[arg(long, default_value_t = 2_000.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Stop after this time, e.g. 30s, 5m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Seed of the fleet
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `weir demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Demo {
    #[command(flatten)]
    pub(crate) addresses: Addresses,
    #[command(flatten)]
    pub(crate) fleet: Fleet,
    /// Print the verdict as one JSON line, last on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weir up`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) addresses: Addresses,
    /// Rules to evaluate, a TOML file [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Only the endpoint and the log: nothing reads the streams. For `weir bench`
    #[arg(long, hide = true)]
    pub(crate) bare: bool,
    /// Acknowledge before the disk has it, with a warning. For `weir bench`
    #[arg(long, hide = true, conflicts_with = "bare")]
    pub(crate) without_sync: bool,
}

/// `weir simulate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Simulate {
    /// Broker to publish to, host:port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    pub(crate) mqtt: String,
    /// Ledger to write, one line a message
    #[arg(long, value_name = "FILE", default_value = "ledger.csv")]
    pub(crate) ledger: PathBuf,
    /// File to write with everything sent, one line a reading
    #[arg(long, value_name = "FILE")]
    pub(crate) sent: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fleet: Fleet,
    /// Give a connection up after this time without acknowledgement, or silent, and open a new one
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) patience: Duration,
    /// Share of the messages to send badly: twice, out of order, or late
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, conflicts_with = "replay")]
    pub(crate) mischief: f64,
    /// How wrong the clocks of the devices may be; a server refuses times too far ahead
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration, conflicts_with = "replay")]
    pub(crate) skew: Duration,
    /// Restart each device in this time, from 2s: a new boot, numbers from 1, the unacknowledged kept
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "replay")]
    pub(crate) boot_each: Option<Duration>,
    /// Longest pause between two attempts to connect. For a harness that restarts the server all the time
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration, hide = true)]
    pub(crate) reconnect_within: Duration,
    /// Let each device subscribe to its commands, acknowledge them, and write them to this file
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub(crate) commands: Option<PathBuf>,
    /// Topic of the commands of a device
    #[arg(long, value_name = "TOPIC", default_value = "{site}/{device_id}/commands", requires = "commands")]
    pub(crate) commands_topic: String,
    /// How long to wait at the end for acknowledgements still missing
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) drain: Duration,
    /// Publish this recording instead: a CSV file with the columns timestamp and value
    #[arg(long, value_name = "FILE", requires_all = ["metric", "device"])]
    pub(crate) replay: Option<PathBuf>,
    /// Metric of the recording
    #[arg(long, requires = "replay")]
    pub(crate) metric: Option<String>,
    /// Device id of the recording
    #[arg(long, requires = "replay")]
    pub(crate) device: Option<String>,
    /// Unit of the recording
    #[arg(long, requires = "replay")]
    pub(crate) unit: Option<String>,
    /// `max`, or how many times faster than it was recorded
    #[arg(long, default_value = "max")]
    pub(crate) speed: simulator::Speed,
    /// Let the rate rise and fall again, FACTORx@TIME[+AFTER]: 10x@2m+30s keeps --rate for 30 s, rises to ten times as
    /// much within 2 minutes, falls within 2 more, and stays. What cannot be sent when it is due is sent late
    #[arg(long, value_name = "SURGE", conflicts_with = "replay")]
    pub(crate) surge: Option<simulator::Surge>,
}

/// `weir verify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Verify {
    /// Ledger of the devices
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: PathBuf,
    /// Table, e.g. weir-data/tables/readings
    #[arg(long, value_name = "DIR")]
    pub(crate) table: PathBuf,
    /// Print one JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weir bench`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    /// What else to measure
    #[command(subcommand)]
    pub(crate) what: Option<BenchCommand>,
    /// Seconds of load per measurement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Directory for the data of the measurements, on the disk to measure [default: a new one in weir-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print the figures as one JSON line, last on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `weir bench` measures besides the pipeline.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure what rules cost, a reading and rule, and their share of the pipeline's CPU
    Rules(crate::bench::rules::BenchRules),
    /// Measure the pipeline behind its endpoint, behind Mosquitto, and on a Fluvio cluster, in one run
    Brokers(crate::bench::brokers::BenchBrokers),
}

/// `weir load`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    #[arg(long)]
    pub(crate) mqtt: String,
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u32,
    #[arg(long, default_value_t = 256)]
    pub(crate) in_flight: u16,
    #[arg(long, default_value_t = 1)]
    pub(crate) readings_per_message: usize,
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub(crate) duration: Duration,
    #[arg(long)]
    pub(crate) rate: Option<f64>,
}

/// A time such as `30s`, `5m`, `250ms`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}`: expected a number with ms, s, m or h, e.g. 30s");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let number: f64 = number.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| expected())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("expected messages per second, above 0 and up to 1000000".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["30", "s", "-1s", "1d", "", "1e99h", "1.2.3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_a_part_of_the_whole() {
        assert_eq!((share("0"), share("0.25"), share("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for wrong in ["-0.1", "1.1", "NaN", "5%", ""] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_recording_is_replayed_as_it_is() {
        let replay = ["weir", "simulate", "--replay", "FILE.csv", "--metric", "m", "--device", "d"];
        assert!(Cli::try_parse_from(replay).is_ok());
        for bad in [["--mischief", "0.1"], ["--skew", "1s"], ["--boot-each", "5s"]] {
            assert!(Cli::try_parse_from(replay.into_iter().chain(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_replay_of_the_readme_parses() {
        let line = "weir simulate --mqtt 127.0.0.1:1883 --replay FILE.csv --metric temperature --device machine-1 \
                    --unit degF --speed max";
        Cli::try_parse_from(line.split_whitespace()).unwrap();
    }
}
