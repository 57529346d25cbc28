//! Messages of alerts, and topics and paths of URLs: text with places such as `{device_id}`.

use std::fmt::Write as _;
use std::ops::Range;

use telemetry::schema;

use crate::limits;
use crate::names;
use crate::readings::Readings;

/// A parsed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// Position of a column of the reading, and the bytes of the text that name it.
    Column {
        column: usize,
        at: Range<usize>,
    },
}

/// A mistake in a text, and the bytes of the text that hold it.
pub(crate) type TemplateFault = (String, Range<usize>);

impl Template {
    /// Parses `text`. `{{` and `}}` stand for the braces themselves.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateFault> {
        if text.len() > limits::MESSAGE_BYTES {
            let problem = format!("text has {} bytes, the limit is {}", text.len(), limits::MESSAGE_BYTES);
            return Err((problem, 0..text.len()));
        }
        let (mut pieces, mut literal, mut at) = (Vec::new(), String::new(), 0);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let brace = rest.find(['{', '}']).unwrap_or(rest.len());
            let (before, rest) = rest.split_at(brace);
            literal.push_str(before);
            at += brace;
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.extend(rest.chars().next());
                at += 2;
            } else if rest.starts_with('{') {
                let length = rest.find('}').ok_or_else(|| ("`{` without `}`".to_owned(), at..at + 1))? + 1;
                let name = rest.get(1..length - 1).unwrap_or_default();
                let column = column(name).map_err(|problem| (problem, at..at + length))?;
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
                pieces.push(Piece::Column { column, at: at..at + length });
                at += length;
            } else if !rest.is_empty() {
                return Err(("`}` without `{`; write `}}` for the brace itself".to_owned(), at..at + 1));
            }
        }
        pieces.push(Piece::Text(literal));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self(pieces))
    }

    /// The columns that have a place, and where in the text it is.
    pub(crate) fn places(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Column { column, at } => Some((*column, at.clone())),
        })
    }

    /// Writes the message for `row` into `out`, at most [`limits::ALERT_MESSAGE_BYTES`] of it. A place whose
    /// column is NULL stays empty.
    pub(crate) fn fill(&self, readings: &Readings<'_>, row: usize, out: &mut String) {
        out.clear();
        let mut bounded = Bounded { out, cut: false };
        for piece in &self.0 {
            // The only error is that of the bound, and then nothing more fits.
            let written = match piece {
                Piece::Text(text) => bounded.write_str(text),
                Piece::Column { column, .. } => readings.write(*column, row, &mut bounded),
            };
            if written.is_err() {
                break;
            }
        }
        if bounded.cut {
            out.push('…');
        }
    }
}

fn column(name: &str) -> Result<usize, String> {
    let readings = schema::readings();
    readings.index_of(name).map_err(|_| {
        let columns: Vec<&str> = readings.fields().iter().map(|field| field.name().as_str()).collect();
        let hint = names::suggestion(name, columns.iter().copied());
        format!("unknown place `{{{name}}}`{hint}; the places are {}", columns.join(", "))
    })
}

/// Takes text up to the limit, whole characters only.
struct Bounded<'a> {
    out: &'a mut String,
    cut: bool,
}

impl std::fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = (limits::ALERT_MESSAGE_BYTES - '…'.len_utf8()).saturating_sub(self.out.len());
        if text.len() <= room {
            self.out.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.out.push_str(text.get(..end).unwrap_or_default());
        self.cut = true;
        Err(std::fmt::Error)
    }
}

#[cfg(test)]
mod tests;
