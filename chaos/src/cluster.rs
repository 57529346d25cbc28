//! A Fluvio cluster on this machine: a controller and SPUs, as processes that can be hurt.
//!
//! ```text
//!   DIR/metadata/            what the controller knows: topics, partitions, SPUs
//!   DIR/controller.log
//!   DIR/spu-N/, spu-N.log    records of SPU N
//! ```
//! The program is given by whoever starts the harness: nothing of Fluvio is built here. Killing an SPU loses nothing
//! that it acknowledged: it never syncs its files, and the page cache outlives it. A power cut is another matter, and
//! outside of what Weir promises on a cluster.

mod connections;
mod metadata;
mod node;

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use self::metadata::Metadata;
use self::node::Launch;
pub(crate) use self::node::Node;
use crate::clock;
use crate::ports::free_address;

/// Environment variable that names the program.
pub(crate) const PROGRAM: &str = "WEIR_FLUVIO_RUN";

/// Number of the first SPU; the next ones follow.
const FIRST: u32 = 5001;
/// Unit in which the system counts the blocks of a file, in bytes.
const BLOCK: u64 = 512;
/// How long the controller and the SPUs may take to find each other.
const MEET: Duration = Duration::from_secs(60);

/// A running cluster; its processes are killed when dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The process that knows where what is.
    pub(crate) controller: Node,
    /// The processes that have records.
    pub(crate) spus: Vec<Node>,
    endpoint: SocketAddr,
    /// Where SPUs connect to.
    private: SocketAddr,
    metadata: Metadata,
}

/// The program that a cluster is made of: `given`, or that of the environment.
///
/// # Errors
/// If it is not there.
pub(crate) fn program(given: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let named = given.map(Path::to_owned).or_else(|| std::env::var_os(PROGRAM).map(PathBuf::from));
    named
        .map(|path| path.canonicalize().with_context(|| format!("program of a Fluvio cluster: {}", path.display())))
        .transpose()
}

impl Cluster {
    /// Starts a controller and `spus` SPUs of `program` with their files in `directory`, and waits until they work
    /// together.
    ///
    /// # Errors
    /// If one of them does not start, with its last words, or they do not find each other.
    pub(crate) fn start(program: &Path, directory: &Path, spus: u32) -> anyhow::Result<Self> {
        ensure!(spus > 0, "a cluster without SPUs holds nothing");
        let metadata = Metadata::create(&directory.join("metadata"))?;
        let (endpoint, private) = (free_address()?, free_address()?);
        let mut controller = Node::new(Launch {
            name: "controller".to_owned(),
            program: program.to_owned(),
            arguments: vec![
                "sc".into(),
                "--local".into(),
                metadata.directory().into(),
                "--bind-public".into(),
                endpoint.to_string().into(),
                "--bind-private".into(),
                private.to_string().into(),
            ],
            listens: vec![endpoint, private],
            log: directory.join("controller.log"),
        });
        let mut nodes = Vec::new();
        for id in FIRST..FIRST + spus {
            let (public, between) = (free_address()?, free_address()?);
            metadata.register(id, public, between)?;
            let name = format!("spu-{id}");
            nodes.push(Node::new(Launch {
                program: program.to_owned(),
                arguments: vec![
                    "spu".into(),
                    "-i".into(),
                    id.to_string().into(),
                    "-p".into(),
                    public.to_string().into(),
                    "-v".into(),
                    between.to_string().into(),
                    "--sc-addr".into(),
                    private.to_string().into(),
                    "--log-base-dir".into(),
                    directory.join(&name).into(),
                ],
                listens: vec![public, between],
                log: directory.join(format!("{name}.log")),
                name,
            }));
        }
        controller.start()?;
        nodes.iter_mut().try_for_each(Node::start)?;
        let cluster = Self { controller, spus: nodes, endpoint, private, metadata };
        cluster.wait_online()?;
        Ok(cluster)
    }

    /// Where clients connect to.
    pub(crate) fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// Waits until every SPU is connected to the controller, and the controller says that it is there. What it says
    /// alone is not enough: after a start it goes by its files, until an SPU has come and gone.
    ///
    /// # Errors
    /// If that does not come.
    pub(crate) fn wait_online(&self) -> anyhow::Result<()> {
        let said = || self.spus.iter().all(|spu| self.metadata.is_online(spu.name()));
        let connected = || connections::established(self.private) >= self.spus.len();
        let online = || (connected() && said()).then_some(());
        clock::wait_for(MEET, online).with_context(|| {
            let words: Vec<String> = self.spus.iter().chain([&self.controller]).map(Node::last_words).collect();
            format!("SPUs are not online within {MEET:?}: {}", words.join("; "))
        })
    }

    /// Waits until every replica of every partition has nearly what its leader has, as the controller knows.
    ///
    /// # Errors
    /// If that does not come.
    pub(crate) fn wait_replicated(&self) -> anyhow::Result<()> {
        let replicated = || self.metadata.is_replicated().then_some(());
        clock::wait_for(MEET, replicated).with_context(|| format!("replicas do not catch up within {MEET:?}"))
    }

    /// Bytes on disk of all files of the SPUs.
    pub(crate) fn disk_bytes(&self, directory: &Path) -> u64 {
        self.spus.iter().map(|spu| bytes_below(&directory.join(spu.name()))).sum()
    }
}

fn bytes_below(directory: &Path) -> u64 {
    // Files come and go while they are counted.
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
            Ok(_) => entry.metadata().map_or(0, |metadata| metadata.blocks() * BLOCK),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests;
