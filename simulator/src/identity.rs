//! Names of devices and the topics they publish to.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use telemetry::{Clock, limits};

/// Longest topic of MQTT, in bytes.
const TOPIC_BYTES: usize = 65_535;

/// Fills `{site}`, `{device_id}` and other `places` of `template`.
///
/// A place without a value, and a topic that MQTT does not allow to publish to, are errors.
pub(crate) fn topic(template: &str, places: &[(&str, &str)]) -> anyhow::Result<String> {
    let values: HashMap<&str, &str> = places.iter().copied().collect();
    let mut levels = Vec::new();
    for level in template.split('/') {
        let place = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let value = match place {
            Some(place) => *values
                .get(place)
                .with_context(|| format!("topic template `{template}`: no value for the place {{{place}}}"))?,
            None => level,
        };
        ensure!(
            !value.contains(['+', '#', '{', '}', '\0']),
            "topic template `{template}`: level `{value}` has a character that a published topic may not have"
        );
        levels.push(value);
    }
    let topic = levels.join("/");
    ensure!(!topic.is_empty() && topic.len() <= TOPIC_BYTES, "topic `{topic}`: expected 1 to {TOPIC_BYTES} bytes");
    Ok(topic)
}

/// The site that a topic of `template` tells; empty if it tells none.
pub(crate) fn site_told<'a>(template: &str, site: &'a str) -> &'a str {
    if template.split('/').any(|level| level == "{site}") { site } else { "" }
}

/// Refuses a name that cannot be one level of a topic, or that no payload may carry.
pub(crate) fn check_name(what: &str, name: &str, longest: usize) -> anyhow::Result<()> {
    ensure!(!name.is_empty(), "{what} is empty");
    ensure!(name.len() <= longest, "{what} `{name}` has {} bytes, at most {longest} allowed", name.len());
    ensure!(
        !name.contains(['/', '+', '#', '{', '}']) && !name.chars().any(char::is_control),
        "{what} `{name}`: expected no `/`, `+`, `#`, braces or control characters"
    );
    Ok(())
}

pub(crate) fn check_device(name: &str) -> anyhow::Result<()> {
    check_name("device", name, limits::DEVICE_ID_BYTES)
}

pub(crate) fn check_site(name: &str) -> anyhow::Result<()> {
    check_name("site", name, limits::SITE_BYTES)
}

/// The formats take a boot from 0 on.
pub(crate) fn check_boot(boot: Option<i64>) -> anyhow::Result<()> {
    ensure!(boot.is_none_or(|boot| boot >= 0), "boot: expected a number from 0 on");
    Ok(())
}

/// The boot of devices that start now: it grows from start to start, unless the clock is set back.
pub(crate) fn boot_now(clock: &dyn Clock) -> i64 {
    clock.now().as_micros().div_euclid(1_000_000).max(0)
}

#[cfg(test)]
mod tests {
    use telemetry::topic::TopicTemplate;

    use super::*;

    const PLACES: [(&str, &str); 2] = [("site", "hall"), ("device_id", "pump-1")];

    #[test]
    fn a_filled_topic_gives_its_fields_back() {
        let template = "plant/{site}/{device_id}/telemetry";
        let topic = topic(template, &PLACES).unwrap();
        assert_eq!(topic, "plant/hall/pump-1/telemetry");
        let template = TopicTemplate::parse(template).unwrap();
        let fields = template.fields(&topic);
        assert_eq!((fields.site, fields.device_id), (Some("hall"), Some("pump-1")));
    }

    #[test]
    fn a_site_counts_only_if_the_topic_tells_it() {
        assert_eq!(site_told("plant/{site}/{device_id}", "hall"), "hall");
        assert_eq!(site_told("plant/site/{device_id}", "hall"), "");
    }

    #[test]
    fn what_cannot_be_published_to_is_refused() {
        for template in ["", "{nothing}/x", "a/+/b", "a/#", "a/{device_id", "a/x{site}"] {
            assert!(topic(template, &PLACES).is_err(), "{template}");
        }
        for name in ["", "a/b", "a+", "#", "a\nb"] {
            assert!(check_device(name).is_err(), "{name:?}");
        }
        assert!(check_device(&"x".repeat(limits::DEVICE_ID_BYTES)).is_ok());
        assert!(check_device(&"x".repeat(limits::DEVICE_ID_BYTES + 1)).is_err());
    }
}
