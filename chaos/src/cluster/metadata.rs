//! The files in which a controller keeps what it knows, without Kubernetes: registering an SPU is writing one, and
//! the state of things is read from them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// How many records a replica may be behind: under load it always is a little. One that is stuck is soon further behind.
const BEHIND: i64 = 8;

/// The directory of a controller.
#[derive(Debug)]
pub(super) struct Metadata {
    directory: PathBuf,
}

impl Metadata {
    /// Makes `directory`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn create(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory.join("SPU")).with_context(|| directory.display().to_string())?;
        Ok(Self { directory: directory.to_owned() })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Registers SPU `id`, called `spu-ID`, which listens on `public` for clients and on `private` for its like. The
    /// controller reads it at its start.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn register(&self, id: u32, public: SocketAddr, private: SocketAddr) -> anyhow::Result<()> {
        let name = format!("spu-{id}");
        let path = self.directory.join("SPU").join(format!("{name}.yaml"));
        fs::write(&path, registration(&name, id, public, private)).with_context(|| path.display().to_string())
    }

    /// Whether the controller has seen the SPU `name`, and has not missed it since.
    pub(super) fn is_online(&self, name: &str) -> bool {
        let path = self.directory.join("SPU").join(format!("{name}.yaml"));
        // The controller may be writing it: then it is looked at again.
        fs::read_to_string(path).is_ok_and(|text| value(&text, "resolution") == Some("Online"))
    }

    /// Whether each partition is online, and no replica of one is far behind its leader.
    pub(super) fn is_replicated(&self) -> bool {
        let Ok(entries) = fs::read_dir(self.directory.join("Partition")) else { return false };
        entries.flatten().all(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| replicated(&text)))
    }
}

fn registration(name: &str, id: u32, public: SocketAddr, private: SocketAddr) -> String {
    let (public_host, public_port) = (public.ip(), public.port());
    let (private_host, private_port) = (private.ip(), private.port());
    format!(
        "!1.0.0\n\
         meta: {{id: {name}, revision: 0}}\n\
         key: {name}\n\
         status: {{resolution: Init}}\n\
         spec:\n\
         \x20 spuId: {id}\n\
         \x20 spuType: Custom\n\
         \x20 publicEndpoint: {{port: {public_port}, ingress: [{{hostname: {public_host}, ip: null}}], encryption: PLAINTEXT}}\n\
         \x20 privateEndpoint: {{port: {private_port}, host: {private_host}, encryption: PLAINTEXT}}\n"
    )
}

/// Of a partition's file: `leo` of the leader comes first, those of the replicas behind it.
fn replicated(text: &str) -> bool {
    let ends: Vec<i64> = text.lines().filter_map(|line| value(line, "leo")?.parse().ok()).collect();
    let online = value(text, "resolution") == Some("Online");
    // A leader alone tells of no replicas; one that has not reported yet tells -1.
    online && ends.first().is_some_and(|leader| ends.iter().all(|end| *end >= 0 && leader - end <= BEHIND))
}

/// What the first line `KEY: VALUE` of `text` says.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
    lines.find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: &str = "!1.0.0\nstatus:\n  resolution: Online\n  leader:\n    spu: 5001\n    hw: 10\n    leo: 900\n  \
                             replicas:\n  - spu: 5002\n    hw: 10\n    leo: LEO\n  size: 0\n";

    #[test]
    fn an_spu_is_registered_and_not_online_before_the_controller_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let metadata = Metadata::create(directory.path()).unwrap();
        metadata.register(5001, "127.0.0.1:29110".parse().unwrap(), "127.0.0.1:29111".parse().unwrap()).unwrap();
        let path = directory.path().join("SPU/spu-5001.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("!1.0.0\n") && text.contains("port: 29110") && text.contains("port: 29111"), "{text}");
        assert!(!metadata.is_online("spu-5001"));
        fs::write(&path, "!1.0.0\nstatus:\n  resolution: Online\n").unwrap();
        assert!(metadata.is_online("spu-5001"));
        assert!(!metadata.is_online("spu-5002"));
    }

    #[test]
    fn a_replica_far_behind_or_unknown_is_seen() {
        for (end, expected) in [("900", true), ("899", true), ("100", false), ("-1", false)] {
            assert_eq!(replicated(&PARTITION.replace("LEO", end)), expected, "{end}");
        }
        assert!(!replicated(&PARTITION.replace("Online", "LeaderOffline").replace("LEO", "900")));
    }
}
