//! The log, who reads it, and the tables.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::grid::{self, Column, plain};
use super::{Theme, panels};
use crate::top::figures::{bytes, float, rate, seconds};
use crate::top::state::{Series, State};

/// Cells of the picture of how full the log is.
const GAUGE: usize = 20;
/// A log that is fuller has a sign: at its quota it takes no more.
const NEARLY_FULL: f64 = 0.8;

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let picture = state.picture();
    let share = area.height.saturating_sub(1) / 3;
    let wanted = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1).min(share.max(1));
    let [log, tables, hops, groups] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(wanted(picture.tables.len())),
        Constraint::Length(wanted(state.delays().hops().count())),
        Constraint::Fill(1),
    ])
    .areas(area);
    log_line(state, theme).render(log, buffer);
    panels::tables(state, state.scroll(), theme, tables, buffer);
    draw_hops(state, theme, hops, buffer);
    panels::groups(state, state.scroll(), theme, groups, buffer);
}

/// How full the log is and what is appended to it.
fn log_line(state: &State, theme: Theme) -> Line<'static> {
    let picture = state.picture();
    let (used, quota) = (float(picture.log_bytes), float(picture.log_quota_bytes));
    let a_second = |series| state.rate(&series).unwrap_or(0.0);
    let mut spans = vec![Span::styled("log ", theme.title()), Span::raw(bytes(used))];
    if quota > 0.0 {
        let full = used / quota;
        let filled = (0..GAUGE).filter(|cell| full > float(*cell as u64) / float(GAUGE as u64)).count();
        let (sign, style) = if full >= NEARLY_FULL { ("! ", theme.bad()) } else { ("", theme.good()) };
        spans.push(Span::raw(format!(" of {} ", bytes(quota))));
        let gauge = format!("[{}{}] {sign}{:.1} %", "#".repeat(filled), "-".repeat(GAUGE - filled), full * 100.0);
        spans.push(Span::styled(gauge, style));
    }
    let (records, size) = (a_second(Series::AppendedRecords), a_second(Series::AppendedBytes));
    spans.push(Span::raw(format!("  {} records/s, {}/s", rate(records), bytes(size))));
    Line::from(spans)
}

/// How long hops took in the last interval.
fn draw_hops(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 4] =
        [Column::rest(""), Column::figure("p50", 10, 0), Column::figure("p90", 10, 1), Column::figure("p99", 10, 0)];
    let quantile = |hop: &str, share| match state.delays().quantile(hop, share) {
        Some(Ok(time)) => plain(seconds(time)),
        Some(Err(bound)) => plain(format!(">{}", seconds(bound))),
        None => plain("-"),
    };
    let row = |hop: &str| vec![plain(hop), quantile(hop, 0.5), quantile(hop, 0.9), quantile(hop, 0.99)];
    let rows: Vec<_> = state.delays().hops().map(row).collect();
    grid::draw("time of hops", &COLUMNS, &rows, 0, (theme, area, buffer));
}
