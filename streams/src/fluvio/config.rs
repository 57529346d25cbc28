//! What a cluster is, and how it is used.

use std::path::PathBuf;
use std::time::Duration;

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluvioConfig {
    /// Address of the controller, host:port.
    pub endpoint: String,
    /// What names of topics begin with.
    pub topic_prefix: String,
    /// Replicas of a topic that is created.
    pub replication: u32,
    /// How long a topic that is created keeps records.
    pub retention: Duration,
    /// How long the cluster may take to answer.
    pub timeout: Duration,
    /// How long a process that fell silent keeps its partitions.
    pub lease: Duration,
    /// What others are told of the owner of a partition: host, stage, process.
    pub owner: String,
    /// Bytes of a record, at most.
    pub record_bytes: usize,
    /// Bytes that wait to be acknowledged by the cluster; then appending waits.
    pub queue_bytes: usize,
    /// TLS with client certificates.
    pub tls: Option<Tls>,
}

/// Certificates, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Name in the certificates of the cluster.
    pub domain: String,
    /// Certificates to trust.
    pub ca: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}
