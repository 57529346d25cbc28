//! Text of devices on its way to a terminal. Names and messages come from whoever may publish, and a terminal obeys what it
//! is sent: escapes move its cursor, direction marks turn lines around, characters without width hide.

use serde_json::Value;

/// Longest text, in characters: no column shows more.
const TEXT_CHARS: usize = 300;

/// `text` on one line, without what steers a terminal, cut where it is very long.
pub(super) fn text(text: &str) -> String {
    text.chars().take(TEXT_CHARS).map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Cleans every text in `value`, names of fields included: whatever is made from it cannot steer a terminal.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, field)| (text(&name), self::value(field))).collect())
        }
        other => other,
    }
}

/// `json`, a JSON text, with what steers a terminal as `\u` escapes: it means the same, and can be printed.
pub(super) fn json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Control characters, marks and overrides of direction, separators of lines, and what has no width of its own.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' |
            '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' |
            '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        let hostile = "a\u{1b}[2J\u{9b}31m\r\n\t\u{7f}\u{202e}b\u{2066}\u{200b}\u{2028}\u{e0041}ä日";
        let cleaned = text(hostile);
        assert!(!cleaned.chars().any(steers), "{cleaned:?}");
        assert!(cleaned.starts_with("a\u{fffd}[2J") && cleaned.ends_with("ä日"), "{cleaned:?}");
        assert_eq!(text(&"x".repeat(10_000)).len(), TEXT_CHARS);
    }

    #[test]
    fn every_text_of_an_answer_is_cleaned() {
        let answer = json!({ "a\u{1b}": [{ "b": "c\u{202e}d" }, 1.5, null], "e": "f" });
        assert_eq!(value(answer), json!({ "a\u{fffd}": [{ "b": "c\u{fffd}d" }, 1.5, null], "e": "f" }));
    }

    #[test]
    fn json_means_the_same_when_it_is_escaped() {
        let answer = json!({ "a": "b\u{9b}\u{202e}\u{e0041}ä" });
        let printed = json(&answer.to_string());
        assert!(!printed.chars().any(steers), "{printed:?}");
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), answer);
    }
}
