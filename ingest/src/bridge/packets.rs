//! Packets that do not flow at rate, with rumqttc's codecs for both versions.

use bytes::{BufMut, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::{self as mqtt5, v5};

use super::config::{BridgeConfig, Protocol};
use super::limits::PACKET_OVERHEAD_BYTES;
use super::problem::{Problem, words};

const PINGREQ: [u8; 2] = [0xC0, 0];
/// Without a reason, which is the normal one in version 5.
const DISCONNECT: [u8; 2] = [0xE0, 0];
/// First byte of a CONNACK.
const CONNACK: u8 = 0x20;

/// What the broker says that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It took the connection.
    Accepted(Accepted),
    /// It did not take the connection.
    Refused(String),
    /// SUBACK of this packet id: for each filter the granted QoS, or why there is none.
    Granted(u16, Vec<Result<u8, String>>),
    Pong,
    /// It closes the connection.
    Dismissed(String),
    /// A packet of this type, which has no business here.
    Other(u8),
}

/// What a broker says when it takes a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// It still had our session.
    pub(super) session_present: bool,
    /// Keep-alive that it wants instead of ours, in seconds.
    pub(super) keep_alive: Option<u16>,
    /// How long it keeps the session instead of what we asked for, in seconds.
    pub(super) session_expiry: Option<u32>,
}

/// Bytes of the largest PUBLISH we take.
pub(super) fn most_bytes(config: &BridgeConfig) -> usize {
    config.payload_bytes + PACKET_OVERHEAD_BYTES
}

/// CONNECT for a session that outlives the connection.
pub(super) fn connect(config: &BridgeConfig, password: &str, buffer: &mut BytesMut) -> Result<(), Problem> {
    let keep_alive = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
    let login = config.login.as_ref().map(|login| login.user.clone());
    match config.protocol {
        Protocol::V4 => {
            let mut packet = v4::Connect::new(&*config.client_id);
            packet.keep_alive = keep_alive;
            packet.clean_session = false;
            packet.login = login.map(|username| v4::Login { username, password: password.to_owned() });
            packet.write(buffer)?;
        }
        Protocol::V5 => {
            let mut properties = v5::ConnectProperties::new();
            properties.session_expiry_interval =
                Some(u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX));
            properties.receive_maximum = Some(config.in_flight);
            properties.max_packet_size = Some(u32::try_from(most_bytes(config)).unwrap_or(u32::MAX));
            let client_id = config.client_id.clone();
            let packet = v5::Connect { keep_alive, client_id, clean_start: false, properties: Some(properties) };
            let login = login.map(|username| v5::Login { username, password: password.to_owned() });
            packet.write(&None, &login, buffer)?;
        }
    }
    Ok(())
}

/// SUBSCRIBE with packet id `id` to `filters`, at QoS 1 or, if not `reliable`, at QoS 0.
pub(super) fn subscribe<'a>(
    protocol: Protocol,
    id: u16,
    filters: impl Iterator<Item = &'a str>,
    reliable: bool,
    buffer: &mut BytesMut,
) -> Result<(), Problem> {
    match protocol {
        Protocol::V4 => {
            let qos = if reliable { rumqttc::QoS::AtLeastOnce } else { rumqttc::QoS::AtMostOnce };
            let filter = |path: &str| v4::SubscribeFilter { path: path.to_owned(), qos };
            let mut packet = v4::Subscribe::new_many(filters.map(filter));
            packet.pkid = id;
            packet.write(buffer)?;
        }
        Protocol::V5 => {
            let qos = if reliable { mqtt5::QoS::AtLeastOnce } else { mqtt5::QoS::AtMostOnce };
            // Readings that are retained come with a new subscription only; the count of drops comes each time.
            let retained =
                if reliable { v5::RetainForwardRule::OnNewSubscribe } else { v5::RetainForwardRule::OnEverySubscribe };
            let filter =
                |path: &str| v5::Filter { retain_forward_rule: retained.clone(), ..v5::Filter::new(path, qos) };
            let mut packet = v5::Subscribe::new_many(filters.map(filter), None);
            packet.pkid = id;
            packet.write(buffer)?;
        }
    }
    Ok(())
}

pub(super) fn ping(buffer: &mut BytesMut) {
    buffer.put_slice(&PINGREQ);
}

pub(super) fn disconnect(buffer: &mut BytesMut) {
    buffer.put_slice(&DISCONNECT);
}

/// Reads a whole packet that is no PUBLISH.
pub(super) fn answer(protocol: Protocol, bytes: &[u8]) -> Result<Answer, Problem> {
    let mut buffer = BytesMut::from(bytes);
    match (protocol, bytes) {
        (_, &[0xE0, 0]) => Ok(Answer::Dismissed(words(v5::DisconnectReasonCode::NormalDisconnection))),
        // Two bytes: the answer of a broker that knows no version 5.
        (Protocol::V5, &[CONNACK, 2, _, _]) => {
            Ok(Answer::Refused("it does not speak MQTT 5; set the protocol to 3.1.1".to_owned()))
        }
        // A reason without properties, as Mosquitto sends it: the codec wants their length, which may be left out.
        (Protocol::V5, &[first @ 0xE0, 1, reason]) => answer(protocol, &[first, 2, reason, 0]),
        (Protocol::V4, _) => Ok(answer_v4(v4::Packet::read(&mut buffer, bytes.len())?)),
        (Protocol::V5, _) => Ok(answer_v5(v5::Packet::read(&mut buffer, None)?)),
    }
}

fn answer_v4(packet: v4::Packet) -> Answer {
    use v4::{ConnectReturnCode, Packet, SubscribeReasonCode};
    match packet {
        Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {
            Answer::Accepted(Accepted { session_present: ack.session_present, ..Accepted::default() })
        }
        Packet::ConnAck(ack) => Answer::Refused(refusal(&words(ack.code))),
        Packet::SubAck(ack) => {
            let codes = ack.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                SubscribeReasonCode::Failure => Err("not allowed, or not valid there".to_owned()),
            });
            Answer::Granted(ack.pkid, codes.collect())
        }
        Packet::PingResp => Answer::Pong,
        Packet::Connect(_) => Answer::Other(1),
        Packet::Publish(_) => Answer::Other(3),
        Packet::PubAck(_) => Answer::Other(4),
        Packet::PubRec(_) => Answer::Other(5),
        Packet::PubRel(_) => Answer::Other(6),
        Packet::PubComp(_) => Answer::Other(7),
        Packet::Subscribe(_) => Answer::Other(8),
        Packet::Unsubscribe(_) => Answer::Other(10),
        Packet::UnsubAck(_) => Answer::Other(11),
        Packet::PingReq => Answer::Other(12),
        Packet::Disconnect => Answer::Other(14),
    }
}

fn answer_v5(packet: v5::Packet) -> Answer {
    use v5::{ConnectReturnCode, Packet, SubscribeReasonCode};
    match packet {
        Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {
            let properties = ack.properties.as_ref();
            Answer::Accepted(Accepted {
                session_present: ack.session_present,
                keep_alive: properties.and_then(|properties| properties.server_keep_alive),
                session_expiry: properties.and_then(|properties| properties.session_expiry_interval),
            })
        }
        Packet::ConnAck(ack) => Answer::Refused(refusal(&words(ack.code))),
        Packet::SubAck(ack) => {
            let codes = ack.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                other => Err(words(other)),
            });
            Answer::Granted(ack.pkid, codes.collect())
        }
        Packet::PingResp(_) => Answer::Pong,
        Packet::Disconnect(packet) => Answer::Dismissed(dismissal(packet.reason_code)),
        Packet::Connect(..) => Answer::Other(1),
        Packet::Publish(_) => Answer::Other(3),
        Packet::PubAck(_) => Answer::Other(4),
        Packet::PubRec(_) => Answer::Other(5),
        Packet::PubRel(_) => Answer::Other(6),
        Packet::PubComp(_) => Answer::Other(7),
        Packet::Subscribe(_) => Answer::Other(8),
        Packet::Unsubscribe(_) => Answer::Other(10),
        Packet::UnsubAck(_) => Answer::Other(11),
        Packet::PingReq(_) => Answer::Other(12),
        Packet::Auth(_) => Answer::Other(15),
    }
}

fn refusal(code: &str) -> String {
    match code {
        "bad user name password" => "bad user name or password",
        "not authorized" => "not authorised: user name, password, certificate or client id",
        "bad client id" | "client identifier not valid" => "it does not take this client id",
        "refused protocol version" | "unsupported protocol version" => "it does not speak this version of MQTT",
        other => other,
    }
    .to_owned()
}

fn dismissal(code: v5::DisconnectReasonCode) -> String {
    match code {
        v5::DisconnectReasonCode::SessionTakenOver => "another client has connected with our client id".to_owned(),
        other => words(other),
    }
}

#[cfg(test)]
mod tests;
