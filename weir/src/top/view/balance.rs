//! Whether everything that was received is accounted for, and what was refused.

use ratatui::text::{Line, Span};

use super::Theme;
use crate::top::figures::count;
use crate::top::state::{Series, Sides, State};

/// Reasons that one line names.
const REASONS: usize = 6;

/// The balance of readings, and what it means.
pub(super) fn line(state: &State, theme: Theme) -> Line<'static> {
    let readings = &state.picture().readings;
    if readings.parts.is_empty() {
        return Line::from(vec![Span::styled("balance ", theme.title()), Span::raw("not told by these processes")]);
    }
    let part = |name: &str| whole(readings.part(name));
    let (words, style) = verdict(state, theme);
    Line::from(vec![
        Span::styled("balance ", theme.title()),
        Span::styled(words, style),
        Span::raw(format!(
            ": received {} = stored {} + deduplicated {} + in flight {}",
            part("received"),
            part("stored"),
            part("deduplicated"),
            part("in_flight")
        )),
    ])
}

/// The verdict so far: parts are counted one after the other, so they only have to agree at rest.
fn verdict(state: &State, theme: Theme) -> (String, ratatui::style::Style) {
    let readings = &state.picture().readings;
    match readings.difference {
        Some(0) => ("ok".to_owned(), theme.good()),
        Some(difference) if is_at_rest(state, readings) => {
            (format!("! {} readings are not accounted for", whole(difference)), theme.bad())
        }
        Some(difference) => (format!("in motion, {} between two counts", whole(difference)), theme.faint()),
        None => ("unknown".to_owned(), theme.faint()),
    }
}

fn is_at_rest(state: &State, readings: &Sides) -> bool {
    readings.part("in_flight") == 0 && state.rate(&Series::ReceivedReadings).is_some_and(|rate| rate == 0.0)
}

/// Messages refused, and the most frequent reasons.
pub(super) fn refused(state: &State, theme: Theme) -> Line<'static> {
    let picture = state.picture();
    let mut reasons: Vec<_> = picture.rejected.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let all: u64 = reasons.iter().map(|(_, count)| **count).sum();
    let named = reasons.iter().take(REASONS).map(|(reason, times)| format!("{reason} {}", count(**times)));
    let more = if reasons.len() > REASONS { ", …" } else { "" };
    let style = if all > 0 { theme.warning() } else { theme.good() };
    let letters = whole(picture.messages.part("dead_lettered"));
    let mut spans = vec![
        Span::styled("refused ", theme.title()),
        Span::styled(format!("{} messages", count(all)), style),
        Span::raw(format!(", dead letters {letters}, workflows given up {}", count(picture.dead_runs))),
    ];
    if all > 0 {
        spans.push(Span::raw(format!("; by reason: {}{more}", named.collect::<Vec<_>>().join(", "))));
    }
    Line::from(spans)
}

/// A count that may be below zero.
fn whole(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", count(number.unsigned_abs()))
}
