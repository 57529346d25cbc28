//! Texts of outcomes.

use crate::workflows::outside::limits;
use crate::workflows::secret::Hidden;

/// `text` on one line, cut to [`limits::REASON_CHARS`].
pub(crate) fn brief(text: &str) -> String {
    let mut line = String::new();
    let mut characters = 0;
    for character in text.trim().chars() {
        let character = if character.is_control() { ' ' } else { character };
        if character == ' ' && line.ends_with(' ') {
            continue;
        }
        if characters + 1 == limits::REASON_CHARS {
            line.push('…');
            break;
        }
        line.push(character);
        characters += 1;
    }
    line
}

/// What came from the other side, unless a secret is in it: an answer may repeat the request.
pub(crate) fn foreign(text: &str, secrets: &[Hidden]) -> String {
    if secrets.iter().any(|secret| text.contains(secret.reveal()) || ends_within(text, secret.reveal())) {
        return "(not shown: the answer repeats a secret)".to_owned();
    }
    brief(text)
}

/// Whether an answer that broke off ends in the first part of `secret`. Fewer than 8 characters say nothing.
fn ends_within(text: &str, secret: &str) -> bool {
    (8..secret.len()).any(|length| secret.get(..length).is_some_and(|begin| text.ends_with(begin)))
}

#[cfg(test)]
mod tests;
