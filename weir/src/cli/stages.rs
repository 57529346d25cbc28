//! The command line of stages apart.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Addresses;
use crate::commands::workflows::WorkflowsCommand;
use crate::wiring::{Assignment, Beginning, Instance, PartitionList};

/// Where a stage listens and keeps data; overrides the configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct StageAddresses {
    /// Directory of what the stage keeps: each process its own, but sinks of one table the same [default: weir-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address of metrics and health [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
}

/// Which part of the streams a stage reads.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Share {
    /// Partitions to read, e.g. 0-3,6; no other process may have them [default: all]
    #[arg(long, value_name = "LIST", conflicts_with = "instance")]
    pub(crate) partitions: Option<PartitionList>,
    /// Read the share of instance I of N, counted from 0: each N-th partition
    #[arg(long, value_name = "I/N")]
    pub(crate) instance: Option<Instance>,
    /// Where a group that is new begins: beginning, now, or a time such as 2026-11-23T08:00:00Z. One that has a position
    /// goes on from there
    #[arg(long, value_name = "WHERE", default_value = "beginning")]
    pub(crate) from: Beginning,
}

impl Share {
    pub(crate) fn assignment(&self) -> Assignment {
        match (&self.partitions, self.instance) {
            (Some(list), _) => Assignment::Listed(list.clone()),
            (None, Some(instance)) => Assignment::Instance(instance),
            (None, None) => Assignment::All,
        }
    }
}

/// `weir ingest`.
#[derive(Args, Clone, Debug)]
pub(crate) struct IngestStage {
    #[command(flatten)]
    pub(crate) addresses: Addresses,
}

/// `weir process`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProcessStage {
    #[command(flatten)]
    pub(crate) addresses: StageAddresses,
    #[command(flatten)]
    pub(crate) share: Share,
    /// Rules to evaluate, a TOML file or a directory [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
}

/// `weir workflows`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WorkflowsStage {
    /// What to ask of a running process
    #[command(subcommand)]
    pub(crate) command: Option<WorkflowsCommand>,
    #[command(flatten)]
    pub(crate) addresses: StageAddresses,
    #[command(flatten)]
    pub(crate) share: Share,
}

/// `weir sink`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SinkStage {
    #[command(flatten)]
    pub(crate) addresses: StageAddresses,
    #[command(flatten)]
    pub(crate) share: Share,
    /// Tables to write, e.g. readings,alerts [default: all]
    #[arg(long = "table", value_name = "NAMES", value_delimiter = ',')]
    pub(crate) tables: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[test]
    fn a_stage_takes_a_list_or_an_instance_and_names_what_is_wrong() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
        for line in [
            "weir ingest --mqtt 127.0.0.1:1",
            "weir process --partitions 0-3,6 --from now --rules r.toml",
            "weir workflows --instance 1/4 --data d",
            "weir workflows list --http 127.0.0.1:1",
            "weir sink --table readings,alerts --from 2026-11-23T08:00:00Z",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for (line, part) in [
            ("weir process --partitions 0-3 --instance 0/2", "cannot be used with"),
            ("weir process --partitions 3-0", "`3-0`"),
            ("weir sink --instance 2/2", "`2/2`"),
            ("weir sink --from yesterday", "`yesterday`"),
            ("weir ingest --partitions 0", "--partitions"),
            ("weir process --mqtt 127.0.0.1:1", "--mqtt"),
            ("weir workflows --instance 0/2 list", "list"),
            ("weir up --partitions 0", "--partitions"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
