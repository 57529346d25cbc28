//! A tiny server and tiny devices over loopback. Reads and writes have a limit of time only so that a failure
//! ends; nothing is concluded from time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::*;
use crate::clock;

mod faults;
mod witness;

const PATIENCE: Duration = Duration::from_secs(20);

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A proxy, and the server behind it.
struct World {
    proxy: Proxy,
    server: TcpListener,
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let server = TcpListener::bind(any()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let pubacks = directory.path().join("pubacks.csv");
        let proxy = Proxy::start(any(), server.local_addr().unwrap(), &pubacks, 7).unwrap();
        Self { proxy, server, directory }
    }

    /// With one kind of fault, in each way at the first bytes or never.
    fn with(fault: Fault, up: bool, down: bool) -> Self {
        let world = Self::new();
        world.plan(vec![fault], u64::from(up), u64::from(down));
        world
    }

    fn plan(&self, faults: Vec<Fault>, up_bytes: u64, down_bytes: u64) {
        let longest_delay = Duration::from_millis(20);
        self.proxy.faults(Plan { faults, up_bytes, down_bytes, longest_delay }).unwrap();
    }

    /// A device, and what the server has of it.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let device = TcpStream::connect(self.proxy.address()).unwrap();
        let (server, _) = self.server.accept().unwrap();
        for stream in [&device, &server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        (device, server)
    }

    /// Waits until the proxy has done `count` faults of this kind.
    fn wait_for(&self, fault: Fault, count: u64) {
        let done = || self.proxy.witness().unwrap().faults.get(fault.name()).copied().unwrap_or(0);
        clock::wait_for(PATIENCE, || (done() >= count).then_some(())).expect("the fault is done");
    }

    /// Ends the proxy: what it saw, and the lines of its file behind the header, without their times.
    fn finish(self) -> (Witness, Vec<String>) {
        let witness = self.proxy.finish().unwrap();
        assert_eq!(witness.latencies.count(), witness.pubacks);
        let text = std::fs::read_to_string(self.directory.path().join("pubacks.csv")).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some("device,boot,seq,passed_at"));
        let without_time = |line: String| line.rsplit_once(',').unwrap().0.to_owned();
        (witness, lines.map(without_time).collect())
    }
}

/// Random bytes by a seed.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Writes `bytes` in pieces of random sizes, then FIN.
fn write_in_pieces(mut stream: &TcpStream, seed: u64, mut bytes: &[u8]) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(random.random_range(1..=70_000).min(bytes.len()));
        stream.write_all(piece).unwrap();
        bytes = rest;
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads to the end of a connection that may be reset: what came, and how it ended.
fn read_to_reset(mut stream: &TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let result = stream.read_to_end(&mut bytes).map(|_| ());
    (bytes, result)
}

fn was_reset(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Sends random bytes both ways at once, and says whether they came as they were.
fn passes(world: &World, count: usize) {
    let (device, server) = world.connect();
    let (up, down) = (bytes(1, count), bytes(2, count));
    std::thread::scope(|scope| {
        scope.spawn(|| write_in_pieces(&device, 3, &up));
        scope.spawn(|| write_in_pieces(&server, 4, &down));
        let at_server = scope.spawn(|| read_all(&server));
        assert!(read_all(&device) == down, "what the device got differs");
        assert!(at_server.join().unwrap() == up, "what the server got differs");
    });
}

#[test]
fn bytes_pass_as_they_are_in_both_ways_with_their_ends() {
    let world = World::new();
    for count in [0, 1, 1_000, 3_000_000] {
        passes(&world, count);
    }
    let (witness, _) = world.finish();
    assert_eq!((witness.connections, witness.refused), (4, 0));
    assert!(witness.faults.is_empty());
}

#[test]
fn a_side_that_takes_nothing_holds_the_other_and_loses_nothing() {
    const MUCH: usize = 64 * 1024 * 1024;
    let world = World::new();
    let (mut device, server) = world.connect();
    device.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let block = bytes(5, 1024 * 1024);
    let mut sent = 0;
    let error = loop {
        assert!(sent < MUCH, "a proxy with a bound has taken {sent} bytes that nobody read");
        match device.write(&block[sent % block.len()..]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    device.shutdown(Shutdown::Write).unwrap();
    let got = read_all(&server);
    assert_eq!(got.len(), sent);
    assert!(got.iter().eq(block.iter().cycle().take(sent)), "what the server got differs");
}

#[test]
fn hundreds_of_connections_live_side_by_side() {
    let world = World::new();
    let mut pairs: Vec<_> = (0..300).map(|_| world.connect()).collect();
    for (number, (device, _)) in pairs.iter_mut().enumerate() {
        device.write_all(&number.to_be_bytes()).unwrap();
    }
    for (number, (device, server)) in pairs.iter_mut().enumerate() {
        let mut text = [0; 8];
        server.read_exact(&mut text).unwrap();
        assert_eq!(text, number.to_be_bytes());
        server.write_all(b"thanks").unwrap();
        device.read_exact(&mut text[..6]).unwrap();
        assert_eq!(&text[..6], b"thanks");
    }
    assert_eq!(world.proxy.cut_all().unwrap(), 300);
    for (device, server) in &pairs {
        assert!(was_reset(&read_to_reset(device).1));
        assert!(was_reset(&read_to_reset(server).1));
    }
    let (witness, _) = world.finish();
    assert_eq!(witness.connections, 300);
    assert_eq!(witness.faults.get("connection cut"), Some(&300));
}

#[test]
fn a_device_whose_server_is_not_there_is_turned_away_at_once_and_may_come_again() {
    let world = World::new();
    let address = world.server.local_addr().unwrap();
    let World { proxy, server, directory } = world;
    drop(server);
    let device = TcpStream::connect(proxy.address()).unwrap();
    device.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(was_reset(&read_to_reset(&device).1));
    let world = World { proxy, server: TcpListener::bind(address).unwrap(), directory };
    passes(&world, 100);
    let (witness, _) = world.finish();
    assert_eq!((witness.connections, witness.refused), (2, 1));
}
