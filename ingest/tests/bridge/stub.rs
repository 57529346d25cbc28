//! A broker that does what a test wants, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::raw::{self, PINGREQ, PINGRESP, Version};

/// Longer than anything here takes: what does not come fails the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A port that the bridge connects to.
pub(crate) struct Stub {
    listener: TcpListener,
    version: Version,
}

/// A connection of the bridge.
pub(crate) struct Peer {
    stream: TcpStream,
    version: Version,
}

/// What a CONNECT says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) level: u8,
    pub(crate) flags: u8,
    pub(crate) keep_alive: u16,
    /// Everything behind the keep-alive.
    pub(crate) rest: Vec<u8>,
}

/// A SUBSCRIBE: packet id, and filters with their options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) id: u16,
    pub(crate) filters: Vec<(String, u8)>,
}

impl Stub {
    pub(crate) async fn listen(version: Version) -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), version }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The next connection, nothing read or sent.
    pub(crate) async fn arrival(&self) -> Peer {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("nobody connects");
        let stream = accepted.unwrap().0;
        stream.set_nodelay(true).unwrap();
        Peer { stream, version: self.version }
    }

    /// The next connection, past CONNACK and every SUBACK.
    pub(crate) async fn welcome(&self, session_present: bool) -> Peer {
        let mut peer = self.arrival().await;
        peer.connect().await;
        peer.send(&connack(self.version, session_present, 0)).await;
        peer.grant().await;
        peer
    }
}

impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// As [`Peer::send`], to a bridge that may be gone; false if it is.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends and receives at once: for more than the buffers of the connection hold.
    pub(crate) fn split(self) -> (Peer, tokio::net::tcp::OwnedWriteHalf) {
        // The two halves are of one socket; the reader is made of a duplicate.
        let stream = self.stream.into_std().unwrap();
        let other = stream.try_clone().unwrap();
        let (_, write) = TcpStream::from_std(other).unwrap().into_split();
        (Peer { stream: TcpStream::from_std(stream).unwrap(), version: self.version }, write)
    }

    /// The next packet of the bridge, pings left out; none if it closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let packet = self.next_or_ping().await?;
            if packet != PINGREQ {
                return Some(packet);
            }
        }
    }

    async fn next_or_ping(&mut self) -> Option<Vec<u8>> {
        let packet = tokio::time::timeout(PATIENCE, self.read()).await.expect("no packet came")?;
        if packet == PINGREQ && !self.try_send(PINGRESP).await {
            return None;
        }
        Some(packet)
    }

    /// Waits until the bridge has pinged twice, and so has done whatever was to be done before the second ping; it must
    /// have sent nothing else.
    pub(crate) async fn expect_silence(&mut self) {
        for _ in 0..2 {
            let packet = self.next_or_ping().await;
            assert_eq!(packet.as_deref(), Some(PINGREQ), "the bridge was to be silent");
        }
    }

    /// Answers no ping any more, until the bridge closes the connection.
    pub(crate) async fn fall_silent(&mut self) {
        while let Some(packet) = tokio::time::timeout(PATIENCE, self.read()).await.expect("the bridge stays") {
            assert_eq!(packet, PINGREQ);
        }
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

    /// The bridge closes the connection.
    pub(crate) async fn expect_closed(&mut self) {
        while let Some(packet) = self.next().await {
            assert_ne!(packet[0], 0x40, "an acknowledgement instead of the end");
        }
    }

    pub(crate) async fn connect(&mut self) -> Connect {
        let packet = self.next().await.expect("the bridge closed the connection");
        assert_eq!(packet[0], 0x10, "{packet:?}");
        let body = body(&packet);
        assert_eq!(&body[..6], b"\x00\x04MQTT");
        let keep_alive = u16::from_be_bytes([body[8], body[9]]);
        Connect { level: body[6], flags: body[7], keep_alive, rest: body[10..].to_vec() }
    }

    pub(crate) async fn subscribe(&mut self) -> Subscribe {
        let packet = self.next().await.expect("the bridge closed the connection");
        assert_eq!(packet[0], 0x82, "{packet:?}");
        let body = body(&packet);
        let id = u16::from_be_bytes([body[0], body[1]]);
        let mut rest = if self.version == Version::V5 { &body[3..] } else { &body[2..] };
        let mut filters = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            let filter = String::from_utf8(rest[2..2 + length].to_vec()).unwrap();
            filters.push((filter, rest[2 + length]));
            rest = &rest[3 + length..];
        }
        Subscribe { id, filters }
    }

    /// Grants what is asked for: one filter for messages; what the broker drops it is not asked.
    pub(crate) async fn grant(&mut self) -> Subscribe {
        let asked = self.subscribe().await;
        let codes: Vec<u8> = asked.filters.iter().map(|(_, options)| options & 0b11).collect();
        self.send(&suback(self.version, asked.id, &codes)).await;
        asked
    }

    /// Publishes message `seq` at QoS 1 with packet id `id`.
    pub(crate) async fn publish(&mut self, id: u16, seq: i64) {
        let packet = publish(self.version, id, seq, false);
        self.send(&packet).await;
    }

    /// The packet id of the next PUBACK.
    pub(crate) async fn puback(&mut self) -> u16 {
        let packet = self.next().await.expect("the bridge closed the connection");
        puback_id(&packet)
    }

    /// PUBACKs of exactly these ids, in this order.
    pub(crate) async fn expect_pubacks(&mut self, ids: impl IntoIterator<Item = u16>) {
        for id in ids {
            assert_eq!(self.puback().await, id);
        }
    }
}

pub(crate) fn puback_id(packet: &[u8]) -> u16 {
    assert_eq!((packet[0], packet.len()), (0x40, 4), "{packet:?} is no PUBACK");
    u16::from_be_bytes([packet[2], packet[3]])
}

fn body(packet: &[u8]) -> &[u8] {
    let header = 2 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    &packet[header..]
}

/// CONNACK with `code`, which says yes if it is 0.
pub(crate) fn connack(version: Version, session_present: bool, code: u8) -> Vec<u8> {
    match version {
        Version::V3 => vec![0x20, 2, u8::from(session_present), code],
        Version::V5 => vec![0x20, 3, u8::from(session_present), code, 0],
    }
}

pub(crate) fn suback(version: Version, id: u16, codes: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(codes);
    [&[0x90, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

/// Message `seq` at QoS 1, perhaps marked as sent before.
pub(crate) fn publish(version: Version, id: u16, seq: i64, dup: bool) -> Vec<u8> {
    let mut packet = raw::publish(version, TOPIC, 1, id, &[], &raw::pack(seq));
    if dup {
        packet[0] |= 0x08;
    }
    packet
}

pub(crate) const TOPIC: &str = "hall/pump/telemetry";
