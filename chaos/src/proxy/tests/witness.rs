//! The file says what passed, no more and no less.

use super::*;

/// A CONNECT of protocol level `level`.
pub(super) fn connect(level: u8, device: &str) -> Vec<u8> {
    let mut body = vec![0, 4];
    body.extend(b"MQTT");
    body.extend([level, 2, 0, 60]);
    if level == 5 {
        // Properties: a session expiry interval.
        body.extend([5, 0x11, 0, 0, 0, 9]);
    }
    put_text(&mut body, device.as_bytes());
    packet(0x10, &body)
}

/// A PUBLISH at QoS 1.
pub(super) fn publish(level: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, b"hall/device/telemetry");
    body.extend(id.to_be_bytes());
    if level == 5 {
        // Properties: a payload format indicator.
        body.extend([2, 0x01, 1]);
    }
    body.extend(payload);
    packet(0x32, &body)
}

fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length >= 128 {
        packet.push(u8::try_from(length % 128).unwrap() | 0x80);
        length /= 128;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend(body);
    packet
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text);
}

fn message(boot: i64, seq: i64) -> Vec<u8> {
    format!(r#"[{{"bn":"d:","n":"boot","v":{boot}}},{{"n":"seq","v":{seq}}},{{"n":"x","v":1.5}}]"#).into_bytes()
}

/// Sends `up` through in pieces of so many bytes, then `down` back, and waits until both are there.
fn exchange(pair: &(TcpStream, TcpStream), up: &[u8], down: &[u8], pieces: usize) {
    let (device, server) = (&pair.0, &pair.1);
    for (mut from, mut to, bytes) in [(device, server, up), (server, device, down)] {
        for piece in bytes.chunks(pieces) {
            from.write_all(piece).unwrap();
        }
        let mut got = vec![0; bytes.len()];
        to.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
    }
}

#[test]
fn each_acknowledgement_that_passed_has_its_line() {
    for (level, pieces) in [(4, usize::MAX), (4, 1), (5, usize::MAX), (5, 3)] {
        let world = World::new();
        let pair = world.connect();
        let up = [
            connect(level, "device-7"),
            publish(level, 1, &message(-2, 10)),
            publish(level, 2, br#"{"device_id":"device-7","boot":3,"seq":11,"x":0.5}"#),
            publish(level, 3, b"20.5"),
            // Of QoS 0, and a ping.
            packet(0x30, b"\x00\x01tx"),
            packet(0xC0, b""),
            publish(level, 4, &message(3, 12)),
        ];
        let reason: &[u8] = if level == 5 { &[0x40, 3, 0, 2, 0x10] } else { &[0x40, 2, 0, 2] };
        let down = [&[0x20, 2, 0, 0], &*puback(1), reason, &*puback(3), &[0xD0, 0]].concat();
        exchange(&pair, &up.concat(), &down, pieces);
        // An id is used again, for another message.
        exchange(&pair, &publish(level, 1, &message(3, 13)), &[puback(4), puback(1)].concat(), pieces);
        let (witness, lines) = world.finish();
        assert_eq!(lines, ["device-7,-2,10", "device-7,3,11", "device-7,3,12", "device-7,3,13"], "level {level}");
        assert_eq!((witness.publishes, witness.pubacks, witness.unidentified), (5, 5, 1));
        assert_eq!((witness.stale, witness.disordered, witness.rejected), (0, 0, 0));
    }
}

#[test]
fn an_acknowledgement_of_nothing_that_is_open_is_stale() {
    let world = World::new();
    let pair = world.connect();
    let up = [connect(4, "device-1"), publish(4, 1, &message(1, 1))].concat();
    // The second for one message, and one for a message that never was.
    exchange(&pair, &up, &[puback(1), puback(1), puback(77)].concat(), usize::MAX);
    // Of another connection of the same device.
    let other = world.connect();
    exchange(&other, &connect(4, "device-2"), &puback(1), usize::MAX);
    let (witness, lines) = world.finish();
    assert_eq!(witness.stale, 3);
    assert_eq!(witness.stale_devices, ["device-1".to_owned(), "device-2".to_owned()].into());
    assert_eq!((witness.pubacks, lines), (1, vec!["device-1,1,1".to_owned()]));
}

#[test]
fn a_message_is_open_only_once_the_server_has_all_of_it() {
    let world = World::new();
    let pair = world.connect();
    let up = [connect(4, "device-1"), publish(4, 1, &message(1, 1))].concat();
    let (early, last) = up.split_at(up.len() - 1);
    exchange(&pair, early, &puback(1), usize::MAX);
    exchange(&pair, last, &puback(1), usize::MAX);
    let (witness, lines) = world.finish();
    assert_eq!((witness.stale, witness.pubacks, lines.len()), (1, 1, 1));
}

#[test]
fn a_message_sent_twice_is_owed_two_acknowledgements_and_order_is_watched() {
    let world = World::new();
    let pair = world.connect();
    let twice = [connect(4, "device-1"), publish(4, 1, &message(1, 1)), publish(4, 1, &message(1, 1))].concat();
    exchange(&pair, &twice, &[puback(1), puback(1)].concat(), usize::MAX);
    let two = [publish(4, 1, &message(1, 2)), publish(4, 2, &message(1, 3))].concat();
    exchange(&pair, &two, &[puback(2), puback(1)].concat(), usize::MAX);
    let (witness, lines) = world.finish();
    assert_eq!(lines, ["device-1,1,1", "device-1,1,1", "device-1,1,3", "device-1,1,2"]);
    assert_eq!((witness.stale, witness.disordered), (0, 1));
}

#[test]
fn a_rejected_message_is_not_acknowledged() {
    let world = World::new();
    let pair = world.connect();
    let up = [connect(5, "device-1"), publish(5, 1, &message(1, 1))].concat();
    exchange(&pair, &up, &[0x40, 4, 0, 1, 0x97, 0], usize::MAX);
    let (witness, lines) = world.finish();
    assert_eq!((witness.rejected, witness.pubacks, lines.len()), (1, 0, 0));
}

#[test]
fn an_acknowledgement_torn_by_a_reset_has_no_line() {
    let world = World::new();
    let (mut device, mut server) = world.connect();
    let up = [connect(4, "device-1"), publish(4, 1, &message(1, 1))].concat();
    device.write_all(&up).unwrap();
    server.read_exact(&mut vec![0; up.len()]).unwrap();
    server.write_all(&puback(1)[..3]).unwrap();
    device.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(world.proxy.cut_all().unwrap(), 1);
    let (witness, lines) = world.finish();
    assert_eq!((witness.pubacks, lines.len()), (0, 0));
}
