//! A device that speaks as little MQTT 3.1.1 as it can: each message is acknowledged before the next.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connected client.
pub(crate) struct Client {
    stream: TcpStream,
    packet: u16,
}

impl Client {
    pub(crate) fn connect(mqtt: SocketAddr, id: &str) -> Self {
        let mut body = vec![0, 4];
        // Protocol level 4, clean session, keep-alive of a minute.
        body.extend_from_slice(b"MQTT\x04\x02\x00\x3c");
        push_text(&mut body, id);
        let mut client = Self { stream: TcpStream::connect(mqtt).unwrap(), packet: 0 };
        client.send(0x10, &body);
        assert_eq!(client.receive::<4>(), [0x20, 2, 0, 0], "CONNACK");
        client
    }

    /// Publishes at QoS 1, and waits for the PUBACK.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.packet += 1;
        let mut body = Vec::new();
        push_text(&mut body, topic);
        body.extend_from_slice(&self.packet.to_be_bytes());
        body.extend_from_slice(payload);
        self.send(0x32, &body);
        let [high, low] = self.packet.to_be_bytes();
        assert_eq!(self.receive::<4>(), [0x40, 2, high, low], "PUBACK");
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut left = body.len();
        loop {
            let low = u8::try_from(left % 128).unwrap();
            left /= 128;
            packet.push(if left > 0 { low | 0x80 } else { low });
            if left == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet).unwrap();
    }

    fn receive<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}
