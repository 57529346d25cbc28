//! The words of refusals. Only runs when a payload is refused; what it quotes of a payload is cut and escaped.

use std::str::Utf8Error;

use super::Format;
use super::scalar::{Number, Scalar};
use crate::rejection::{Reason, Rejection};

/// Most characters of a payload quoted in a refusal.
const QUOTED_CHARS: usize = 64;
/// Most characters of a parser's message quoted: it may carry text of the payload.
const PARSER_CHARS: usize = 160;

/// `text` for a person: its beginning, with control characters, quotes and backslashes escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", beginning(text, QUOTED_CHARS))
}

/// `field` holds `found`, and should hold `expected`.
pub(super) fn invalid(field: &str, found: &Scalar<'_>, expected: &str) -> Rejection {
    let found = match found {
        Scalar::Number(number) => written(*number),
        Scalar::Bool(truth) => truth.to_string(),
        Scalar::Text(text) => quoted(text),
        Scalar::Null => "null".into(),
        Scalar::Array => "an array".into(),
        Scalar::Object => "an object".into(),
    };
    Rejection::new(Reason::InvalidField, format!("field {}: found {found}, expected {expected}", named(field)))
}

/// `field` holds the text `found`, and should hold `expected`.
pub(super) fn invalid_text(field: &str, found: &str, expected: &str) -> Rejection {
    let detail = format!("field {}: found {}, expected {expected}", named(field), quoted(found));
    Rejection::new(Reason::InvalidField, detail)
}

/// `field` holds `found`, and should hold `expected`.
pub(super) fn invalid_number(field: &str, found: Number, expected: &str) -> Rejection {
    invalid(field, &Scalar::Number(found), expected)
}

/// `field` occurs twice in one object.
pub(super) fn repeated(field: &str) -> Rejection {
    Rejection::new(Reason::InvalidField, format!("field {}: found twice, expected once", named(field)))
}

/// `field` is not there; `expected` says where it could be.
pub(super) fn missing(field: &str, expected: &str) -> Rejection {
    Rejection::new(Reason::MissingField, format!("field {} is missing: expected {expected}", named(field)))
}

/// `field` is understood, or must be, and cannot be kept.
pub(super) fn unsupported(field: &str, why: &str) -> Rejection {
    Rejection::new(Reason::Unsupported, format!("field {} is not supported: {why}", named(field)))
}

/// `field` holds a text of more than `limit` bytes.
pub(super) fn too_long(field: &str, text: &str, limit: usize) -> Rejection {
    let detail =
        format!("field {}: found {} bytes, {}, expected at most {limit}", named(field), text.len(), quoted(text));
    Rejection::new(Reason::TooLong, detail)
}

/// The payload begins like none of the formats that `format` allows.
pub(super) fn unknown_format(text: &str, format: Format) -> Rejection {
    let expected = match format {
        Format::Auto => "`[` (SenML JSON) or `{` (flat JSON object)",
        Format::Senml => "`[` (SenML JSON)",
        Format::Json => "`{` (flat JSON object)",
    };
    let detail = format!("payload {}: expected {expected}", quoted(text.trim_start()));
    Rejection::new(Reason::Undecodable, detail)
}

/// The payload is not text.
pub(super) fn not_utf8(payload: &[u8], error: &Utf8Error) -> Rejection {
    let at = error.valid_up_to();
    let found = payload.get(at).copied().unwrap_or_default();
    Rejection::new(Reason::Undecodable, format!("payload: found 0x{found:02x} at byte {at}, expected UTF-8 text"))
}

/// The parser stopped in `text`, at `place`. `NaN`, `Infinity` and numbers past the range of a double are no
/// JSON, but devices send them: they get their own reason.
pub(super) fn not_json(text: &str, place: &str, error: &serde_json::Error) -> Rejection {
    let token = token_at(text, error.line(), error.column());
    if error.is_syntax() && token.parse::<f64>().is_ok_and(|number| !number.is_finite()) {
        let detail = format!("{place}: found {}, expected a finite number", beginning(token, QUOTED_CHARS));
        return Rejection::new(Reason::NonFinite, detail);
    }
    Rejection::new(Reason::Undecodable, format!("{place}: {}", beginning(&error.to_string(), PARSER_CHARS)))
}

/// The name of a field: a key of the payload, so never trusted.
pub(super) fn named(field: &str) -> String {
    format!("`{}`", beginning(field, QUOTED_CHARS))
}

fn beginning(text: &str, chars: usize) -> String {
    let mut shown: String = text.chars().take(chars).flat_map(char::escape_debug).collect();
    if text.chars().nth(chars).is_some() {
        shown.push('…');
    }
    shown
}

/// A number for a person: without hundreds of zeros.
fn written(number: Number) -> String {
    match number {
        Number::Unsigned(number) => number.to_string(),
        Number::Signed(number) => number.to_string(),
        Number::Float(number) if number == 0.0 || (1e-6..1e16).contains(&number.abs()) => number.to_string(),
        Number::Float(number) => format!("{number:e}"),
    }
}

/// The number-like token that holds, or ends at, `column` (in bytes, from 1) of `line` (from 1), if it stands
/// where a value may. Empty if there is none.
fn token_at(text: &str, line: usize, column: usize) -> &str {
    let line = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let at = column.saturating_sub(1).min(line.len());
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let bytes = line.as_bytes();
    let before = bytes.iter().take(at).rev().take_while(|byte| of_token(byte)).count();
    let after = bytes.iter().skip(at).take_while(|byte| of_token(byte)).count();
    let token = line.get(at - before..at + after).unwrap_or_default();
    let prefix = line.get(..at - before).unwrap_or_default().trim_end();
    if prefix.is_empty() || prefix.ends_with([':', ',', '[']) { token } else { "" }
}

#[cfg(test)]
mod tests {
    use super::{quoted, token_at};

    #[test]
    fn quotes_are_cut_and_escaped() {
        assert_eq!(quoted("a\n\u{7f}\"b"), "\"a\\n\\u{7f}\\\"b\"");
        assert_eq!(quoted(&"é".repeat(64)), format!("\"{}\"", "é".repeat(64)));
        assert_eq!(quoted(&"é".repeat(65)), format!("\"{}…\"", "é".repeat(64)));
    }

    #[test]
    fn tokens_are_found_around_a_column() {
        let text = "[\n {\"v\": -Infinity}]";
        for column in 8..=17 {
            assert_eq!(token_at(text, 2, column), "-Infinity", "column {column}");
        }
        assert_eq!(token_at("{\"v\":\"nan\n\"}", 1, 10), "", "a text is no number");
        assert_eq!(token_at("", 1, 0), "");
        assert_eq!(token_at("é", 9, 9), "");
    }
}
