//! Every limit on what is sent to the world outside and on what is taken from there, each with its reason.

use std::time::Duration;

/// Longest body, in bytes: what receivers of webhooks commonly take at least, and half of what one append may have.
pub const BODY_BYTES: usize = 256 * 1024;
/// Longest template, in bytes: what a person can still read, and a firing carries it.
pub const TEMPLATE_BYTES: usize = 16 * 1024;
/// Steps of the template engine for one body; it counts 64 bytes of memory a step, so at most 12 MiB.
pub const TEMPLATE_FUEL: u64 = 200_000;
/// Longest topic, in bytes: MQTT writes its length in 16 bits.
pub const TOPIC_BYTES: usize = 65_535;
/// Longest text of an outcome, in characters: redb keeps the last one of each step.
pub const REASON_CHARS: usize = 500;
/// Most that is read of the answer to a webhook, in bytes: enough to say why.
pub const ANSWER_BYTES: usize = 4 * 1024;
/// How long the answer to a webhook that is done is read, so that its connection can be used again.
pub const DRAIN: Duration = Duration::from_secs(1);
/// Longest pause that a webhook can ask for: a broken target shall not park its steps for a day.
pub const RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Idle connections kept for a host: as many as the executor has attempts at one target by default.
pub const IDLE_CONNECTIONS: usize = 16;
/// How long an idle connection is kept: shorter than what servers commonly keep theirs (60 s and more).
pub const IDLE: Duration = Duration::from_secs(30);
/// Longest secret, in bytes, the largest key or token files many times over.
pub const SECRET_BYTES: u64 = 64 * 1024;
/// Publishes to one broker that wait for their PUBACK: Mosquitto holds at most 20 in flight by itself.
pub const BROKER_IN_FLIGHT: usize = 32;
/// Publishes waiting for a place among them, twice the executor's attempts at one target by default.
pub const BROKER_QUEUE: usize = 32;
/// Packet identifiers of a connection. Many more than are in flight, so that one that is acknowledged late does not
/// meet itself again: rumqttc stops there.
pub const BROKER_PACKET_IDS: u16 = 1024;
/// Largest packet sent to a broker, in bytes: body, topic and header.
pub const BROKER_SENT_BYTES: usize = BODY_BYTES + TOPIC_BYTES + 16;
/// Largest packet taken from a broker, in bytes: nothing is subscribed to, so there are acknowledgements only.
pub const BROKER_RECEIVED_BYTES: usize = 1024;
/// Longest wait for a PUBACK; then the connection is made anew.
pub const BROKER_PATIENCE: Duration = Duration::from_secs(30);
/// How often the connection to a broker is probed when nothing is sent.
pub const BROKER_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest wait for a broker's CONNACK, name resolution and handshake included.
pub const BROKER_CONNECT: Duration = Duration::from_secs(5);
/// Longest conversation with the SMTP server for one message.
pub const EMAIL: Duration = Duration::from_secs(30);
