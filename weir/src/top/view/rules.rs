//! Rules that fire, and what their workflows do.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::grid::{self, Column, plain};
use super::{Theme, panels};
use crate::top::figures::{count, rate};
use crate::top::state::{Fired, Series, State, Target};

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let picture = state.picture();
    let third = area.height.saturating_sub(1) / 3;
    let wanted = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1).min(third.max(1));
    let [workflows, rules, targets, alerts] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(wanted(picture.rules.len())),
        Constraint::Length(wanted(picture.breakers.len())),
        Constraint::Fill(1),
    ])
    .areas(area);
    workflows_line(state, theme).render(workflows, buffer);
    draw_rules(state, theme, rules, buffer);
    draw_targets(state, theme, targets, buffer);
    panels::alerts(state, theme, alerts, buffer);
}

/// Firings and runs, by what became of them.
fn workflows_line(state: &State, theme: Theme) -> Line<'static> {
    let picture = state.picture();
    let outcomes: Vec<_> = picture.runs.iter().map(|(outcome, runs)| format!("{outcome} {}", count(*runs))).collect();
    let firings = state.rate(&Series::Firings).map_or_else(|| "-".to_owned(), rate);
    let mut spans = vec![
        Span::styled("workflows ", theme.title()),
        Span::raw(format!("{} firings, {firings}/s  {} open", count(picture.firings), count(picture.open_runs))),
    ];
    if picture.dead_runs > 0 {
        spans.push(Span::styled(format!("  ! {} given up wait for a person", count(picture.dead_runs)), theme.bad()));
    }
    if !outcomes.is_empty() {
        spans.push(Span::raw(format!("  runs: {}", outcomes.join(", "))));
    }
    Line::from(spans)
}

fn draw_rules(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 4] = [
        Column::rest(""),
        Column::figure("fired/s", 8, 0),
        Column::figure("fired", 10, 0),
        Column::figure("errors", 9, 0),
    ];
    let row = |(rule, fired): (&String, &Fired)| {
        let (sign, style) = if fired.errors > 0 { ("! ", theme.bad()) } else { ("", Style::new()) };
        vec![
            plain(rule.clone()),
            plain(panels::a_second(state, &Series::Matches(rule.clone()))),
            plain(count(fired.matches)),
            (format!("{sign}{}", count(fired.errors)), style),
        ]
    };
    let rows: Vec<_> = state.picture().rules.iter().map(row).collect();
    grid::draw("rules", &COLUMNS, &rows, state.scroll(), (theme, area, buffer));
}

fn draw_targets(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 3] =
        [Column::rest(""), Column::figure("steps that wait", 15, 0), Column::text("breaker", 12, 0)];
    let row = |(name, target): (&String, &Target)| {
        let (sign, style) = match target.state.as_str() {
            "closed" => ("", theme.good()),
            "open" => ("! ", theme.bad()),
            _ => ("~ ", theme.warning()),
        };
        let words = format!("{sign}{}", target.state.replace('_', " "));
        vec![plain(name.clone()), plain(count(target.pending)), (words, style)]
    };
    let rows: Vec<_> = state.picture().breakers.iter().map(row).collect();
    grid::draw("targets", &COLUMNS, &rows, 0, (theme, area, buffer));
}
