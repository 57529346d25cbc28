use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use telemetry::Timestamp;
use telemetry::clock::{ManualClock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::workflows::outside::testing::{NEW_YEAR, attempt, clock, guard, mqtt, plan};

/// What the stub does with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// Takes and acknowledges publishes.
    Acks,
    /// Acknowledges in pairs, the later one first.
    AcksBackwards,
    /// Acknowledges the first publish and closes in the same breath.
    AcksAndCloses,
    /// Closes when a publish comes.
    Drops,
    /// Never acknowledges.
    Hangs,
    /// Answers CONNECT with "not authorized".
    Refuses,
    /// Sends what is no MQTT.
    Babbles,
}

/// A broker of a few bytes: the n-th connection has the n-th of its scripts, the last one those after.
struct Stub {
    port: u16,
    connections: Arc<AtomicUsize>,
    /// Topic and payload.
    taken: Arc<Mutex<Vec<(String, String)>>>,
}

impl Stub {
    async fn start(scripts: &'static [Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, log) = (connections.clone(), taken.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let does = scripts[number.min(scripts.len() - 1)];
                // An error is the end of the connection.
                tokio::spawn(serve(stream, does, log.clone()));
            }
        });
        Self { port, connections, taken }
    }

    fn broker(&self, patience: Duration) -> Broker {
        let (host, guard) = ("127.0.0.1".to_owned(), guard(&["127.0.0.0/8"]));
        let clock = Arc::new(FixedWall(SystemClock::shared()));
        Broker::with_dialer(Dialer { host, port: self.port, guard, clock, patience })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn taken(&self) -> Vec<(String, String)> {
        self.taken.lock().unwrap().clone()
    }
}

/// The machine's monotonic clock, and the time of the test's firing.
#[derive(Debug)]
struct FixedWall(Arc<dyn Clock>);

impl Clock for FixedWall {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(NEW_YEAR + 3_500_000)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// First byte and the rest of a packet.
async fn packet(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    Ok((first, rest))
}

async fn serve(mut stream: TcpStream, does: Does, taken: Arc<Mutex<Vec<(String, String)>>>) -> std::io::Result<()> {
    let (first, connect) = packet(&mut stream).await?;
    assert_eq!(first, 0x10);
    assert_eq!(&connect[..8], b"\0\x04MQTT\x04\x02", "MQTT 3.1.1, clean session");
    assert_eq!(connect[10..12], [0, 21], "a client id that each broker takes");
    match does {
        Does::Refuses => return stream.write_all(&[0x20, 2, 0, 5]).await,
        Does::Babbles => return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
        _ => stream.write_all(&[0x20, 2, 0, 0]).await?,
    }
    let mut held: Option<[u8; 2]> = None;
    loop {
        let (first, rest) = packet(&mut stream).await?;
        if first == 0xc0 {
            stream.write_all(&[0xd0, 0]).await?;
            continue;
        }
        if first == 0xe0 {
            return Ok(());
        }
        assert_eq!(first, 0x32, "QoS 1, neither repeated nor retained");
        let topic_end = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let id = [rest[topic_end], rest[topic_end + 1]];
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        taken.lock().unwrap().push((text(&rest[2..topic_end]), text(&rest[topic_end + 2..])));
        match (does, held) {
            (Does::Drops, _) => return Ok(()),
            (Does::Hangs, _) => {}
            (Does::AcksBackwards, None) => held = Some(id),
            (Does::AcksBackwards, Some([high, low])) => {
                stream.write_all(&[0x40, 2, id[0], id[1], 0x40, 2, high, low]).await?;
                held = None;
            }
            (Does::AcksAndCloses, _) => return stream.write_all(&[0x40, 2, id[0], id[1]]).await,
            _ => stream.write_all(&[0x40, 2, id[0], id[1]]).await?,
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn publish(broker: &Broker, topic: &str, body: &str) -> Outcome {
    broker.attempt(&attempt(plan(mqtt(topic, Some("mqtt://stub".to_owned())), Some(body)))).await
}

fn done() -> Outcome {
    Outcome::Done("acknowledged by the broker".to_owned())
}

fn reason_of_failure(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_is_done_at_its_puback_over_one_connection() {
    let stub = Stub::start(&[Does::Acks]).await;
    let broker = stub.broker(LONG);
    assert_eq!(stub.connections(), 0);
    for number in 0..3 {
        assert_eq!(publish(&broker, "{site}/{device_id}/set", &number.to_string()).await, done());
    }
    let expected: Vec<_> = (0..3).map(|number| ("hall-1/oven-1/set".to_owned(), number.to_string())).collect();
    assert_eq!(stub.taken(), expected);
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn more_than_fit_in_flight_are_all_done_and_each_by_its_own_puback() {
    let stub = Stub::start(&[Does::AcksBackwards]).await;
    let broker = stub.broker(LONG);
    // More than there are packet identifiers, so that these begin again.
    for round in 0..12 {
        let bodies: Vec<String> = (0..100).map(|number| format!("{round}-{number}")).collect();
        let outcomes = futures::future::join_all(bodies.iter().map(|body| publish(&broker, "a", body))).await;
        assert!(outcomes.iter().all(|outcome| *outcome == done()), "{outcomes:?}");
    }
    assert_eq!(stub.taken().len(), 1200);
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_ends_fails_who_waits_and_the_next_one_is_new() {
    let stub = Stub::start(&[Does::Drops, Does::Acks]).await;
    let broker = stub.broker(LONG);
    let reason = reason_of_failure(publish(&broker, "a", "1").await);
    assert!(reason.contains("connection to the broker"), "{reason}");
    // The second connection gets what was tried again, and nothing that a client kept.
    assert_eq!(publish(&broker, "a", "2").await, done());
    let taken: Vec<String> = stub.taken().into_iter().map(|(_, body)| body).collect();
    assert_eq!(taken, ["1", "2"]);
    assert_eq!(stub.connections(), 2);
}

#[tokio::test]
async fn a_puback_that_comes_with_the_end_counts() {
    let stub = Stub::start(&[Does::AcksAndCloses]).await;
    let broker = stub.broker(LONG);
    for number in 1..=5 {
        // The task may meet the next command with the end of the connection before: that one fails without being taken,
        // and is tried again.
        while publish(&broker, "a", &number.to_string()).await != done() {
            assert!(stub.taken().len() < number, "what was taken and acknowledged was reported as failed");
        }
        assert_eq!(stub.taken().len(), number);
    }
}

#[tokio::test]
async fn a_broker_that_never_acknowledges_gets_a_new_connection() {
    let stub = Stub::start(&[Does::Hangs, Does::Acks]).await;
    let broker = stub.broker(Duration::from_millis(300));
    let (first, second) = tokio::join!(publish(&broker, "a", "1"), publish(&broker, "a", "2"));
    for outcome in [first, second] {
        assert_eq!(reason_of_failure(outcome), "no PUBACK within 300ms");
    }
    assert_eq!(publish(&broker, "a", "3").await, done());
    assert_eq!(stub.connections(), 2);
}

#[tokio::test]
async fn a_broker_that_refuses_babbles_or_is_away_fails() {
    let stub = Stub::start(&[Does::Refuses, Does::Babbles, Does::Acks]).await;
    let broker = stub.broker(LONG);
    let reason = reason_of_failure(publish(&broker, "a", "1").await);
    assert!(reason.contains("NotAuthorized"), "{reason}");
    reason_of_failure(publish(&broker, "a", "2").await);
    assert_eq!(publish(&broker, "a", "3").await, done());

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let away = Broker::new(&format!("mqtt://127.0.0.1:{port}"), guard(&["127.0.0.1"]), clock()).unwrap();
    let reason = reason_of_failure(publish(&away, "a", "1").await);
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn an_attempt_that_is_given_up_stops_nobody() {
    let stub = Stub::start(&[Does::Hangs, Does::Acks]).await;
    let broker = Arc::new(stub.broker(Duration::from_millis(300)));
    let given_up = tokio::spawn({
        let broker = broker.clone();
        async move { publish(&broker, "a", "1").await }
    });
    while stub.taken().is_empty() {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    reason_of_failure(publish(&broker, "a", "2").await);
    assert_eq!(publish(&broker, "a", "3").await, done());
}

#[tokio::test]
async fn the_largest_body_passes() {
    let stub = Stub::start(&[Does::Acks]).await;
    let broker = stub.broker(LONG);
    let body = "{% for i in range(256) %}{{ 'x' * 1024 }}{% endfor %}";
    assert_eq!(publish(&broker, "a", body).await, done());
    assert_eq!(stub.taken()[0].1.len(), limits::BODY_BYTES);
}

#[tokio::test]
async fn addresses_pass_the_filter() {
    let stub = Stub::start(&[Does::Acks]).await;
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let broker = Broker::new(&format!("mqtt://{host}:{}", stub.port), guard(&[]), clock()).unwrap();
        let outcome = publish(&broker, "a", "1").await;
        let Outcome::Refused(reason) = &outcome else { panic!("{host}: {outcome:?}") };
        assert!(reason.contains("workflows.allow_addresses"), "{reason}");
    }
    assert_eq!(stub.connections(), 0);
    for host in ["localhost", "[::ffff:127.0.0.1]"] {
        let broker = Broker::new(&format!("mqtt://{host}:{}", stub.port), guard(&["127.0.0.1"]), clock()).unwrap();
        assert_eq!(publish(&broker, "a", "1").await, done(), "{host}");
    }
}

#[tokio::test]
async fn a_command_whose_time_is_over_is_not_sent() {
    let stub = Stub::start(&[Does::Acks]).await;
    let late = ManualClock::new(Timestamp::from_micros(NEW_YEAR + 61_500_000));
    let broker = Broker::new(&format!("mqtt://127.0.0.1:{}", stub.port), guard(&["127.0.0.1"]), late).unwrap();
    let outcome = publish(&broker, "a", "1").await;
    assert_eq!(outcome, Outcome::Refused("time to live of 60s is over".to_owned()));
    assert_eq!(stub.connections(), 0);
}

#[test]
fn a_brokers_url_has_host_and_port_only() {
    assert_eq!(check("mqtt://broker.example"), Ok(("broker.example".to_owned(), 1883)));
    assert_eq!(check("mqtt://[fd00::1]:1884/"), Ok(("[fd00::1]".to_owned(), 1884)));
    for (wrong, told) in [
        ("mqtts://broker.example", "needs TLS"),
        ("http://broker.example", "another scheme"),
        ("mqtt://broker.example/x", "more than host and port"),
        ("mqtt://broker.example?x", "more than host and port"),
        ("mqtt://", "has no host"),
        ("broker.example", "not a URL"),
    ] {
        let problem = check(wrong).unwrap_err();
        assert!(problem.contains(told) && problem.contains(wrong), "{problem}");
    }
    let problem = check("mqtt://user:hunter2@broker.example").unwrap_err();
    assert!(!problem.contains("hunter2"), "{problem}");
}

struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn mosquitto(port: u16) -> Mosquitto {
    let mut command = Command::new("/usr/sbin/mosquitto");
    let child = command.args(["-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Mosquitto(child)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto"]
async fn mosquitto_takes_every_command_also_after_it_was_killed() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let broker = Broker::new(&format!("mqtt://127.0.0.1:{port}"), guard(&["127.0.0.1"]), clock()).unwrap();
    for _ in 0..3 {
        let server = mosquitto(port).await;
        let mut subscriber = subscribe(port).await;
        for number in 0..200 {
            // The first may meet the end of the connection before.
            while publish(&broker, "x/{device_id}", &number.to_string()).await != done() {}
        }
        for number in 0..200 {
            assert_eq!(received(&mut subscriber).await, number.to_string());
        }
        drop(server);
    }
}

/// A subscriber to everything at QoS 1, with its own bytes.
async fn subscribe(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04test").await.unwrap();
    assert_eq!(packet(&mut stream).await.unwrap(), (0x20, vec![0, 0]));
    stream.write_all(b"\x82\x06\0\x01\0\x01#\x01").await.unwrap();
    assert_eq!(packet(&mut stream).await.unwrap(), (0x90, vec![0, 1, 1]));
    stream
}

async fn received(stream: &mut TcpStream) -> String {
    let (_, rest) = packet(stream).await.unwrap();
    let topic_end = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    stream.write_all(&[0x40, 2, rest[topic_end], rest[topic_end + 1]]).await.unwrap();
    String::from_utf8(rest[topic_end + 2..].to_vec()).unwrap()
}
