//! Rules for names: device, metric, site, unit.

use std::borrow::Cow;

use super::refusal;
use crate::limits;
use crate::rejection::Rejection;
use crate::topic::TopicFields;

/// Refuses `text` as a name unless it has 1 to `limit` bytes and no control characters. `field` says where
/// it stands.
pub(super) fn check(field: &str, text: &str, limit: usize) -> Result<(), Rejection> {
    if text.is_empty() {
        return Err(refusal::invalid_text(field, text, "a name that is not empty"));
    }
    if text.len() > limit {
        return Err(refusal::too_long(field, text, limit));
    }
    if has_control(text) {
        return Err(refusal::invalid_text(field, text, "a name without control characters"));
    }
    Ok(())
}

/// The site of the topic, checked.
pub(super) fn site<'a>(topic: &TopicFields<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(site) = topic.site else { return Ok(None) };
    check("site of the topic", site, limits::SITE_BYTES)?;
    Ok(Some(Cow::Borrowed(site)))
}

/// The device of the topic, checked.
pub(super) fn device<'a>(topic: &TopicFields<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(device) = topic.device_id else { return Ok(None) };
    check("device_id of the topic", device, limits::DEVICE_ID_BYTES)?;
    Ok(Some(Cow::Borrowed(device)))
}

fn has_control(text: &str) -> bool {
    if text.is_ascii() { text.bytes().any(|byte| byte.is_ascii_control()) } else { text.chars().any(char::is_control) }
}
