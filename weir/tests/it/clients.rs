//! MQTT clients of other people.

use std::process::Command;

use crate::process::{Up, free_address, last_json, python, succeed, until, weir};

fn publish(up: &Up, version: &str, topic: &str, payload: &str) {
    succeed(
        Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &up.mqtt.port().to_string(), "-q", "1"])
            .args(["-V", version, "-t", topic, "-m", payload]),
    );
}

const DEAD: &str = "weir_ingest_rejected_messages_total{reason=\"undecodable\"}";

#[test]
#[ignore = "needs mosquitto-clients and python with paho-mqtt, pyarrow"]
fn mosquitto_pub_and_paho_publish_and_a_malformed_payload_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(directory.path(), free_address(), None);
    for version in ["311", "5"] {
        let payload = r#"[{"bn":"pump-7:","bu":"Cel","n":"temperature","v":21.5},{"n":"door","vb":true}]"#;
        publish(&up, version, "hall/pump-7/telemetry", payload);
        publish(&up, version, "hall/pump-8/telemetry", r#"{"temperature": 20.25, "state": "on"}"#);
    }
    succeed(python("publish.py").arg(up.mqtt.port().to_string()));
    assert_eq!(up.metric(DEAD), Some(0.0));
    publish(&up, "5", "hall/pump-7/telemetry", "not a payload");
    until("the dead letter is counted", || up.metric(DEAD) == Some(1.0));
    up.stop();
    let rows = last_json(&succeed(python("rows.py").arg(directory.path().join("tables/readings"))));
    // Two readings in each of four messages of mosquitto_pub, one in each of paho's 2 x 100.
    assert_eq!(rows["devices"]["pump-7"].as_u64(), Some(4), "{rows}");
    assert_eq!(rows["devices"]["pump-8"].as_u64(), Some(4), "{rows}");
    assert_eq!(rows["devices"]["paho-311"].as_u64(), Some(100), "{rows}");
    assert_eq!(rows["devices"]["paho-5"].as_u64(), Some(100), "{rows}");
}

#[test]
#[ignore = "needs mosquitto-clients"]
fn mosquitto_sub_sees_live_readings() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(directory.path(), free_address(), None);
    let port = up.mqtt.port().to_string();
    let mut subscriber = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port, "-t", "weir/live/#", "-C", "1", "-W", "30", "-v"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    until("the subscriber is there", || up.metric("weir_ingest_live_subscribers") == Some(1.0));
    publish(&up, "311", "hall/pump-7/telemetry", r#"{"temperature": 20.25}"#);
    let mut line = String::new();
    std::io::Read::read_to_string(&mut subscriber.stdout.take().unwrap(), &mut line).unwrap();
    assert!(subscriber.wait().unwrap().success());
    assert!(line.starts_with("weir/live/pump-7/temperature") && line.contains("20.25"), "{line}");
    up.stop();
}

#[test]
#[ignore = "needs mosquitto"]
fn the_fleet_publishes_to_mosquitto_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, ledger) = (free_address(), directory.path().join("ledger.csv"));
    let config = directory.path().join("mosquitto.conf");
    std::fs::write(&config, format!("listener {} 127.0.0.1\nallow_anonymous true\n", broker.port())).unwrap();
    let mut mosquitto = Command::new("mosquitto").arg("-c").arg(&config).spawn().unwrap();
    until("mosquitto listens", || std::net::TcpStream::connect(broker).is_ok());
    let fleet = weir()
        .args(["simulate", "--mqtt", &broker.to_string(), "--devices", "20", "--rate", "200", "--for", "2s"])
        .arg("--ledger")
        .arg(&ledger)
        .output();
    mosquitto.kill().unwrap();
    mosquitto.wait().unwrap();
    assert!(fleet.unwrap().status.success(), "not everything was acknowledged");
    let lines = std::fs::read_to_string(ledger).unwrap();
    let acknowledged = lines.lines().skip(1).filter(|line| !line.ends_with(',')).count();
    assert!(acknowledged > 200, "{acknowledged} of {} lines", lines.lines().count());
}
