//! A PUBLISH packet of one device, made once; of each message only digits differ, and their number never.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use telemetry::Timestamp;

use crate::packet;
use crate::payload::quoted;

/// The first sequence number: all up to ten times it have the same number of digits.
pub(super) const FIRST_SEQ: u64 = 1_000_000_000;
/// Places of the digits, filled in later. The time has ten digits until the year 2286.
const SEQ: &str = "1000000000";
const TIME: &str = "1000000000.000000";
const VALUE: &str = "10.00";
/// Values in hundredths: ordinarily 15.00 to 24.99, and one in [`RARE`] 85.00 to 94.99.
const ORDINARY_FROM: u64 = 1_500;
const RARE_FROM: u64 = 8_500;
const SPREAD: u64 = 1_000;
const RARE: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Template {
    packet: Vec<u8>,
    id: Range<usize>,
    seconds: Range<usize>,
    micros: Range<usize>,
    seq: Range<usize>,
    /// Of each reading, the digits before and behind the point.
    values: Vec<(Range<usize>, Range<usize>)>,
}

impl Template {
    pub(super) fn new(topic: &str, device: &str, boot: i64, readings: usize) -> Self {
        let mut text = format!("[{{\"bn\":{},\"bt\":", quoted(&format!("{device}:")));
        let time = put(&mut text, TIME);
        text.push_str(&format!(",\"n\":\"boot\",\"v\":{boot}}},{{\"n\":\"seq\",\"v\":"));
        let seq = put(&mut text, SEQ);
        text.push('}');
        let mut values = Vec::new();
        for back in (0..readings).rev() {
            // A pack of one metric, a hundredth of a second apart, the last reading at the base time.
            text.push_str(",{\"n\":\"temperature\",\"u\":\"Cel\"");
            if back > 0 {
                text.push_str(&format!(",\"t\":-{}.{:02}", back / 100, back % 100));
            }
            text.push_str(",\"v\":");
            values.push(put(&mut text, VALUE));
            text.push('}');
        }
        text.push(']');
        let mut packet = BytesMut::new();
        packet::publish(&mut packet, topic, 1, text.as_bytes());
        let payload = packet.len() - text.len();
        let at =
            |range: &Range<usize>, from: usize, to: usize| payload + range.start + from..payload + range.start + to;
        Self {
            id: payload - 2..payload,
            seconds: at(&time, 0, 10),
            micros: at(&time, 11, 17),
            seq: at(&seq, 0, SEQ.len()),
            values: values.iter().map(|value| (at(value, 0, 2), at(value, 3, 5))).collect(),
            packet: packet.to_vec(),
        }
    }

    /// Appends message `seq`, from [`FIRST_SEQ`] on, to `out`.
    pub(super) fn put(&mut self, out: &mut BytesMut, id: u16, seq: u64, time: Timestamp) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(0);
        if let Some(target) = self.packet.get_mut(self.id.clone()) {
            target.copy_from_slice(&id.to_be_bytes());
        }
        digits(&mut self.packet, &self.seconds, micros / 1_000_000);
        digits(&mut self.packet, &self.micros, micros % 1_000_000);
        digits(&mut self.packet, &self.seq, seq);
        for (value, number) in self.values.iter().zip(seq..) {
            // Another value for each reading, as a fleet's would be: ordinary, but for one in a thousand.
            let base = if number.is_multiple_of(RARE) { RARE_FROM } else { ORDINARY_FROM };
            let hundredths = base + number.wrapping_mul(7919) % SPREAD;
            digits(&mut self.packet, &value.0, hundredths / 100);
            digits(&mut self.packet, &value.1, hundredths % 100);
        }
        out.put_slice(&self.packet);
    }
}

fn put(text: &mut String, part: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

/// Writes the last digits of `number` over all of `place`.
fn digits(packet: &mut [u8], place: &Range<usize>, mut number: u64) {
    for digit in packet.get_mut(place.clone()).into_iter().flatten().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes::v4::Packet;
    use telemetry::topic::TopicTemplate;
    use telemetry::{Identity, Value, formats};

    use super::*;

    #[test]
    fn every_message_is_decoded_as_one_of_its_device() {
        let mut template = Template::new("bench/load-7/telemetry", "load-7", 42, 10);
        let mut out = BytesMut::new();
        let time = Timestamp::from_micros(1_790_000_000_123_456);
        template.put(&mut out, 1, FIRST_SEQ, time);
        template.put(&mut out, 65_535, FIRST_SEQ + 99_999, time);
        let topics = TopicTemplate::parse("{site}/{device_id}/telemetry").unwrap();
        for (id, seq) in [(1, 1_000_000_000), (65_535, 1_000_099_999)] {
            let Packet::Publish(publish) = Packet::read(&mut out, 10_000).unwrap() else { panic!("no publish") };
            assert_eq!(publish.pkid, id);
            let message = formats::decode(&publish.payload, &topics.fields(&publish.topic), time).unwrap();
            assert_eq!(message.device_id, "load-7");
            assert_eq!(message.identity, Some(Identity { boot: 42, seq }));
            assert_eq!(message.readings.len(), 10);
            assert_eq!(message.ignored_fields, 0);
            assert_eq!(message.readings[9].time, time);
            assert_eq!(message.readings[0].time.as_micros(), time.as_micros() - 90_000);
            for reading in &message.readings {
                assert_eq!((&*reading.metric, reading.unit.as_deref()), ("temperature", Some("Cel")));
                let Value::Number(value) = reading.value else { panic!("no number") };
                assert!((10.0..100.0).contains(&value));
            }
        }
        assert!(out.is_empty());
    }
}
