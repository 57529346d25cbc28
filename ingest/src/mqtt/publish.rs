//! A PUBLISH packet, borrowed from the read buffer: the packet that flows at rate, so nothing of it is copied.

use std::str;

use telemetry::Identity;

use super::Version;
use super::frame::variable_length;

/// A PUBLISH as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) delivery: Delivery,
    /// Empty if the topic is given by the alias.
    pub(crate) topic: &'a str,
    pub(crate) alias: Option<u16>,
    /// It has a subscription identifier, which only a server sends.
    pub(crate) identified: bool,
    /// User properties `boot` and `seq`, if both are there and are numbers.
    pub(crate) identity: Option<Identity>,
    /// User property `traceparent`, if it was looked for and is there once.
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) payload: &'a [u8],
}

/// What the sender waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// QoS 0: nothing.
    Forget,
    /// QoS 1: PUBACK with this packet id.
    AtLeastOnce(u16),
    /// QoS 2: PUBREC, and then PUBCOMP, with this packet id.
    ExactlyOnce(u16),
}

/// The bytes are no PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the body of a PUBLISH whose first byte is `first`; `traced` says whether a `traceparent` is of use.
pub(crate) fn parse(version: Version, first: u8, body: &[u8], traced: bool) -> Result<Publish<'_>, Malformed> {
    let mut rest = Reader(body);
    let topic = rest.text()?;
    let delivery = match (first >> 1) & 0b11 {
        0 => Delivery::Forget,
        1 => Delivery::AtLeastOnce(rest.packet_id()?),
        2 => Delivery::ExactlyOnce(rest.packet_id()?),
        _ => return Err(Malformed),
    };
    let (alias, identity, traceparent) = (None, None, None);
    let mut publish = Publish { delivery, topic, alias, identified: false, identity, traceparent, payload: &[] };
    if version == Version::V5 {
        let length = rest.variable_length()?;
        properties(Reader(rest.bytes(length)?), traced, &mut publish)?;
    }
    publish.payload = rest.0;
    Ok(publish)
}

fn properties<'a>(mut rest: Reader<'a>, traced: bool, publish: &mut Publish<'a>) -> Result<(), Malformed> {
    let (mut boot, mut seq, mut traceparents) = (None, None, 0_usize);
    while let Some((&id, after)) = rest.0.split_first() {
        rest = Reader(after);
        match id {
            // Payload format.
            0x01 => skip(rest.bytes(1)?),
            // Message expiry.
            0x02 => skip(rest.bytes(4)?),
            // Content type, response topic.
            0x03 | 0x08 => skip(rest.text()?.as_bytes()),
            // Correlation data.
            0x09 => skip(rest.binary()?),
            0x0B => {
                rest.variable_length()?;
                publish.identified = true;
            }
            0x23 => match rest.number()? {
                0 => return Err(Malformed),
                alias => publish.alias = Some(alias),
            },
            0x26 => match (rest.text()?, rest.text()?) {
                ("boot", value) => boot = value.parse().ok(),
                ("seq", value) => seq = value.parse().ok(),
                ("traceparent", value) if traced => {
                    traceparents += 1;
                    // Of two, nobody knows which is meant.
                    publish.traceparent = (traceparents == 1).then_some(value);
                }
                _ => {}
            },
            // The rest is not for PUBLISH.
            _ => return Err(Malformed),
        }
    }
    publish.identity = boot.zip(seq).map(|(boot, seq)| Identity { boot, seq });
    Ok(())
}

fn skip(_: &[u8]) {}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<2>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*taken))
    }

    fn packet_id(&mut self) -> Result<u16, Malformed> {
        match self.number()? {
            0 => Err(Malformed),
            id => Ok(id),
        }
    }

    fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()?;
        self.bytes(usize::from(length))
    }

    /// Text as MQTT has it: UTF-8 without NUL.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let text = str::from_utf8(self.binary()?).map_err(|_| Malformed)?;
        if text.contains('\0') { Err(Malformed) } else { Ok(text) }
    }

    fn variable_length(&mut self) -> Result<usize, Malformed> {
        let (value, bytes) = variable_length(self.0).ok().flatten().ok_or(Malformed)?;
        self.bytes(bytes)?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V5_BODY: &[u8] =
        b"\x00\x03a/b\x01\x02\x22\x01\x01\x02\x00\x00\x00\x09\x03\x00\x01j\x23\x00\x05\x26\x00\x04boot\x00\x013\x26\x00\x03seq\x00\x0242{}";

    #[test]
    fn version_3_has_topic_id_and_payload() {
        let publish = parse(Version::V3, 0x32, b"\x00\x03a/b\x01\x02{}", true).unwrap();
        assert_eq!((publish.topic, publish.delivery, publish.payload), ("a/b", Delivery::AtLeastOnce(258), &b"{}"[..]));
        assert_eq!(parse(Version::V3, 0x30, b"\x00\x01a", true).unwrap().payload, b"");
    }

    #[test]
    fn version_5_has_properties() {
        let publish = parse(Version::V5, 0x34, V5_BODY, true).unwrap();
        assert_eq!(publish.delivery, Delivery::ExactlyOnce(258));
        assert_eq!(publish.alias, Some(5));
        assert_eq!(publish.identity, Some(Identity { boot: 3, seq: 42 }));
        assert_eq!(publish.payload, b"{}");
    }

    #[test]
    fn no_prefix_and_no_length_is_believed() {
        for version in [Version::V3, Version::V5] {
            for end in 0..V5_BODY.len() {
                let prefix = &V5_BODY[..end];
                if let Ok(publish) = parse(version, 0x32, prefix, true) {
                    assert!(publish.topic.len() + publish.payload.len() < end);
                }
            }
        }
        for body in
            [&b"\xFF\xFFab"[..], b"\x00\x03a/b\x00\x00", b"\x00\x02\xC3\x28\x00\x01", b"\x00\x01\x00\x00\x01", b""]
        {
            assert_eq!(parse(Version::V3, 0x32, body, true), Err(Malformed), "{body:?}");
        }
        assert_eq!(parse(Version::V3, 0x36, b"\x00\x01a\x00\x01", true), Err(Malformed), "QoS 3");
        assert_eq!(parse(Version::V5, 0x30, b"\x00\x01a\x05\x23\x00", true), Err(Malformed), "property length");
        assert_eq!(parse(Version::V5, 0x30, b"\x00\x01a\x03\x23\x00\x00", true), Err(Malformed), "alias 0");
    }

    #[test]
    fn subscription_identifiers_are_seen_and_passed_over() {
        let body = b"\x00\x01a\x06\x0B\x01\x0B\xFF\x01\x01\x01{}";
        let publish = parse(Version::V5, 0x30, b"\x00\x01a\x07\x0B\x01\x0B\xFF\x01\x01\x01{}", true).unwrap();
        assert!(publish.identified);
        assert_eq!(publish.payload, b"{}");
        assert_eq!(parse(Version::V5, 0x30, body, true), Err(Malformed), "a property cut by the length of all");
    }

    #[test]
    fn a_traceparent_is_seen_if_it_is_of_use_and_the_only_one() {
        let property = b"\x26\x00\x0btraceparent\x00\x031-2";
        let publish =
            |times: u8| [&b"\x00\x01a"[..], &[times * 19], &property.repeat(usize::from(times)), b"x"].concat();
        let seen = |times, traced| {
            parse(Version::V5, 0x30, &publish(times), traced).map(|publish| publish.traceparent.map(str::to_owned))
        };
        assert_eq!(seen(1, true), Ok(Some("1-2".to_owned())));
        for (times, traced) in [(0, true), (1, false), (2, true), (3, true)] {
            assert_eq!(seen(times, traced), Ok(None), "{times} times, traced: {traced}");
        }
    }

    #[test]
    fn an_identity_needs_two_numbers() {
        let body = b"\x00\x01a\x13\x26\x00\x04boot\x00\x013\x26\x00\x03seq\x00\x01x";
        assert_eq!(parse(Version::V5, 0x30, &body[..], true).map(|publish| publish.identity), Ok(None));
    }
}
