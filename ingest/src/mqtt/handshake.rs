//! From CONNECT to CONNACK.

use std::num::NonZeroU16;

use ntex::codec::{Decoder, Encoder};
use ntex::io::Io;
use ntex::time::Seconds;
use ntex::util::{ByteString, Bytes, BytesMut};
use ntex_mqtt::error::DecodeError;
use ntex_mqtt::{QoS, v3, v5};

use super::Version;
use super::clients::Seat;
use super::frame::{Frame, Frames};
use super::requests::is_topic_name;
use super::server::seconds;
use super::worker::Shared;

/// Longest client id, in bytes: it is held for each connection and written into each dead letter.
const CLIENT_ID_BYTES: usize = 256;
/// Topic aliases of one connection: each holds a topic of up to 64 KiB.
pub(super) const TOPIC_ALIASES: u16 = 16;

/// A client that was let in.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) version: Version,
    pub(super) name: Box<str>,
    /// A connection silent for this long is closed.
    pub(super) patience: Seconds,
    pub(super) will: Option<Will>,
    /// Largest packet it takes, in bytes.
    pub(super) most_packet_bytes: usize,
    /// Most messages it takes without having acknowledged them.
    pub(super) receive_maximum: u16,
}

/// What to publish if the connection breaks.
#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) topic: ByteString,
    pub(super) payload: Bytes,
}

/// Reads CONNECT and answers it; `None` if there was none, or it was refused.
pub(super) async fn shake(io: &Io, shared: &Shared, seat: &Seat<'_>) -> Option<Client> {
    io.start_timer(seconds(shared.settings.connect_timeout));
    let frames = Frames { most_bytes: shared.settings.most_packet_bytes() };
    let received = io.recv(&frames).await;
    io.stop_timer();
    let frame = received.ok()??;
    match version(&frame)? {
        Ok(Version::V3) => shake_v3(io, shared, seat, &frame),
        Ok(Version::V5) => shake_v5(io, shared, seat, &frame),
        Err(UnknownVersion) => {
            refuse_v3(io, v3::codec::ConnectAckReason::UnacceptableProtocolVersion);
            None
        }
    }
}

struct UnknownVersion;

/// The version a CONNECT asks for; `None` if it is no CONNECT.
fn version(frame: &Frame) -> Option<Result<Version, UnknownVersion>> {
    const CONNECT: u8 = 0x10;
    if frame.first != CONNECT {
        return None;
    }
    match frame.body() {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Some(Ok(Version::V3)),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Some(Ok(Version::V5)),
        // Another level, or the name that 3.1 had.
        [0, 4, b'M', b'Q', b'T', b'T', ..] | [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => {
            Some(Err(UnknownVersion))
        }
        _ => None,
    }
}

fn shake_v3(io: &Io, shared: &Shared, seat: &Seat<'_>, frame: &Frame) -> Option<Client> {
    use v3::codec::{ConnectAckReason, Decoded, Packet};
    let connect = match v3::codec::Codec::new().decode(&mut BytesMut::copy_from_slice(&frame.bytes)) {
        Ok(Some(Decoded::Packet(Packet::Connect(connect), _))) => connect,
        // No name, and a session that would have to be found again by it.
        Err(DecodeError::InvalidClientId) => return refuse_v3(io, ConnectAckReason::IdentifierRejected),
        _ => return None,
    };
    if connect.client_id.len() > CLIENT_ID_BYTES {
        return refuse_v3(io, ConnectAckReason::IdentifierRejected);
    }
    if !seat.within_limit || shared.intake.is_closed() {
        return refuse_v3(io, ConnectAckReason::ServiceUnavailable);
    }
    let will = connect.last_will.map(|will| Will { topic: will.topic, payload: will.message });
    if will.as_ref().is_some_and(|will| !is_topic_name(&will.topic)) {
        return None;
    }
    write(io, &[0x20, 2, 0, ConnectAckReason::ConnectionAccepted.into()]);
    let keep_alive = if connect.keep_alive == 0 { seconds(shared.settings.keep_alive).0 } else { connect.keep_alive };
    Some(Client {
        version: Version::V3,
        name: name_or_new(&connect.client_id, seat),
        patience: patience(keep_alive),
        will,
        most_packet_bytes: usize::MAX,
        receive_maximum: u16::MAX,
    })
}

fn refuse_v3(io: &Io, reason: v3::codec::ConnectAckReason) -> Option<Client> {
    write(io, &[0x20, 2, 0, reason.into()]);
    None
}

fn shake_v5(io: &Io, shared: &Shared, seat: &Seat<'_>, frame: &Frame) -> Option<Client> {
    use v5::codec::{ConnectAck, ConnectAckReason, Decoded, Packet};
    let refuse = |reason_code| {
        write_v5(io, ConnectAck { reason_code, ..ConnectAck::default() });
        None
    };
    let connect = match v5::codec::Codec::new().decode(&mut BytesMut::copy_from_slice(&frame.bytes)) {
        Ok(Some(Decoded::Packet(Packet::Connect(connect), _))) => connect,
        _ => return refuse(ConnectAckReason::MalformedPacket),
    };
    if connect.auth_method.is_some() {
        return refuse(ConnectAckReason::BadAuthenticationMethod);
    }
    if connect.client_id.len() > CLIENT_ID_BYTES {
        return refuse(ConnectAckReason::ClientIdentifierNotValid);
    }
    if shared.intake.is_closed() {
        return refuse(ConnectAckReason::ServerUnavailable);
    }
    if !seat.within_limit {
        return refuse(ConnectAckReason::ServerBusy);
    }
    let will = connect.last_will.map(|will| Will { topic: will.topic, payload: will.message });
    if will.as_ref().is_some_and(|will| !is_topic_name(&will.topic)) {
        return refuse(ConnectAckReason::TopicNameInvalid);
    }
    let ours = (connect.keep_alive == 0).then(|| seconds(shared.settings.keep_alive).0);
    let name = name_or_new(&connect.client_id, seat);
    write_v5(
        io,
        ConnectAck {
            receive_max: shared.settings.in_flight,
            max_qos: QoS::ExactlyOnce,
            max_packet_size: u32::try_from(shared.settings.most_packet_bytes()).ok(),
            topic_alias_max: TOPIC_ALIASES,
            assigned_client_id: connect.client_id.is_empty().then(|| ByteString::from(&*name)),
            server_keepalive_sec: ours,
            session_expiry_interval_secs: (connect.session_expiry_interval_secs > 0).then_some(0),
            subscription_identifiers_available: false,
            shared_subscription_available: false,
            ..ConnectAck::default()
        },
    );
    Some(Client {
        version: Version::V5,
        name,
        patience: patience(ours.unwrap_or(connect.keep_alive)),
        will,
        most_packet_bytes: connect
            .max_packet_size
            .and_then(|size| usize::try_from(size.get()).ok())
            .unwrap_or(usize::MAX),
        receive_maximum: connect.receive_max.map_or(u16::MAX, NonZeroU16::get),
    })
}

/// The client's name, or one that no other connection of this process has.
fn name_or_new(name: &str, seat: &Seat<'_>) -> Box<str> {
    if name.is_empty() { format!("unnamed-{}", seat.id).into() } else { name.into() }
}

/// One and a half times the keep-alive, as the specification wants it.
fn patience(keep_alive: u16) -> Seconds {
    Seconds(u16::try_from((u32::from(keep_alive) * 3).div_ceil(2)).unwrap_or(u16::MAX))
}

fn write_v5(io: &Io, ack: v5::codec::ConnectAck) {
    let packet = v5::codec::Encoded::Packet(v5::codec::Packet::ConnectAck(Box::new(ack)));
    let written = io.with_write_buf(|buffer| v5::codec::Codec::new().encodev(packet, buffer));
    if !matches!(written, Ok(Ok(()))) {
        tracing::debug!("connection closed before it was answered");
    }
}

fn write(io: &Io, bytes: &[u8]) {
    if io.with_write_buf(|buffer| buffer.extend_from_slice(bytes)).is_err() {
        tracing::debug!("connection closed before it was answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_be_silent_for_one_and_a_half_keep_alives() {
        assert_eq!(patience(1), Seconds(2));
        assert_eq!(patience(60), Seconds(90));
        assert_eq!(patience(u16::MAX), Seconds(u16::MAX));
    }
}
