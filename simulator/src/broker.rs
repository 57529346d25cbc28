//! For tests: an MQTT server that acknowledges, or does not, by a script, and remembers what it got. Who subscribes
//! gets one command, named after client and connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
};
use telemetry::topic::TopicTemplate;
use telemetry::{Identity, Message, Timestamp, formats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Where in the life of a server something happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Number of the connection, from 1.
    pub(crate) connection: u64,
    /// Number of the PUBLISH on it, from 1; 0 is the CONNECT.
    pub(crate) publish: u64,
}

/// What the server does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ack,
    /// Never acknowledges it.
    Withhold,
    /// Answers nothing any more on this connection, pings neither, and leaves it open.
    Deaf,
    /// Acknowledges it later, before those that were held before it.
    Hold,
    /// Acknowledges it, then those held, the last first.
    AckAndRelease,
    /// Closes the connection instead of an answer, after the answers before it.
    Drop,
    /// Closes it after the answer.
    AckAndDrop,
    /// Answers, then acknowledges these ids from 1 on, whatever was sent.
    AckAndStrays(u16),
}

/// A PUBLISH that the server got.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) connection: u64,
    /// Client id of the connection.
    pub(crate) client: String,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) acknowledged: bool,
}

impl Received {
    /// The payload decoded as Weir's door does it.
    pub(crate) fn message(&self) -> Message<'_> {
        let template = TopicTemplate::parse("{site}/{device_id}/telemetry").unwrap();
        let now = Timestamp::from_micros(1_790_000_000_000_000);
        formats::decode(&self.payload, &template.fields(&self.topic), now).unwrap()
    }

    pub(crate) fn identity(&self) -> Identity {
        self.message().identity.unwrap()
    }
}

pub(crate) struct Broker {
    pub(crate) address: String,
    received: Arc<Mutex<Vec<Received>>>,
    /// Client and connection of each command that was acknowledged.
    commanded: Arc<Mutex<Vec<(String, u64)>>>,
    task: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start(script: impl Fn(Moment) -> Action + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (script, all, connections) = (Arc::new(script), Arc::clone(&received), AtomicU64::new(0));
        let commanded = Arc::new(Mutex::new(Vec::new()));
        let acknowledged = Arc::clone(&commanded);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                let (script, all, commanded) = (Arc::clone(&script), Arc::clone(&all), Arc::clone(&acknowledged));
                // A client that is gone is no failure of the server.
                tokio::spawn(async move { serve(stream, number, &*script, &all, &commanded).await.ok() });
            }
        });
        Self { address, received, commanded, task }
    }

    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    pub(crate) fn commanded(&self) -> Vec<(String, u64)> {
        self.commanded.lock().unwrap().clone()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: u64,
    script: &(impl Fn(Moment) -> Action + Sync),
    all: &Mutex<Vec<Received>>,
    commanded: &Mutex<Vec<(String, u64)>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut incoming, mut publish) = (BytesMut::new(), 0);
    let (mut client, mut deaf) = (String::new(), false);
    let mut held: Vec<u16> = Vec::new();
    loop {
        let mut answers = BytesMut::new();
        let mut drop_after = false;
        while let Ok(packet) = Packet::read(&mut incoming, 10_000_000) {
            let (id, action) = match packet {
                Packet::Connect(packet) => {
                    client = packet.client_id;
                    (None, script(Moment { connection, publish: 0 }))
                }
                Packet::Publish(packet) => {
                    publish += 1;
                    let action = script(Moment { connection, publish });
                    let acknowledged = !deaf && !matches!(action, Action::Withhold | Action::Drop | Action::Deaf);
                    let client = client.clone();
                    let (topic, payload) = (packet.topic, packet.payload);
                    all.lock().unwrap().push(Received { connection, client, topic, payload, acknowledged });
                    (Some(packet.pkid), action)
                }
                Packet::Subscribe(packet) => {
                    command(&mut answers, &packet, &client, connection);
                    continue;
                }
                Packet::PubAck(ack) => {
                    assert_eq!(ack.pkid, COMMAND_ID);
                    commanded.lock().unwrap().push((client.clone(), connection));
                    continue;
                }
                Packet::PingReq if deaf => continue,
                Packet::PingReq => {
                    Packet::PingResp.write(&mut answers, 100).unwrap();
                    continue;
                }
                Packet::Disconnect => return Ok(()),
                other => panic!("a publisher sent {other:?}"),
            };
            deaf |= action == Action::Deaf;
            match action {
                _ if deaf => continue,
                Action::Drop => {
                    drop_after = true;
                    break;
                }
                Action::Withhold => continue,
                Action::Hold => {
                    held.extend(id);
                    continue;
                }
                _ => answer(&mut answers, id),
            }
            match action {
                Action::AckAndRelease => held.drain(..).rev().for_each(|id| answer(&mut answers, Some(id))),
                Action::AckAndStrays(last) => (1..=last).for_each(|id| answer(&mut answers, Some(id))),
                Action::AckAndDrop => {
                    drop_after = true;
                    break;
                }
                _ => (),
            }
        }
        incoming.reserve(64 * 1024);
        stream.write_all(&answers).await?;
        if drop_after || stream.read_buf(&mut incoming).await? == 0 {
            return Ok(());
        }
    }
}

const COMMAND_ID: u16 = 513;

/// SUBACK, and the command.
fn command(answers: &mut BytesMut, subscribe: &Subscribe, client: &str, connection: u64) {
    let filter = &subscribe.filters[0];
    SubAck::new(subscribe.pkid, vec![SubscribeReasonCode::Success(filter.qos)]).write(answers).unwrap();
    let payload = format!(r#"{{"id":"{client} on {connection}"}}"#);
    let mut publish = Publish::new(&filter.path, filter.qos, payload);
    publish.pkid = COMMAND_ID;
    publish.write(answers).unwrap();
}

fn answer(answers: &mut BytesMut, id: Option<u16>) {
    match id {
        Some(id) => PubAck::new(id).write(answers).unwrap(),
        None => ConnAck::new(ConnectReturnCode::Success, false).write(answers).unwrap(),
    };
}
