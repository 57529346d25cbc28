//! The way of a reading, and the newest of everything.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::Widget;

use super::{Theme, balance, panels, way};
use crate::top::state::State;

/// From here lists stand side by side.
const BESIDE_WIDTH: u16 = 100;
/// From here lists below each other have a third each; the first takes what there is if there is less.
const ALL_LISTS_HEIGHT: u16 = 9;
/// From here there is a line for what was refused.
const REFUSED_HEIGHT: u16 = 14;

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let sums = if area.height >= REFUSED_HEIGHT { 2 } else { 1 };
    let [way, lists, sums] =
        Layout::vertical([Constraint::Length(way::height(area.width)), Constraint::Fill(1), Constraint::Length(sums)])
            .areas(area);
    way::draw(state, theme, way, buffer);
    if area.width >= BESIDE_WIDTH {
        beside(state, theme, lists, buffer)
    } else {
        below(state, theme, lists, buffer)
    }
    for (line, place) in [balance::line(state, theme), balance::refused(state, theme)].into_iter().zip(sums.rows()) {
        line.render(place, buffer);
    }
}

fn beside(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let picture = state.picture();
    let upper = rows(picture.groups.len().max(picture.tables.len())).min(area.height / 2);
    let [upper, lower] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(area);
    let halves = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2);
    let [groups, tables] = halves.areas(upper);
    let [fleet, alerts] = halves.areas(lower);
    panels::groups(state, 0, theme, groups, buffer);
    panels::tables(state, 0, theme, tables, buffer);
    panels::fleet(state, 0, theme, fleet, buffer);
    panels::alerts(state, theme, alerts, buffer);
}

fn below(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let picture = state.picture();
    let share = if area.height < ALL_LISTS_HEIGHT { area.height } else { area.height / 3 };
    let groups = rows(picture.groups.len()).min(share);
    // A line of titles alone tells nothing.
    let tables = rows(picture.tables.len()).min(area.height - groups).min(area.height / 3);
    let tables = if tables < 2 { 0 } else { tables };
    let [groups, tables, alerts] =
        Layout::vertical([Constraint::Length(groups), Constraint::Length(tables), Constraint::Fill(1)]).areas(area);
    panels::groups(state, 0, theme, groups, buffer);
    panels::tables(state, 0, theme, tables, buffer);
    panels::alerts(state, theme, alerts, buffer);
}

/// Lines of a list of `rows`.
fn rows(rows: usize) -> u16 {
    u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1)
}
