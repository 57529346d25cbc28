//! How the state looks: pure functions from it to cells of a screen of any size.

mod balance;
mod fleet;
mod grid;
mod help;
mod overview;
mod panels;
mod processes;
mod rules;
mod storage;
mod theme;
mod way;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

pub(super) use self::theme::Theme;
use super::figures;
use super::state::{State, View};

/// What is smaller shows nothing but that.
const SMALLEST: (u16, u16) = (24, 6);
/// From here the names of all views fit into the first line.
const NAMES_WIDTH: u16 = 70;

/// Draws `state` into `area`.
pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        Line::raw("too small").render(area, buffer);
        return;
    }
    let [first, body, last] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    first_line(state, theme, first).render(first, buffer);
    if state.shows_help() {
        help::draw(theme, body, buffer);
    } else {
        draw_body(state, theme, body, buffer);
    }
    Line::styled("q quit  Tab view  up/down scroll  p pause  ? help", theme.faint()).render(last, buffer);
}

/// Draws `state` without what only matters to a person at the keys.
pub(super) fn draw_once(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let [first, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    first_line(state, theme, first).render(first, buffer);
    draw_body(state, theme, body, buffer);
}

fn draw_body(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let [processes, rest] =
        Layout::vertical([Constraint::Length(processes::height(state, area.height)), Constraint::Fill(1)]).areas(area);
    processes::draw(state, theme, processes, buffer);
    match state.view() {
        View::Overview => overview::draw(state, theme, rest, buffer),
        View::Fleet => fleet::draw(state, theme, rest, buffer),
        View::Rules => rules::draw(state, theme, rest, buffer),
        View::Storage => storage::draw(state, theme, rest, buffer),
    }
}

fn first_line(state: &State, theme: Theme, area: Rect) -> Line<'static> {
    let mut spans = vec![Span::styled("weir top", theme.title())];
    for view in View::ALL {
        if view == state.view() {
            spans.push(Span::raw(" "));
            spans.push(Span::styled(format!("[{}]", view.name()), theme.chosen()));
        } else if area.width >= NAMES_WIDTH {
            spans.push(Span::styled(format!("  {}", view.name()), theme.faint()));
        }
    }
    if state.picture().time_ms > 0 {
        spans.push(Span::raw(format!("  {}", figures::time_of_day(state.picture().time_ms))));
    }
    if state.is_paused() {
        spans.push(Span::styled("  PAUSED: p goes on", theme.warning()));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests;
