//! Which process a command asks.

use std::net::SocketAddr;

use clap::Args;

use super::AdminClient;
use crate::config::Config;

/// The running process.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Process {
    /// HTTP address of the running weir [default: http.listen of the configuration]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
}

impl Process {
    /// A client of the process that flag or configuration name.
    pub(crate) fn client(&self, config: &Config) -> AdminClient {
        AdminClient::new(self.http.unwrap_or(config.http.listen))
    }
}
