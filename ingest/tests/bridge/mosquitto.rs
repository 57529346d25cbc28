//! A real Mosquitto, with the configuration that we ship.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ingest::BridgeState;
use ingest::bridge::{BridgeConfig, Protocol, TlsFiles};
use tokio::net::TcpStream;

use super::held::Held;
use super::stub::{PATIENCE, TOPIC};
use super::world::{World, settings, subscription};
use crate::raw::{BOTH, Raw, Version, pack, puback, publish};

/// Below the ports that the kernel gives to outgoing connections, of which one would keep a stopped broker from
/// coming back.
fn free_port() -> u16 {
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| 12_000 + ASKED.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| free(*port)).unwrap()
}

/// A broker in a directory of its own; killed when dropped.
struct Mosquitto {
    port: u16,
    directory: PathBuf,
    child: Option<Child>,
}

impl Mosquitto {
    async fn start(directory: &Path, more: &str) -> Self {
        let port = free_port();
        let shipped =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/mosquitto.conf")).unwrap();
        let mut written = String::new();
        for line in shipped.lines() {
            let line = match line.split(' ').next() {
                Some("listener") => format!("listener {port} 127.0.0.1\n{more}"),
                Some("persistence_location") => format!("persistence_location {}/", directory.display()),
                Some("sys_interval") => "sys_interval 1".to_owned(),
                _ => line.to_owned(),
            };
            written.push_str(&line);
            written.push('\n');
        }
        // Started by root it would become another user, who may not write here.
        written.push_str("user root\n");
        std::fs::write(directory.join("mosquitto.conf"), written).unwrap();
        let mut broker = Self { port, directory: directory.to_owned(), child: None };
        broker.run().await;
        broker
    }

    async fn run(&mut self) {
        let log = std::fs::File::create(self.directory.join("mosquitto.log")).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.directory.join("mosquitto.conf"));
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("no mosquitto"));
        let up = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.expect("mosquitto does not start");
    }

    /// Stops it with SIGTERM: it saves what it has.
    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        child.wait().unwrap();
    }

    fn config(&self, version: Version) -> BridgeConfig {
        let address = ([127, 0, 0, 1], self.port).into();
        BridgeConfig { longest_backoff: Duration::from_millis(100), ..settings(address, version) }
    }

    /// Publishes these messages at QoS 1, and waits until the broker has acknowledged them.
    async fn publish(&self, messages: std::ops::Range<i64>) {
        let mut device = Raw::connect(([127, 0, 0, 1], self.port).into(), Version::V3, "pump").await;
        let all: Vec<i64> = messages.collect();
        for part in all.chunks(500) {
            let bytes: Vec<u8> =
                (1..).zip(part).flat_map(|(id, seq)| publish(Version::V3, TOPIC, 1, id, &[], &pack(*seq))).collect();
            device.send(&bytes).await;
            for id in 1..=u16::try_from(part.len()).unwrap() {
                device.expect(&puback(id)).await;
            }
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

async fn connected(world: &World) {
    world.state_becomes(|state| *state == BridgeState::Connected).await;
}

/// Waits until the stream has all these messages, each at least once.
async fn arrived(world: &World, count: i64) {
    let wanted: Vec<i64> = (0..count).collect();
    let arriving = async {
        while world.numbers().await.len() < wanted.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, arriving).await;
    assert!(done.is_ok(), "{} of {count} messages arrived", world.numbers().await.len());
    assert_eq!(world.numbers().await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn the_session_outlives_restarts_of_the_bridge_and_of_mosquitto() {
    for version in BOTH {
        let directory = tempfile::tempdir().unwrap();
        let mut broker = Mosquitto::start(directory.path(), "").await;
        let held = Held::free();
        let world = World::with(broker.config(version), held.clone()).await;
        connected(&world).await;
        broker.publish(0..1000).await;
        arrived(&world, 1000).await;
        world.bridge.stop().await.unwrap();
        world.ingest.stop().await.unwrap();
        // Nobody is there, and then the broker is not either.
        broker.publish(1000..3000).await;
        broker.stop();
        broker.run().await;
        let world = World::with(broker.config(version), held).await;
        arrived(&world, 3000).await;
        broker.stop();
        world.state_becomes(|state| matches!(state, BridgeState::Away { .. })).await;
        broker.run().await;
        connected(&world).await;
        broker.publish(3000..4000).await;
        arrived(&world, 4000).await;
        assert_eq!(world.letters().await, []);
    }
}

/// With Mosquitto's defaults most of these are dropped, and the control shows that this would be seen.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn nothing_is_dropped_for_a_slow_bridge() {
    const MESSAGES: i64 = 20_000;
    for version in BOTH {
        let directory = tempfile::tempdir().unwrap();
        let broker = Mosquitto::start(directory.path(), "").await;
        let config = BridgeConfig { watch_drops: true, ..broker.config(version) };
        let world = World::with(config, Held::back()).await;
        connected(&world).await;
        broker.publish(0..MESSAGES).await;
        world.held.release(u64::MAX);
        arrived(&world, MESSAGES).await;
        assert_eq!(world.metric("weir_bridge_broker_dropped_messages"), 0.0);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Mosquitto::start(directory.path(), "").await;
    broker.stop();
    let path = directory.path().join("mosquitto.conf");
    let bounded = std::fs::read_to_string(&path).unwrap().replace("max_queued_messages 0", "max_queued_messages 1000");
    std::fs::write(&path, bounded).unwrap();
    broker.run().await;
    let config = BridgeConfig { watch_drops: true, in_flight: 16, ..broker.config(Version::V5) };
    let world = World::with(config, Held::back()).await;
    connected(&world).await;
    broker.publish(0..MESSAGES).await;
    // The bridge is told once it reads again.
    world.held.release(u64::MAX);
    let seen = async {
        while world.metric("weir_bridge_broker_dropped_messages") < 1.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the control shows no drops");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn two_bridges_share_a_subscription() {
    const MESSAGES: i64 = 4000;
    for version in BOTH {
        let directory = tempfile::tempdir().unwrap();
        let broker = Mosquitto::start(directory.path(), "").await;
        let mut shared = subscription("+/+/telemetry");
        shared.share = Some("weir".to_owned());
        let config = |name: &str| BridgeConfig {
            client_id: name.to_owned(),
            subscriptions: vec![shared.clone()],
            ..broker.config(version)
        };
        let one = World::with(config("weir-0"), Held::free()).await;
        let other = World::with(config("weir-1"), Held::free()).await;
        connected(&one).await;
        connected(&other).await;
        broker.publish(0..MESSAGES).await;
        let both = async || [one.numbers().await, other.numbers().await].concat();
        let arriving = async {
            while both().await.len() < usize::try_from(MESSAGES).unwrap() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arriving).await.expect("not all messages arrived");
        let mut all = both().await;
        all.sort_unstable();
        assert_eq!(all, (0..MESSAGES).collect::<Vec<_>>(), "each went to one of them");
        assert!(!one.numbers().await.is_empty() && !other.numbers().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn tls_with_client_certificates() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let file = |name: &str| directory.path().join(name);
    let tls = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\nuse_identity_as_username true",
        file("ca.pem").display(),
        file("server.pem").display(),
        file("server.key").display()
    );
    let broker = Mosquitto::start(directory.path(), &tls).await;
    let identity = Some((file("client.pem"), file("client.key")));
    let config = |ca: Option<PathBuf>, identity| BridgeConfig {
        url: format!("mqtts://localhost:{}", broker.port),
        protocol: Protocol::V5,
        tls: TlsFiles { ca, identity },
        ..broker.config(Version::V5)
    };
    let world = World::with(config(Some(file("ca.pem")), identity.clone()), Held::free()).await;
    connected(&world).await;
    world.bridge.stop().await.unwrap();

    let world = World::with(config(None, identity), Held::free()).await;
    let why = world.refused().await;
    assert!(why.starts_with("TLS: "), "a broker that the system does not trust: {why}");
    let world = World::with(config(Some(file("ca.pem")), None), Held::free()).await;
    world.state_becomes(|state| matches!(state, BridgeState::Away { .. })).await;
    assert_eq!(world.metric("weir_bridge_connects_total"), 0.0, "without a certificate of our own");
}

fn certificates(directory: &Path) {
    let openssl = |line: &str| {
        let done = Command::new("openssl").args(line.split(' ')).current_dir(directory).output().expect("no openssl");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem");
    for name in ["server", "client"] {
        openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
        ));
    }
}

/// The broker marks it as delivered before.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_is_not_acknowledged_at_the_end_of_a_connection_comes_again() {
    for version in BOTH {
        let directory = tempfile::tempdir().unwrap();
        let broker = Mosquitto::start(directory.path(), "").await;
        let drain = Duration::from_millis(50);
        let world = World::with(BridgeConfig { drain, ..broker.config(version) }, Held::back()).await;
        connected(&world).await;
        broker.publish(0..100).await;
        world.taken(100).await;
        world.bridge.stop().await.unwrap_err();
        let world = World::with(broker.config(version), Held::free()).await;
        arrived(&world, 100).await;
        assert_eq!(world.metric("weir_bridge_redelivered_total"), 100.0);
    }
}
