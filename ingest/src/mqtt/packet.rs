//! The packets that do not flow at rate, read with the codec of `ntex-mqtt`, and the bytes of what is sent.

use std::time::Duration;

use ntex::codec::Decoder;
use ntex::util::{BufMut, BytePages, ByteString, BytesMut};
use ntex_mqtt::{v3, v5};

use super::Version;
use super::errand::Command;
use super::frame::Frame;
use crate::live::LiveReading;

/// What a client asks for, PUBLISH and CONNECT left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The second half of QoS 2.
    Release(u16),
    /// PUBACK of what it was sent.
    Acknowledge {
        /// Packet id.
        id: u16,
        /// Reason code of version 5, else 0, which is success.
        reason: u8,
    },
    /// Filters in order.
    Subscribe {
        /// Packet id.
        id: u16,
        /// What to be told, and at which QoS at most.
        filters: Vec<(ByteString, u8)>,
        /// Whether it gives a subscription identifier, which the server said it does not have.
        identifier: bool,
    },
    /// Filters in order.
    Unsubscribe {
        /// Packet id.
        id: u16,
        /// What to watch no more.
        filters: Vec<ByteString>,
    },
    /// "Are you there?"
    Ping,
    /// The end.
    Disconnect {
        /// Whether the client wants its will to be published all the same.
        with_will: bool,
    },
    /// A packet that a client does not send here.
    Unexpected,
}

/// Reads a packet that is neither PUBLISH nor CONNECT; `None` if it is malformed.
pub(super) fn request(version: Version, frame: &Frame) -> Option<Request> {
    let mut bytes = BytesMut::copy_from_slice(&frame.bytes);
    match version {
        Version::V3 => match v3::codec::Codec::new().decode(&mut bytes).ok()?? {
            v3::codec::Decoded::Packet(packet, _) => Some(request_v3(packet)),
            _ => None,
        },
        Version::V5 => match v5::codec::Codec::new().decode(&mut bytes).ok()?? {
            v5::codec::Decoded::Packet(packet, _) => Some(request_v5(packet)),
            _ => None,
        },
    }
}

fn request_v3(packet: v3::codec::Packet) -> Request {
    use v3::codec::Packet;
    match packet {
        Packet::PublishRelease { packet_id } => Request::Release(packet_id.get()),
        Packet::PublishAck { packet_id } => Request::Acknowledge { id: packet_id.get(), reason: 0 },
        Packet::Subscribe { packet_id, topic_filters } => Request::Subscribe {
            id: packet_id.get(),
            filters: topic_filters.into_iter().map(|(filter, qos)| (filter, qos.into())).collect(),
            identifier: false,
        },
        Packet::Unsubscribe { packet_id, topic_filters } => {
            Request::Unsubscribe { id: packet_id.get(), filters: topic_filters }
        }
        Packet::PingRequest => Request::Ping,
        Packet::Disconnect => Request::Disconnect { with_will: false },
        _ => Request::Unexpected,
    }
}

fn request_v5(packet: v5::codec::Packet) -> Request {
    use v5::codec::{DisconnectReasonCode, Packet};
    match packet {
        Packet::PublishRelease(release) => Request::Release(release.packet_id.get()),
        Packet::PublishAck(ack) => Request::Acknowledge { id: ack.packet_id.get(), reason: ack.reason_code.into() },
        Packet::Subscribe(subscribe) => Request::Subscribe {
            id: subscribe.packet_id.get(),
            filters: subscribe.topic_filters.into_iter().map(|(filter, with)| (filter, with.qos.into())).collect(),
            identifier: subscribe.id.is_some(),
        },
        Packet::Unsubscribe(unsubscribe) => {
            Request::Unsubscribe { id: unsubscribe.packet_id.get(), filters: unsubscribe.topic_filters }
        }
        Packet::PingRequest => Request::Ping,
        Packet::Disconnect(disconnect) => {
            Request::Disconnect { with_will: disconnect.reason_code != DisconnectReasonCode::NormalDisconnection }
        }
        _ => Request::Unexpected,
    }
}

/// First byte of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ack {
    /// Of QoS 1.
    Puback = 0x40,
    /// Of QoS 2, first half.
    Pubrec = 0x50,
}

pub(super) fn put_ack(buffer: &mut BytePages, ack: Ack, id: u16) {
    let [high, low] = id.to_be_bytes();
    // In version 5 these are short for "success".
    buffer.extend_from_slice(&[ack as u8, 2, high, low]);
}

/// PUBCOMP; `found` says whether the packet id was in use.
pub(super) fn put_pubcomp(buffer: &mut BytePages, version: Version, id: u16, found: bool) {
    const NOT_FOUND: u8 = 0x92;
    let [high, low] = id.to_be_bytes();
    match version {
        Version::V5 if !found => buffer.extend_from_slice(&[0x70, 3, high, low, NOT_FOUND]),
        _ => buffer.extend_from_slice(&[0x70, 2, high, low]),
    }
}

pub(super) fn put_pong(buffer: &mut BytePages) {
    buffer.extend_from_slice(&[0xD0, 0]);
}

/// What became of one filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    /// Live readings will come, at QoS 0.
    Live,
    /// Commands will come, at QoS 1.
    Commands,
    /// Copies of commands will come, at QoS 0.
    Copies,
    /// Nothing there can be subscribed to.
    NotAllowed,
    /// There are as many as there may be, of the connection or of the kind.
    TooMany,
    /// Shared subscriptions are not offered.
    Shared,
    /// It is no filter.
    Invalid,
}

impl Granted {
    fn code(self, version: Version) -> u8 {
        match (version, self) {
            (_, Self::Live | Self::Copies) => 0,
            (_, Self::Commands) => 1,
            (Version::V3, _) => 0x80,
            (Version::V5, Self::NotAllowed) => 0x87,
            (Version::V5, Self::TooMany) => 0x97,
            (Version::V5, Self::Shared) => 0x9E,
            (Version::V5, Self::Invalid) => 0x8F,
        }
    }
}

pub(super) fn put_suback(buffer: &mut BytePages, version: Version, id: u16, granted: &[Granted]) {
    let codes: Vec<u8> = granted.iter().map(|granted| granted.code(version)).collect();
    put_with_codes(buffer, 0x90, version, id, &codes);
}

/// UNSUBACK; `found` says for each filter whether there was such a subscription.
pub(super) fn put_unsuback(buffer: &mut BytePages, version: Version, id: u16, found: &[bool]) {
    const NO_SUBSCRIPTION: u8 = 0x11;
    let codes: Vec<u8> = match version {
        Version::V3 => Vec::new(),
        Version::V5 => found.iter().map(|found| if *found { 0 } else { NO_SUBSCRIPTION }).collect(),
    };
    put_with_codes(buffer, 0xB0, version, id, &codes);
}

fn put_with_codes(buffer: &mut BytePages, first: u8, version: Version, id: u16, codes: &[u8]) {
    // Version 5 has an empty list of properties in between.
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    buffer.put_u8(first);
    put_variable_length(buffer, 2 + properties.len() + codes.len());
    buffer.extend_from_slice(&id.to_be_bytes());
    buffer.extend_from_slice(properties);
    buffer.extend_from_slice(codes);
}

/// DISCONNECT with a reason, which only version 5 has.
pub(super) fn put_disconnect(buffer: &mut BytePages, reason: v5::codec::DisconnectReasonCode) {
    buffer.extend_from_slice(&[0xE0, 1, reason.into()]);
}

/// Size of a live reading as a packet.
pub(super) fn live_bytes(version: Version, reading: &LiveReading) -> usize {
    let properties = usize::from(version == Version::V5);
    let rest = 2 + reading.topic.len() + properties + reading.payload.len();
    1 + variable_length_bytes(rest) + rest
}

/// PUBLISH of a live reading at QoS 0. Its topic is within the 65,535 bytes of MQTT by the limits on names.
pub(super) fn put_live(buffer: &mut BytePages, version: Version, reading: &LiveReading) {
    let Ok(topic_bytes) = u16::try_from(reading.topic.len()) else { return };
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    buffer.put_u8(0x30);
    put_variable_length(buffer, 2 + reading.topic.len() + properties.len() + reading.payload.len());
    buffer.extend_from_slice(&topic_bytes.to_be_bytes());
    buffer.extend_from_slice(reading.topic.as_bytes());
    buffer.extend_from_slice(properties);
    buffer.extend_from_slice(reading.payload.as_bytes());
}

/// Name of the user property that carries the key of a command.
const KEY_PROPERTY: &str = "idempotency-key";
/// And of the one that carries its trace.
const TRACE_PROPERTY: &str = "traceparent";

/// Size of a command as a packet at QoS 1, the larger one.
pub(super) fn command_bytes(version: Version, command: &Command) -> usize {
    let rest = 2 + command.topic.len() + 2 + command_properties_bytes(version, command) + command.payload.len();
    1 + variable_length_bytes(rest) + rest
}

/// PUBLISH of a command: at QoS 1 with packet id `id`, without one at QoS 0. It expires after `left`.
pub(super) fn put_command(
    buffer: &mut BytePages,
    version: Version,
    id: Option<u16>,
    command: &Command,
    left: Duration,
) {
    // Topic and key are within the 65,535 bytes of MQTT: it is checked where the command comes from.
    let Ok(topic_bytes) = u16::try_from(command.topic.len()) else { return };
    let properties = command_properties_bytes(version, command);
    let id_bytes = if id.is_some() { 2 } else { 0 };
    buffer.put_u8(if id.is_some() { 0x32 } else { 0x30 });
    put_variable_length(buffer, 2 + command.topic.len() + id_bytes + properties + command.payload.len());
    buffer.put_u16(topic_bytes);
    buffer.extend_from_slice(command.topic.as_bytes());
    if let Some(id) = id {
        buffer.put_u16(id);
    }
    if version == Version::V5 {
        put_variable_length(buffer, command_property_bytes(command));
        buffer.put_u8(0x02);
        // Rounded up: what is left of a second is still worth something.
        buffer.put_u32(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
        put_user_property(buffer, KEY_PROPERTY, &command.key);
        if let Some(trace) = command.trace {
            put_user_property(buffer, TRACE_PROPERTY, &trace.to_string());
        }
    }
    buffer.extend_from_slice(&command.payload);
}

/// Bytes of the properties and of their length.
fn command_properties_bytes(version: Version, command: &Command) -> usize {
    let properties = command_property_bytes(command);
    if version == Version::V5 { variable_length_bytes(properties) + properties } else { 0 }
}

/// Message expiry interval, key and trace.
fn command_property_bytes(command: &Command) -> usize {
    let trace = command.trace.map_or(0, |trace| user_property_bytes(TRACE_PROPERTY, &trace.to_string()));
    1 + 4 + user_property_bytes(KEY_PROPERTY, &command.key) + trace
}

fn put_user_property(buffer: &mut BytePages, name: &str, value: &str) {
    buffer.put_u8(0x26);
    for text in [name, value] {
        buffer.put_u16(u16::try_from(text.len()).unwrap_or(0));
        buffer.extend_from_slice(text.as_bytes());
    }
}

fn user_property_bytes(name: &str, value: &str) -> usize {
    1 + 2 + name.len() + 2 + value.len()
}

fn put_variable_length(buffer: &mut BytePages, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            buffer.put_u8(low);
            return;
        }
        buffer.put_u8(low | 0x80);
    }
}

fn variable_length_bytes(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use telemetry::trace::Context;

    use super::super::frame::Frames;
    use super::super::publish::Delivery;
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn frame(bytes: &[u8]) -> Frame {
        Frames { most_bytes: usize::MAX }.decode(&mut BytesMut::copy_from_slice(bytes)).unwrap().unwrap()
    }

    fn put(write: impl FnOnce(&mut BytePages)) -> Vec<u8> {
        let mut buffer = BytePages::default();
        write(&mut buffer);
        buffer.freeze().to_vec()
    }

    #[test]
    fn requests_of_both_versions_are_read() {
        let subscribe = Request::Subscribe { id: 9, filters: vec![("weir/live/#".into(), 0)], identifier: false };
        assert_eq!(request(Version::V3, &frame(b"\x82\x10\x00\x09\x00\x0Bweir/live/#\x00")), Some(subscribe.clone()));
        assert_eq!(request(Version::V5, &frame(b"\x82\x11\x00\x09\x00\x00\x0Bweir/live/#\x00")), Some(subscribe));
        let disconnect = |version, bytes: &[u8]| request(version, &frame(bytes));
        assert_eq!(disconnect(Version::V3, b"\xE0\x00"), Some(Request::Disconnect { with_will: false }));
        assert_eq!(disconnect(Version::V5, b"\xE0\x01\x04"), Some(Request::Disconnect { with_will: true }));
        assert_eq!(request(Version::V3, &frame(b"\x62\x02\x00\x07")), Some(Request::Release(7)));
        let puback = |id, reason| Some(Request::Acknowledge { id, reason });
        assert_eq!(request(Version::V3, &frame(b"\x40\x02\x01\x02")), puback(258, 0));
        assert_eq!(request(Version::V5, &frame(b"\x40\x02\x01\x02")), puback(258, 0));
        assert_eq!(request(Version::V5, &frame(b"\x40\x04\x00\x01\x99\x00")), puback(1, 0x99));
        assert_eq!(request(Version::V3, &frame(b"\x82\x03\x00\x09\x00")), None, "cut filter");
        assert_eq!(request(Version::V3, &frame(b"\x62\x01\x07")), None, "half a packet id");
    }

    #[test]
    fn every_short_packet_is_an_answer_and_no_panic() {
        for version in [Version::V3, Version::V5] {
            for first in 0..=255_u8 {
                if matches!(first >> 4, 0 | 3) {
                    continue;
                }
                for length in 0..24_u8 {
                    for fill in [0_u8, 1, 0x26, 0x7F, 0xFF] {
                        let mut bytes = vec![first, length];
                        bytes.extend(vec![fill; usize::from(length)]);
                        let _: Option<Request> = request(version, &frame(&bytes));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_sent_is_what_the_codec_reads() {
        let live = LiveReading { topic: "weir/live/a/b".into(), payload: "{}".repeat(100) };
        for version in [Version::V3, Version::V5] {
            let bytes = put(|buffer| put_live(buffer, version, &live));
            assert_eq!(bytes.len(), live_bytes(version, &live));
            let publish = super::super::publish::parse(version, bytes[0], &bytes[3..], false).unwrap();
            assert_eq!((publish.topic, publish.payload), (&*live.topic, live.payload.as_bytes()));
        }
        for (version, id) in [(Version::V3, None), (Version::V5, None), (Version::V3, Some(7)), (Version::V5, Some(7))]
        {
            let payload = ntex::util::Bytes::from("x".repeat(500));
            let command = Command {
                topic: "hall/pump/commands".into(),
                payload: payload.to_vec().into(),
                key: "k".repeat(200).into(),
                expires: Duration::MAX,
                trace: Context::parse(TRACEPARENT).filter(|_| id.is_some()),
            };
            let bytes = put(|buffer| put_command(buffer, version, id, &command, Duration::from_millis(1500)));
            assert_eq!(bytes.len(), command_bytes(version, &command) - if id.is_some() { 0 } else { 2 });
            let publish = super::super::publish::parse(version, bytes[0], &bytes[3..], true).unwrap();
            let delivery = id.map_or(Delivery::Forget, Delivery::AtLeastOnce);
            assert_eq!((publish.delivery, publish.topic), (delivery, "hall/pump/commands"));
            let trace = command.trace.filter(|_| version == Version::V5);
            assert_eq!(publish.traceparent.and_then(Context::parse), trace);
            assert_eq!(publish.payload, &payload[..]);
        }
        let suback = put(|buffer| put_suback(buffer, Version::V5, 9, &[Granted::Live, Granted::NotAllowed]));
        assert_eq!(suback, b"\x90\x05\x00\x09\x00\x00\x87");
        assert_eq!(put(|buffer| put_unsuback(buffer, Version::V3, 9, &[true])), b"\xB0\x02\x00\x09");
        assert_eq!(put(|buffer| put_ack(buffer, Ack::Puback, 258)), b"\x40\x02\x01\x02");
        assert_eq!(put(|buffer| put_pubcomp(buffer, Version::V5, 1, false)), b"\x70\x03\x00\x01\x92");
    }
}
