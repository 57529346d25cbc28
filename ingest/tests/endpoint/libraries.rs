//! Client libraries that people use.

use std::net::SocketAddr;
use std::time::Duration;

use crate::door::Door;
use crate::raw::pack;

const MESSAGES: i64 = 50;
const TOPIC: &str = "hall/pump/telemetry";

async fn publish_v4(address: SocketAddr) {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let mut options = MqttOptions::new("v4", address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 10);
    let sender = tokio::spawn(async move {
        for seq in 0..MESSAGES {
            let qos = if seq % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            client.publish(TOPIC, qos, false, pack(seq)).await.unwrap();
        }
        client
    });
    let mut left = MESSAGES;
    while left > 0 {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => left -= 1,
            Event::Incoming(Packet::Disconnect) => panic!("disconnected"),
            _ => {}
        }
    }
    sender.await.unwrap();
}

async fn publish_v5(address: SocketAddr) {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let mut options = MqttOptions::new("v5", address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 10);
    let sender = tokio::spawn(async move {
        for seq in 0..MESSAGES {
            let qos = if seq % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            client.publish(TOPIC, qos, false, pack(seq)).await.unwrap();
        }
        client
    });
    let mut left = MESSAGES;
    while left > 0 {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::ConnAck(connack)) => {
                let properties = connack.properties.unwrap();
                assert_eq!(properties.receive_max, Some(1024));
                assert!(properties.max_packet_size.unwrap() as usize > telemetry::limits::PAYLOAD_BYTES);
                assert_eq!(properties.subscription_identifiers_available, Some(0));
                assert_eq!(properties.shared_subscription_available, Some(0));
            }
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => left -= 1,
            Event::Incoming(Packet::Disconnect(disconnect)) => panic!("{disconnect:?}"),
            _ => {}
        }
    }
    sender.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_publishes_with_both_versions() {
    let door = Door::open().await;
    publish_v4(door.address()).await;
    publish_v5(door.address()).await;
    let seqs: Vec<_> = door.rows().await.iter().map(|row| row.seq.unwrap()).collect();
    let twice: Vec<_> = (0..MESSAGES).chain(0..MESSAGES).collect();
    assert_eq!(seqs, twice);
    assert_eq!(door.labelled("weir_ingest_connections_total", "3.1.1"), 1.0);
    assert_eq!(door.labelled("weir_ingest_connections_total", "5"), 1.0);
    door.ingest.stop().await.unwrap();
}
