use super::*;
use crate::bridge::config::Login;

fn config(protocol: Protocol) -> BridgeConfig {
    let login = Some(Login { user: "weir".to_owned(), password: None });
    BridgeConfig { protocol, login, client_id: "bridge-1".to_owned(), in_flight: 77, ..BridgeConfig::default() }
}

#[test]
fn connect_asks_for_a_session_that_stays() {
    let mut buffer = BytesMut::new();
    connect(&config(Protocol::V4), "secret", &mut buffer).unwrap();
    let v4::Packet::Connect(packet) = v4::Packet::read(&mut buffer, 1000).unwrap() else { panic!("no CONNECT") };
    assert!(!packet.clean_session && buffer.is_empty());
    assert_eq!((packet.client_id.as_str(), packet.keep_alive), ("bridge-1", 30));
    assert_eq!(packet.login, Some(v4::Login { username: "weir".to_owned(), password: "secret".to_owned() }));

    connect(&config(Protocol::V5), "secret", &mut buffer).unwrap();
    let v5::Packet::Connect(packet, None, login) = v5::Packet::read(&mut buffer, None).unwrap() else {
        panic!("no CONNECT")
    };
    let properties = packet.properties.unwrap();
    assert!(!packet.clean_start);
    assert_eq!(properties.session_expiry_interval, Some(604_800));
    assert_eq!(properties.receive_maximum, Some(77));
    assert_eq!(properties.max_packet_size, Some(1024 * 1024 + 128 * 1024));
    assert_eq!(properties.topic_alias_max, None);
    assert_eq!(login.unwrap().password, "secret");
}

#[test]
fn subscribe_asks_for_qos_1_and_for_retained_messages_once() {
    let mut buffer = BytesMut::new();
    subscribe(Protocol::V4, 3, ["a/#", "b"].into_iter(), true, &mut buffer).unwrap();
    let v4::Packet::Subscribe(packet) = v4::Packet::read(&mut buffer, 1000).unwrap() else { panic!("no SUBSCRIBE") };
    assert_eq!((packet.pkid, packet.filters.len(), packet.filters[1].path.as_str()), (3, 2, "b"));
    assert_eq!(packet.filters[0].qos, rumqttc::QoS::AtLeastOnce);

    for (reliable, qos, rule) in [
        (true, mqtt5::QoS::AtLeastOnce, v5::RetainForwardRule::OnNewSubscribe),
        (false, mqtt5::QoS::AtMostOnce, v5::RetainForwardRule::OnEverySubscribe),
    ] {
        subscribe(Protocol::V5, 4, ["a/#"].into_iter(), reliable, &mut buffer).unwrap();
        let v5::Packet::Subscribe(packet) = v5::Packet::read(&mut buffer, None).unwrap() else {
            panic!("no SUBSCRIBE")
        };
        assert_eq!((packet.filters[0].qos, &packet.filters[0].retain_forward_rule), (qos, &rule));
    }
}

#[test]
fn answers_of_version_4_have_words() {
    let of = |bytes: &[u8]| answer(Protocol::V4, bytes).unwrap();
    let present = Accepted { session_present: true, ..Accepted::default() };
    assert_eq!(of(&[0x20, 2, 1, 0]), Answer::Accepted(present));
    assert_eq!(of(&[0x20, 2, 0, 4]), Answer::Refused("bad user name or password".to_owned()));
    assert_eq!(of(&[0x20, 2, 0, 2]), Answer::Refused("it does not take this client id".to_owned()));
    let refused = Err("not allowed, or not valid there".to_owned());
    assert_eq!(of(&[0x90, 5, 0, 7, 1, 0, 0x80]), Answer::Granted(7, vec![Ok(1), Ok(0), refused]));
    assert_eq!(of(&[0xD0, 0]), Answer::Pong);
    assert_eq!(of(&[0x40, 2, 0, 1]), Answer::Other(4));
    assert!(answer(Protocol::V4, &[0x20, 2, 0, 99]).is_err());
}

#[test]
fn answers_of_version_5_have_words() {
    let of = |bytes: &[u8]| answer(Protocol::V5, bytes).unwrap();
    assert_eq!(of(&[0x20, 3, 0, 0, 0]), Answer::Accepted(Accepted::default()));
    let refused = "not authorised: user name, password, certificate or client id".to_owned();
    assert_eq!(of(&[0x20, 3, 0, 0x87, 0]), Answer::Refused(refused));
    assert!(matches!(of(&[0x20, 2, 0, 1]), Answer::Refused(why) if why.contains("3.1.1")));
    assert_eq!(
        of(&[0x90, 5, 0, 7, 0, 1, 0x9E]),
        Answer::Granted(7, vec![Ok(1), Err("shared subscriptions not supported".to_owned())])
    );
    assert_eq!(of(&[0xE0, 0]), Answer::Dismissed("normal disconnection".to_owned()));
    let taken_over = Answer::Dismissed("another client has connected with our client id".to_owned());
    assert_eq!(of(&[0xE0, 1, 0x8E]), taken_over);
    assert_eq!(of(&[0xE0, 2, 0x8E, 0]), taken_over);
    let keep_alive = [0x20, 11, 1, 0, 8, 0x13, 0, 5, 0x11, 0, 0, 0, 60];
    let accepted = Accepted { session_present: true, keep_alive: Some(5), session_expiry: Some(60) };
    assert_eq!(of(&keep_alive), Answer::Accepted(accepted));
}

#[test]
fn no_prefix_of_an_answer_panics() {
    let keep_alive = [0x20, 11, 1, 0, 8, 0x13, 0, 5, 0x11, 0, 0, 0, 60];
    for protocol in [Protocol::V4, Protocol::V5] {
        for kind in 1..=15_u8 {
            for length in 0..10_usize {
                let mut packet = vec![kind << 4, u8::try_from(length).unwrap()];
                packet.extend(keep_alive.iter().skip(2).take(length));
                // Whatever it says, it says it without a panic.
                drop(answer(protocol, &packet));
            }
        }
    }
}
