//! MQTT 3.1.1 packets, as far as a device needs them. What every message needs is written and read here, by
//! hand, because a load generator must cost far less than what it loads; the rest is rumqttc's codec.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, Subscribe, SubscribeReasonCode};
use rumqttc::mqttbytes::{Error, QoS};
use telemetry::limits;

/// PUBLISH at QoS 1, not a duplicate, not retained.
const PUBLISH: u8 = 0x32;
/// First bytes of a PUBACK: type, and its only length.
const PUBACK: [u8; 2] = [0x40, 0x02];
/// Largest packet a server may send: a command, with a payload as large as one that Weir takes, and its topic.
const MAX_INCOMING: usize = limits::PAYLOAD_BYTES + 64 * 1024 + 16;

/// What a server tells a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// PUBACK of this packet id.
    Ack(u16),
    /// The answer to CONNECT.
    Connected(ConnectReturnCode),
    /// The answer to a ping.
    Pong,
    /// The answer to SUBSCRIBE of one filter: whether it is granted at QoS 1.
    Subscribed(bool),
    /// PUBLISH at QoS 1.
    Command {
        /// Packet id.
        id: u16,
        /// Payload.
        payload: Bytes,
    },
    /// A packet that is none of a publisher's business.
    Other(Box<Packet>),
}

/// Takes the first packet off `buffer`; `None` if it is not whole yet.
pub(crate) fn next(buffer: &mut BytesMut) -> Result<Option<Incoming>, Error> {
    if let [first, second, high, low, ..] = **buffer
        && [first, second] == PUBACK
    {
        buffer.advance(4);
        return Ok(Some(Incoming::Ack(u16::from_be_bytes([high, low]))));
    }
    match Packet::read(buffer, MAX_INCOMING) {
        Ok(Packet::PubAck(ack)) => Ok(Some(Incoming::Ack(ack.pkid))),
        Ok(Packet::ConnAck(answer)) => Ok(Some(Incoming::Connected(answer.code))),
        Ok(Packet::PingResp) => Ok(Some(Incoming::Pong)),
        Ok(Packet::SubAck(answer)) => {
            Ok(Some(Incoming::Subscribed(answer.return_codes == [SubscribeReasonCode::Success(QoS::AtLeastOnce)])))
        }
        Ok(Packet::Publish(publish)) if publish.qos == QoS::AtLeastOnce => {
            Ok(Some(Incoming::Command { id: publish.pkid, payload: publish.payload }))
        }
        Ok(packet) => Ok(Some(Incoming::Other(Box::new(packet)))),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Appends a SUBSCRIBE at QoS 1 to `buffer`, with packet id 1.
pub(crate) fn subscribe(buffer: &mut BytesMut, filter: &str) -> Result<(), Error> {
    let mut packet = Subscribe::new(filter, QoS::AtLeastOnce);
    packet.pkid = 1;
    packet.write(buffer).map(|_| ())
}

/// Appends the PUBACK of `id` to `buffer`.
pub(crate) fn acknowledge(buffer: &mut BytesMut, id: u16) {
    buffer.put_slice(&PUBACK);
    buffer.put_u16(id);
}

/// Appends a PUBLISH at QoS 1 to `buffer`. `topic` has at most 65,535 bytes, and `id` is not zero.
pub(crate) fn publish(buffer: &mut BytesMut, topic: &str, id: u16, payload: &[u8]) {
    let topic_length = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    let length = 2 + topic.len() + 2 + payload.len();
    buffer.reserve(5 + length);
    buffer.put_u8(PUBLISH);
    put_length(buffer, length);
    buffer.put_u16(topic_length);
    buffer.put_slice(topic.as_bytes());
    buffer.put_u16(id);
    buffer.put_slice(payload);
}

/// MQTT's variable-length number: seven bits a byte, lowest first.
fn put_length(buffer: &mut BytesMut, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7F).unwrap_or(0);
        length >>= 7;
        if length == 0 {
            buffer.put_u8(low);
            return;
        }
        buffer.put_u8(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes::v4::{PubAck, Publish};

    use super::*;

    #[test]
    fn a_publish_of_any_length_is_read_back_by_the_codec() {
        for size in [0, 1, 100, 127, 128, 16_383, 16_384, 300_000] {
            let payload = vec![7; size];
            let mut ours = BytesMut::new();
            publish(&mut ours, "hall/pump-1/telemetry", 513, &payload);
            let mut theirs = BytesMut::new();
            let mut packet = Publish::new("hall/pump-1/telemetry", QoS::AtLeastOnce, payload);
            packet.pkid = 513;
            packet.write(&mut theirs).unwrap();
            assert_eq!(ours, theirs, "payload of {size} bytes");
        }
    }

    #[test]
    fn packets_are_taken_off_one_by_one_and_a_torn_one_waits() {
        let mut buffer = BytesMut::new();
        PubAck::new(258).write(&mut buffer).unwrap();
        Packet::PingResp.write(&mut buffer, 100).unwrap();
        PubAck::new(3).write(&mut buffer).unwrap();
        let torn = buffer.split_off(buffer.len() - 1);
        assert_eq!(next(&mut buffer).unwrap(), Some(Incoming::Ack(258)));
        assert_eq!(next(&mut buffer).unwrap(), Some(Incoming::Pong));
        assert_eq!(next(&mut buffer).unwrap(), None);
        buffer.unsplit(torn);
        assert_eq!(next(&mut buffer).unwrap(), Some(Incoming::Ack(3)));
        assert_eq!(next(&mut buffer).unwrap(), None);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_mqtt_is_an_error() {
        assert!(next(&mut BytesMut::from(&b"\x00\x03abc"[..])).is_err());
        assert!(next(&mut BytesMut::from(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F][..])).is_err());
    }
}
