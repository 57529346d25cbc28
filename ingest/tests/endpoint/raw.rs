//! A client that sends the bytes it is told, and shows the packets it gets.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than anything here takes: a packet that does not come fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PINGREQ: &[u8] = &[0xC0, 0];
pub(crate) const PINGRESP: &[u8] = &[0xD0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3,
    V5,
}

pub(crate) const BOTH: [Version; 2] = [Version::V3, Version::V5];

pub(crate) struct Raw {
    stream: TcpStream,
    version: Version,
}

impl Raw {
    /// A TCP connection, nothing sent.
    pub(crate) async fn dial(address: SocketAddr, version: Version) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), version }
    }

    /// A connection with a CONNACK that says yes.
    pub(crate) async fn connect(address: SocketAddr, version: Version, client_id: &str) -> Self {
        let mut raw = Self::dial(address, version).await;
        raw.send(&connect(version, client_id)).await;
        raw.expect_accepted().await;
        raw
    }

    /// As [`Raw::connect`], with as small a receive buffer as the system gives.
    pub(crate) async fn connect_narrow(address: SocketAddr, version: Version, client_id: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        let mut raw = Self { stream: socket.connect(address).await.unwrap(), version };
        raw.send(&connect(version, client_id)).await;
        raw.expect_accepted().await;
        raw
    }

    pub(crate) async fn expect_accepted(&mut self) -> Vec<u8> {
        let connack = self.packet().await;
        assert_eq!((connack[0], connack[2], connack[3]), (0x20, 0, 0), "session not present, accepted");
        connack
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn publish(&mut self, topic: &str, qos: u8, id: u16, payload: &[u8]) {
        let packet = publish(self.version, topic, qos, id, &[], payload);
        self.send(&packet).await;
    }

    /// The next packet; none if the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("no packet came")
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![self.stream.read_u8().await.ok()?];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            packet.push(byte);
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let header = packet.len();
        packet.resize(header + length, 0);
        self.stream.read_exact(&mut packet[header..]).await.ok()?;
        Some(packet)
    }

    /// Subscribes at QoS 1 to one filter that is granted with `code`.
    pub(crate) async fn subscribe(&mut self, filter: &str, code: u8) {
        self.send(&subscribe(self.version, &[filter])).await;
        let suback = self.packet().await;
        assert_eq!((suback[0], suback.last()), (0x90, Some(&code)), "{filter}");
    }

    /// The next packet, a command.
    pub(crate) async fn command(&mut self) -> Command {
        let packet = self.packet().await;
        command(self.version, &packet)
    }

    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        self.next().await.expect("the connection is closed")
    }

    pub(crate) async fn expect(&mut self, packet: &[u8]) {
        assert_eq!(self.packet().await, packet);
    }

    /// Whatever was sent before is handled now, and nothing but the pong was sent for it.
    pub(crate) async fn expect_silence(&mut self) {
        self.send(PINGREQ).await;
        self.expect(PINGRESP).await;
    }

    /// The connection is closed, after DISCONNECT with `reason` in version 5.
    pub(crate) async fn expect_closed(&mut self, reason: u8) {
        if self.version == Version::V5 {
            self.expect(&[0xE0, 1, reason]).await;
        }
        assert_eq!(self.next().await, None);
    }
}

pub(crate) fn puback(id: u16) -> Vec<u8> {
    [&[0x40, 2][..], &id.to_be_bytes()].concat()
}

pub(crate) fn connect(version: Version, client_id: &str) -> Vec<u8> {
    const CLEAN: u8 = 0b10;
    connect_with(version, CLEAN, 60, client_id, &[])
}

/// CONNECT; `will` is what stands after the client id.
pub(crate) fn connect_with(version: Version, flags: u8, keep_alive: u16, client_id: &str, will: &[u8]) -> Vec<u8> {
    let (level, properties) = match version {
        Version::V3 => (4, &[][..]),
        Version::V5 => (5, &[0][..]),
    };
    let body = [&text("MQTT")[..], &[level, flags], &keep_alive.to_be_bytes()[..], properties, &text(client_id), will]
        .concat();
    packet(0x10, &body)
}

/// PUBLISH; `properties` are those of version 5.
pub(crate) fn publish(version: Version, topic: &str, qos: u8, id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        body.extend(length(properties.len()));
        body.extend(properties);
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

/// SUBSCRIBE (0x82), at QoS 0, or UNSUBSCRIBE (0xA2), with packet id 1.
pub(crate) fn filters(version: Version, first: u8, filters: &[&str]) -> Vec<u8> {
    filters_with(version, first, filters, if first == 0x82 { &[0] } else { &[] })
}

/// SUBSCRIBE at QoS 1 with packet id 1.
pub(crate) fn subscribe(version: Version, filters: &[&str]) -> Vec<u8> {
    filters_with(version, 0x82, filters, &[1])
}

fn filters_with(version: Version, first: u8, filters: &[&str], options: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1];
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        body.extend(text(filter));
        body.extend(options);
    }
    packet(first, &body)
}

/// CONNECT of version 5 with `properties`.
pub(crate) fn connect_v5(client_id: &str, properties: &[u8]) -> Vec<u8> {
    let body = [&text("MQTT")[..], &[5, 0b10, 0, 60], &length(properties.len()), properties, &text(client_id)].concat();
    packet(0x10, &body)
}

/// A command as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) topic: String,
    /// Packet id at QoS 1, none at QoS 0.
    pub(crate) id: Option<u16>,
    /// Message expiry interval, in seconds, of version 5.
    pub(crate) expiry: Option<u32>,
    /// The key, of version 5.
    pub(crate) key: Option<String>,
    pub(crate) payload: String,
}

/// Reads a PUBLISH as the endpoint sends commands.
pub(crate) fn command(version: Version, packet: &[u8]) -> Command {
    assert!(matches!(packet[0], 0x30 | 0x32), "{packet:?} is no command");
    let mut rest = &packet[1..];
    while take(&mut rest, 1)[0] & 0x80 != 0 {}
    let topic = take_text(&mut rest);
    let id = (packet[0] == 0x32).then(|| u16::from_be_bytes(take(&mut rest, 2).try_into().unwrap()));
    let (mut expiry, mut key) = (None, None);
    if version == Version::V5 {
        assert!(take(&mut rest, 1)[0] < 0x80);
        assert_eq!(take(&mut rest, 1), [0x02]);
        expiry = Some(u32::from_be_bytes(take(&mut rest, 4).try_into().unwrap()));
        assert_eq!(take(&mut rest, 1), [0x26]);
        assert_eq!(take_text(&mut rest), "idempotency-key");
        key = Some(take_text(&mut rest));
    }
    Command { topic, id, expiry, key, payload: String::from_utf8(rest.to_vec()).unwrap() }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(count);
    *rest = after;
    taken
}

fn take_text(rest: &mut &[u8]) -> String {
    let bytes = u16::from_be_bytes(take(rest, 2).try_into().unwrap());
    String::from_utf8(take(rest, usize::from(bytes)).to_vec()).unwrap()
}

pub(crate) fn user_property(name: &str, value: &str) -> Vec<u8> {
    [&[0x26][..], &text(name), &text(value)].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &length(body.len()), body].concat()
}

fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A SenML pack of one reading, with an identity.
pub(crate) fn pack(seq: i64) -> Vec<u8> {
    format!(r#"[{{"n":"boot","v":1}},{{"n":"seq","v":{seq}}},{{"n":"temperature","u":"Cel","v":21.5}}]"#).into_bytes()
}
