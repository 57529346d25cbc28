//! Values by metric and site, and what was refused.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::grid::{self, Column, plain};
use super::{Theme, panels};
use crate::top::figures::count;
use crate::top::state::{Series, State};

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let picture = state.picture();
    let refused = u16::try_from(reasons(state).len()).unwrap_or(u16::MAX).saturating_add(1).min(area.height / 4);
    let [devices, values, refusals] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(refused)]).areas(area);
    let silent = if picture.silent_devices > 0 { theme.warning() } else { theme.good() };
    Line::from(vec![
        Span::styled("devices ", theme.title()),
        Span::raw(format!("{} active, ", count(picture.active_devices))),
        Span::styled(format!("{} silent for 5 minutes", count(picture.silent_devices)), silent),
        Span::raw(format!(", {} connections", count(picture.connections))),
    ])
    .render(devices, buffer);
    panels::fleet(state, state.scroll(), theme, values, buffer);
    draw_refused(state, theme, refusals, buffer);
}

fn draw_refused(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 3] =
        [Column::rest(""), Column::figure("messages", 10, 0), Column::figure("a second", 10, 0)];
    let row = |(reason, messages): (&String, u64)| {
        let series = Series::Rejected(reason.clone());
        vec![plain(reason.clone()), plain(count(messages)), plain(panels::a_second(state, &series))]
    };
    let rows: Vec<_> = reasons(state).into_iter().map(row).collect();
    grid::draw("refused, by reason", &COLUMNS, &rows, 0, (theme, area, buffer));
}

/// Reasons that there were, the most frequent first.
fn reasons(state: &State) -> Vec<(&String, u64)> {
    let refused = state.picture().rejected.iter().map(|(reason, messages)| (reason, *messages));
    let mut reasons: Vec<_> = refused.filter(|(_, messages)| *messages > 0).collect();
    reasons.sort_by_key(|(_, messages)| std::cmp::Reverse(*messages));
    reasons
}
