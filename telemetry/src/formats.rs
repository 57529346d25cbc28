//! Payload formats: bytes of a device to a [`Message`].
//!
//! A payload that begins with `[` is SenML JSON (RFC 8428), the format of record; one that begins with `{`
//! is a flat JSON object. A format is a file here, with a function `decode` of the same shape; its rules
//! stand at its top.
//!
//! What all formats share:
//! * The device is the topic's, else the payload's. Device, metric, site and unit are not empty, without
//!   control characters, and within [`limits`].
//! * A number is a double. An integer past 2^53 becomes the nearest double, as JSON's own interoperability
//!   rules have it; `boot` and `seq` alone keep all 63 bits.
//! * Times are kept in microseconds, rounded to the nearest. Whether a time is plausible is not judged here:
//!   that needs a configured limit, and is the door's part.
//! * Nothing is dropped unseen: what is understood and not kept counts in
//!   [`Message::ignored_fields`], and what would change the meaning of a reading is refused.

mod flat;
mod names;
mod refusal;
mod scalar;
mod senml;

use std::str;

use crate::clock::Timestamp;
use crate::limits;
use crate::message::Message;
use crate::rejection::{Reason, Rejection};
use crate::topic::TopicFields;

/// Which format a payload is expected to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The one that its first character tells.
    #[default]
    Auto,
    /// SenML JSON.
    Senml,
    /// A flat JSON object.
    Json,
}

/// As [`decode_as`], with the format that the first character tells.
///
/// # Errors
/// As [`decode_as`].
pub fn decode<'a>(
    payload: &'a [u8],
    fields: &TopicFields<'a>,
    received_at: Timestamp,
) -> Result<Message<'a>, Rejection> {
    decode_as(Format::Auto, payload, fields, received_at)
}

/// Decodes `payload`, received at `received_at` on a topic that gives `fields`, which is to be of `format`.
///
/// Borrows from payload and topic; only text with escapes in it is copied.
///
/// # Errors
/// A [`Rejection`] that names record, field, value and what was expected. It never carries more than a
/// short, escaped part of the payload.
pub fn decode_as<'a>(
    format: Format,
    payload: &'a [u8],
    fields: &TopicFields<'a>,
    received_at: Timestamp,
) -> Result<Message<'a>, Rejection> {
    if payload.len() > limits::PAYLOAD_BYTES {
        let detail = format!("payload has {} bytes, at most {} allowed", payload.len(), limits::PAYLOAD_BYTES);
        return Err(Rejection::new(Reason::TooLarge, detail));
    }
    let text = str::from_utf8(payload).map_err(|error| refusal::not_utf8(payload, &error))?;
    let first = text.bytes().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    match (format, first) {
        (_, None) => Err(Rejection::new(Reason::Undecodable, "payload is empty")),
        (Format::Auto | Format::Senml, Some(b'[')) => senml::decode(text, fields, received_at),
        (Format::Auto | Format::Json, Some(b'{')) => flat::decode(text, fields, received_at),
        (_, Some(_)) => Err(refusal::unknown_format(text, format)),
    }
}

#[cfg(test)]
mod tests;
