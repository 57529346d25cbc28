//! Whether a message may come in: decoded, and checked against what a format cannot know.

use std::time::Duration;

use telemetry::formats::Format;
use telemetry::topic::{Filter, TopicTemplate};
use telemetry::{Identity, Message, Reading, Reason, Rejection, Timestamp, Value, formats, limits};

/// The rules of the door.
#[derive(Clone, Debug)]
pub struct Admission {
    template: TopicTemplate,
    format: Format,
    future: Duration,
}

/// The rules of a door that takes several layouts of topics, each with its own rules.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Client id that what comes through this door has in the dead letters.
    pub client_id: Box<str>,
    /// What goes by which rules; the first filter that matches decides.
    pub rules: Vec<(Filter, Admission)>,
}

impl Routes {
    /// The rules for messages of `topic`; none if no filter matches.
    #[must_use]
    pub fn admission(&self, topic: &str) -> Option<&Admission> {
        self.rules.iter().find(|(filter, _)| filter.matches(topic)).map(|(_, admission)| admission)
    }
}

/// A message that passed every rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted<'a>(Message<'a>);

impl<'a> Admitted<'a> {
    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message<'a> {
        &self.0
    }
}

impl Admission {
    /// Rules with fields taken from topics by `template`, and times at most `future` ahead of our clock.
    #[must_use]
    pub fn new(template: TopicTemplate, future: Duration) -> Self {
        Self { template, format: Format::Auto, future }
    }

    /// The same rules for payloads of `format` only.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Decodes and checks a payload published to `topic`. `identity` is what the transport says; a payload
    /// that gives one itself is believed instead. Times that the payload does not name are those of `received_at`;
    /// what is in the future is judged by `now`, which is later for a payload that is put back.
    ///
    /// # Errors
    /// Why the payload is refused, whole.
    pub fn admit<'a>(
        &self,
        topic: &'a str,
        payload: &'a [u8],
        identity: Option<Identity>,
        received_at: Timestamp,
        now: Timestamp,
    ) -> Result<Admitted<'a>, Rejection> {
        let mut message = formats::decode_as(self.format, payload, &self.template.fields(topic), received_at)?;
        message.identity = message.identity.or(identity);
        if message.readings.len() > limits::READINGS_PER_MESSAGE {
            let detail =
                format!("message has {} readings, at most {}", message.readings.len(), limits::READINGS_PER_MESSAGE);
            return Err(Rejection::new(Reason::TooManyReadings, detail));
        }
        let latest = now + self.future;
        for (index, reading) in message.readings.iter().enumerate() {
            check(index, reading, latest)?;
        }
        Ok(Admitted(message))
    }
}

fn check(index: usize, reading: &Reading<'_>, latest: Timestamp) -> Result<(), Rejection> {
    if reading.time > latest {
        let detail = format!(
            "reading {index} has time {} s, at most {} s is accepted now",
            reading.time.as_seconds(),
            latest.as_seconds()
        );
        return Err(Rejection::new(Reason::FutureTime, detail));
    }
    if reading.time.as_micros() < limits::EARLIEST_MICROS {
        let detail = format!("reading {index} has time {} s, before 1970", reading.time.as_seconds());
        return Err(Rejection::new(Reason::PastTime, detail));
    }
    match reading.value {
        Value::Number(value) if !value.is_finite() => Err(Rejection::new(
            Reason::NonFinite,
            format!("reading {index} has value {value}, expected a finite number"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn admission() -> Admission {
        Admission::new(TopicTemplate::parse("{site}/{device_id}/telemetry").unwrap(), Duration::from_secs(60))
    }

    fn admit(payload: &str, identity: Option<Identity>) -> Result<Admitted<'_>, Rejection> {
        admission().admit("berlin/pump-1/telemetry", payload.as_bytes(), identity, NOW, NOW)
    }

    #[test]
    fn a_message_gets_its_fields_from_the_topic() {
        let admitted = admit(r#"[{"n":"temperature","u":"Cel","v":21.5}]"#, None).unwrap();
        assert_eq!(admitted.message().device_id, "pump-1");
        assert_eq!(admitted.message().site.as_deref(), Some("berlin"));
        assert_eq!(admitted.message().readings.len(), 1);
    }

    #[test]
    fn the_first_filter_that_matches_decides() {
        let rules = |template| Admission::new(TopicTemplate::parse(template).unwrap(), Duration::ZERO);
        let routes = Routes {
            client_id: "bridge".into(),
            rules: vec![
                (Filter::parse("a/+").unwrap(), rules("{site}/{device_id}").with_format(Format::Json)),
                (Filter::parse("#").unwrap(), rules("#")),
            ],
        };
        let device = |topic: &str| {
            let admitted = routes.admission(topic)?.admit(topic, br#"{"t":1}"#, None, NOW, NOW).ok()?;
            Some(admitted.message().device_id.clone().into_owned())
        };
        assert_eq!(device("a/b").as_deref(), Some("b"));
        assert_eq!(device("a/b/c"), None, "the second one names no device");
        assert!(routes.admission("$SYS/a").is_none());
        let senml = br#"[{"n":"t","v":1}]"#;
        assert!(routes.admission("a/b").unwrap().admit("a/b", senml, None, NOW, NOW).is_err());
    }

    #[test]
    fn the_transport_gives_the_identity_only_if_the_payload_has_none() {
        let transport = Some(Identity { boot: 7, seq: 8 });
        let without = admit(r#"[{"n":"t","v":1}]"#, transport).unwrap();
        assert_eq!(without.message().identity, transport);
        let with = admit(r#"[{"n":"boot","v":1},{"n":"seq","v":2},{"n":"t","v":1}]"#, transport).unwrap();
        assert_eq!(with.message().identity, Some(Identity { boot: 1, seq: 2 }));
    }

    #[test]
    fn times_are_accepted_up_to_the_configured_distance() {
        assert!(admit(r#"[{"n":"t","v":1,"t":1700000060}]"#, None).is_ok());
        let rejection = admit(r#"[{"n":"t","v":1,"t":1700000060.000001}]"#, None).unwrap_err();
        assert_eq!(rejection.reason, Reason::FutureTime);
        assert!(rejection.detail.contains("1700000060"), "{rejection}");
    }

    #[test]
    fn what_is_put_back_has_the_times_of_its_receipt_and_is_judged_by_now() {
        let (topic, later) = ("berlin/pump-1/telemetry", NOW + Duration::from_secs(10));
        let time = |payload: &str| {
            let admitted = admission().admit(topic, payload.as_bytes(), None, NOW, later);
            admitted.map(|admitted| admitted.message().readings[0].time)
        };
        assert_eq!(time(r#"[{"n":"t","v":1}]"#), Ok(NOW));
        assert_eq!(time(r#"[{"n":"t","v":1,"t":1700000070}]"#), Ok(NOW + Duration::from_secs(70)));
        assert!(time(r#"[{"n":"t","v":1,"t":1700000071}]"#).is_err());
    }
}
