//! MQTT topics: fields out of the topic of a message, and filters of subscriptions.

/// Where in a topic the fields of a message stand, e.g. `{site}/{device_id}/telemetry`.
///
/// A level is a place (`{device_id}`, `{site}`, `{metric}`), which takes any level that is not empty, a
/// literal, `+` for any one level, or, last, `#` for any number of levels, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    levels: Vec<Level>,
}

/// What a topic says about a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicFields<'t> {
    /// Who measured.
    pub device_id: Option<&'t str>,
    /// Where.
    pub site: Option<&'t str>,
    /// What was measured, for payloads that do not say so.
    pub metric: Option<&'t str>,
}

/// Why a text is not a template. Each names the level, which is a mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is nothing to match.
    #[error("topic template is empty")]
    Empty,
    /// A place of another name.
    #[error("unknown place `{level}` in topic template, expected {{device_id}}, {{site}} or {{metric}}")]
    UnknownPlace {
        /// The level.
        level: String,
    },
    /// A place that occurs twice.
    #[error("place `{level}` occurs twice in topic template")]
    RepeatedPlace {
        /// The level.
        level: String,
    },
    /// A place or wildcard that does not fill its level, `#` before the end, or a character MQTT forbids.
    #[error("level `{level}` of topic template is neither a place, a literal, `+` nor a last `#`")]
    InvalidLevel {
        /// The level.
        level: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    DeviceId,
    Site,
    Metric,
    Literal(Box<str>),
    AnyOne,
    AnyRest,
}

impl TopicTemplate {
    /// The template that `template` describes.
    ///
    /// # Errors
    /// [`TemplateError`] names the level that is wrong.
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        if template.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut levels = Vec::new();
        for text in template.split('/') {
            let level = level(text)?;
            if levels.last() == Some(&Level::AnyRest) {
                return Err(TemplateError::InvalidLevel { level: "#".into() });
            }
            if matches!(level, Level::DeviceId | Level::Site | Level::Metric) && levels.contains(&level) {
                return Err(TemplateError::RepeatedPlace { level: text.into() });
            }
            levels.push(level);
        }
        Ok(Self { levels })
    }

    /// The fields that `topic` gives; none at all if it does not match, because half a match would mix
    /// the fields of one layout of topics with those of another.
    #[must_use]
    pub fn fields<'t>(&self, topic: &'t str) -> TopicFields<'t> {
        self.matched(topic).unwrap_or_default()
    }

    fn matched<'t>(&self, topic: &'t str) -> Option<TopicFields<'t>> {
        let mut fields = TopicFields::default();
        let mut parts = topic.split('/');
        for level in &self.levels {
            if *level == Level::AnyRest {
                return Some(fields);
            }
            let part = parts.next()?;
            match level {
                Level::DeviceId => fields.device_id = Some(filled(part)?),
                Level::Site => fields.site = Some(filled(part)?),
                Level::Metric => fields.metric = Some(filled(part)?),
                Level::Literal(text) if **text != *part => return None,
                Level::Literal(_) | Level::AnyOne | Level::AnyRest => {}
            }
        }
        parts.next().is_none().then_some(fields)
    }
}

fn level(text: &str) -> Result<Level, TemplateError> {
    match text {
        "{device_id}" => Ok(Level::DeviceId),
        "{site}" => Ok(Level::Site),
        "{metric}" => Ok(Level::Metric),
        "+" => Ok(Level::AnyOne),
        "#" => Ok(Level::AnyRest),
        _ if text.starts_with('{') && text.ends_with('}') => Err(TemplateError::UnknownPlace { level: text.into() }),
        _ if text.contains(['{', '}', '+', '#', '\0']) => Err(TemplateError::InvalidLevel { level: text.into() }),
        _ => Ok(Level::Literal(text.into())),
    }
}

fn filled(part: &str) -> Option<&str> {
    (!part.is_empty()).then_some(part)
}

/// Longest topic or filter of MQTT, in bytes.
const TOPIC_BYTES: usize = 65_535;

/// An MQTT topic filter, by section 4.7 of the MQTT 5 specification (the same in 3.1.1).
///
/// `$share/…` is no part of it: a server that has shared subscriptions takes the group off first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter(Box<str>);

impl Filter {
    /// The filter `filter`, unless it breaks a rule: not empty, at most 65,535 bytes, no NUL, `+` and `#` only
    /// as whole levels, `#` only as the last one.
    #[must_use]
    pub fn parse(filter: &str) -> Option<Self> {
        if filter.is_empty() || filter.len() > TOPIC_BYTES || filter.contains('\0') {
            return None;
        }
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            let last = levels.peek().is_none();
            let valid = match level {
                "+" => true,
                "#" => last,
                _ => !level.contains(['+', '#']),
            };
            if !valid {
                return None;
            }
        }
        Some(Self(filter.into()))
    }

    /// The filter as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message of `topic` goes to a subscriber of this filter. A wildcard in the first level does
    /// not match topics that begin with `$`.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut parts = topic.split('/');
        for level in self.0.split('/') {
            // `a/#` matches `a` itself too: `#` also stands for no level.
            if level == "#" {
                return true;
            }
            match parts.next() {
                Some(part) if level == "+" || level == part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

#[cfg(test)]
mod tests;
