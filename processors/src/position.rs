//! Places in a rule file: from a byte of a decoded string back to line and column of the file.

use std::ops::Range;

use crate::error::RuleProblem;

/// Characters shown on either side of a mistake in a long line.
const EXCERPT_CHARS: usize = 80;

/// The text of a rule file and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) origin: &'a str,
    pub(crate) text: &'a str,
}

/// What of the file is shown with a mistake. Errors go to logs, and a rule file may hold what should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The line.
    Line,
    /// What is marked in it.
    Mark,
    /// Its place alone.
    Nothing,
}

impl Source<'_> {
    /// The mistake at the bytes `span` of the file.
    pub(crate) fn problem(
        &self,
        span: Range<usize>,
        rule: Option<&str>,
        problem: String,
        shown: Shown,
    ) -> Box<RuleProblem> {
        let mut located = self.locate(span, rule, problem);
        let (before, length) = located.mark;
        located.excerpt = match shown {
            Shown::Line => return located,
            Shown::Mark => located.excerpt.chars().skip(before).take(length).collect(),
            Shown::Nothing => String::new(),
        };
        located.mark = (0, located.excerpt.chars().count());
        located
    }

    fn locate(&self, span: Range<usize>, rule: Option<&str>, problem: String) -> Box<RuleProblem> {
        let start = floor_char_boundary(self.text, span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let marked = self.text.get(start..floor_char_boundary(self.text, span.end)).unwrap_or_default();
        let length = marked.lines().next().unwrap_or_default().chars().count();
        let skipped = column.saturating_sub(EXCERPT_CHARS);
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        let excerpt: String = line.chars().skip(skipped).take(2 * EXCERPT_CHARS).map(visible).collect();
        let shown = excerpt.chars().count();
        Box::new(RuleProblem {
            origin: self.origin.to_owned(),
            rule: rule.map(str::to_owned),
            line: before.matches('\n').count() + 1,
            column: column + 1,
            problem,
            mark: (column - skipped, length.min(shown.saturating_sub(column - skipped))),
            excerpt,
        })
    }

    /// Whether byte `at` is in a line that sets a secret or headers.
    pub(crate) fn may_hold_secret(&self, at: usize) -> bool {
        let before = self.text.get(..floor_char_boundary(self.text, at)).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let table = before.lines().rev().find(|line| line.trim_start().starts_with('['));
        line.contains("secret") || line.contains("headers") || table.is_some_and(|table| table.contains("headers"))
    }

    /// The bytes of the file that hold the bytes `inner` of the string whose token is at `token`.
    pub(crate) fn inside(&self, token: Range<usize>, inner: &Range<usize>) -> Range<usize> {
        let raw = self.text.get(token.clone()).unwrap_or_default();
        token.start + raw_offset(raw, inner.start)..token.start + raw_offset(raw, inner.end)
    }
}

/// Byte of `text` at a line and column as SQL parsers count them: from 1, columns in characters.
pub(crate) fn byte_at(text: &str, line: u64, column: u64) -> usize {
    let skip = |from: u64| usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
    let line_start: usize = text.split_inclusive('\n').take(skip(line)).map(str::len).sum();
    let rest = text.get(line_start..).unwrap_or_default();
    line_start + rest.char_indices().nth(skip(column)).map_or(rest.len(), |(at, _)| at)
}

/// Offset in the TOML string token `raw`, quotes included, of byte `at` of its decoded content.
fn raw_offset(raw: &str, at: usize) -> usize {
    let (quote, escapes) = match raw.as_bytes() {
        [b'"', b'"', b'"', ..] => (3, true),
        [b'\'', b'\'', b'\'', ..] => (3, false),
        [b'"', ..] => (1, true),
        _ => (1, false),
    };
    let mut offset = quote;
    let body = raw.get(quote..).unwrap_or_default();
    if quote == 3 {
        // A newline right after the opening quotes is not part of the string.
        offset += if body.starts_with("\r\n") { 2 } else { usize::from(body.starts_with('\n')) };
    }
    let mut decoded = 0;
    while let Some(rest) = raw.get(offset..) {
        let (written, meant) = next_char(rest, escapes);
        // An escape that means nothing (a folded line break) is stepped over even at the wanted byte.
        if written == 0 || (decoded >= at && meant > 0) {
            break;
        }
        offset += written;
        decoded += meant;
    }
    offset
}

/// Bytes that the next character takes in the file, and in the decoded string.
fn next_char(rest: &str, escapes: bool) -> (usize, usize) {
    let Some(first) = rest.chars().next() else { return (0, 0) };
    if !(escapes && first == '\\') {
        return (first.len_utf8(), first.len_utf8());
    }
    let digits = match rest.as_bytes().get(1) {
        Some(b'x') => 2,
        Some(b'u') => 4,
        Some(b'U') => 8,
        Some(b'\n' | b'\r' | b' ' | b'\t') => {
            let after = rest.get(1..).unwrap_or_default();
            return (1 + after.len() - after.trim_start_matches([' ', '\t', '\r', '\n']).len(), 0);
        }
        _ => return (2, 1),
    };
    let code = rest.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
    (2 + digits, code.map_or(1, char::len_utf8))
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use toml::Spanned;

    use super::*;

    #[derive(Deserialize)]
    struct One {
        s: Spanned<String>,
    }

    /// Where the file has what the decoded string has at `X`.
    fn found(toml: &str) -> usize {
        let one: One = toml::from_str(toml).unwrap();
        let at = one.s.get_ref().find('X').unwrap();
        Source { origin: "t", text: toml }.inside(one.s.span(), &(at..at + 1)).start
    }

    #[test]
    fn every_kind_of_string_is_mapped_back() {
        let cases = [
            "s = 'abX'",
            "s = \"abX\"",
            "s = 'X'",
            "s = 'ä\u{20ac}X'",
            r#"s = "a\"\\\n\tX""#,
            r#"s = "\u00e4\U0001F600\u20acX""#,
            r#"s = "\x41\eX""#,
            "s = '''\nab\ncdX'''",
            "s = '''abX'''",
            "s = \"\"\"\nab\n\\\"X\"\"\"",
            "s = \"\"\"ab\\\n    \n  X\"\"\"",
            "s = \"\"\"\\\n  X\"\"\"",
            "other = 1\n\ns  =  \"X\"",
        ];
        for toml in cases {
            assert_eq!(found(toml), toml.find('X').unwrap(), "{toml}");
        }
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "a = 1\nß = \"unknown\"\n";
        let at = text.find("unknown").unwrap();
        let problem = Source { origin: "f.toml", text }.problem(at..at + 7, Some("r"), "bad".to_owned(), Shown::Line);
        assert_eq!((problem.line, problem.column), (2, 6));
        assert_eq!(problem.to_string(), "f.toml:2:6: rule `r`: bad\n  |\n2 | ß = \"unknown\"\n  |      ^^^^^^^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let text = format!("{}BAD{}", "x".repeat(1000), "y".repeat(1000));
        let problem = Source { origin: "f", text: &text }.problem(1000..1003, None, "bad".to_owned(), Shown::Line);
        assert_eq!(problem.mark, (80, 3));
        assert_eq!(problem.excerpt.len(), 160);
        assert_eq!(&problem.excerpt[80..83], "BAD");
    }

    #[test]
    fn sql_positions_become_bytes() {
        assert_eq!(byte_at("abc", 1, 2), 1);
        assert_eq!(byte_at("äb\nßc", 2, 2), 6);
        assert_eq!(byte_at("ab", 1, 3), 2);
        assert_eq!(byte_at("ab", 9, 9), 2);
    }
}
