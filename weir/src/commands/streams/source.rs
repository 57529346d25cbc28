//! Where streams are looked at: in a running process, or where the configuration says they are.

use std::net::SocketAddr;

use anyhow::bail;
use clap::Args;

use crate::admin::AdminClient;
use crate::admin::client::{push_encoded, with_query};
use crate::api::streams::view::{self, From, Groups, Page, Partitions};
use crate::config::{Backend, Config};
use crate::wiring::{OpenStreams, open_streams};

/// How to come to the streams.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Access {
    /// Ask the weir that runs with its HTTP port at this address [default: open the streams of the configuration]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
}

/// Streams to look at.
pub(super) enum Source {
    Process(AdminClient),
    Open(OpenStreams),
}

impl Source {
    pub(super) async fn open(access: &Access, config: &Config) -> anyhow::Result<Self> {
        match access.http {
            Some(address) => Ok(Self::Process(AdminClient::new(address))),
            None => open(config).await.map(Self::Open),
        }
    }

    pub(super) async fn partitions(&self) -> anyhow::Result<Partitions> {
        match self {
            Self::Process(client) => client.get("/api/v1/streams").await,
            Self::Open(open) => view::partitions(open.streams.as_ref()),
        }
    }

    pub(super) async fn groups(&self) -> anyhow::Result<Groups> {
        match self {
            Self::Process(client) => client.get("/api/v1/streams/groups").await,
            Self::Open(open) => view::groups(open.streams.as_ref()).await,
        }
    }

    pub(super) async fn page(&self, stream: &str, partition: u32, from: From, limit: usize) -> anyhow::Result<Page> {
        match self {
            Self::Process(client) => {
                let mut path = "/api/v1/streams/".to_owned();
                push_encoded(&mut path, stream);
                path.push_str("/tail");
                let (partition, from, limit) = (partition.to_string(), from.to_string(), limit.to_string());
                let parameters = [("partition", Some(&*partition)), ("from", Some(&*from)), ("limit", Some(&*limit))];
                client.get(&with_query(&path, &parameters)).await
            }
            Self::Open(open) => view::page(open.streams.as_ref(), stream, partition, from, limit).await,
        }
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Process(_) => Ok(()),
            Self::Open(open) => open.close().await,
        }
    }
}

/// Opens the streams that `config` names, which must be there.
pub(super) async fn open(config: &Config) -> anyhow::Result<OpenStreams> {
    let dir = config.data.dir.join("log");
    if config.streams.backend == Backend::Embedded && !dir.join("manifest").exists() {
        bail!("there are no streams in {}: name the data directory with WEIR_DATA__DIR or --config", dir.display());
    }
    open_streams(config).await.map_err(|error| match error.downcast_ref() {
        Some(streams::Error::Locked { path }) => anyhow::anyhow!(
            "{path} is in use by a weir that runs: ask it with --http ADDR (list, groups, tail), or stop it first"
        ),
        _ => error,
    })
}
