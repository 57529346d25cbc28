//! The processes that are watched, side by side by what they do.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Theme;
use super::grid::{self, Cell, Column, plain};
use crate::top::figures::{bytes, float, rate, seconds};
use crate::top::state::{Presence, Series, Source, State};

/// Share of the height that the list may take: what they do matters more.
const SHARE: u16 = 4;

const COLUMNS: [Column; 9] = [
    Column::text("", 10, 0),
    Column::text("address", 21, 3),
    Column::text("version", 8, 5),
    Column::rest("state"),
    Column::figure("received/s", 10, 6),
    Column::figure("read/s", 8, 6),
    Column::figure("stored/s", 8, 6),
    Column::figure("CPU", 6, 1),
    Column::figure("memory", 9, 2),
];

/// Lines that the list wants of `all`.
pub(super) fn height(state: &State, all: u16) -> u16 {
    let wanted = u16::try_from(state.sources().len()).unwrap_or(u16::MAX).saturating_add(1);
    wanted.min((all / SHARE).max(2))
}

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let rows: Vec<_> = state.sources().iter().map(|source| row(source, state, theme)).collect();
    grid::draw("process", &COLUMNS, &rows, 0, (theme, area, buffer));
}

fn row(source: &Source, state: &State, theme: Theme) -> Vec<Cell> {
    let snapshot = source.snapshot();
    let rates = |is: fn(&Series) -> bool| source.rate_of(is).map(rate).unwrap_or_default();
    let here = snapshot.filter(|_| *source.presence() == Presence::Here);
    let resident = here.and_then(|snapshot| snapshot.totals.resident_bytes);
    vec![
        (snapshot.map_or_else(|| "?".to_owned(), |snapshot| snapshot.stage.clone()), theme.title()),
        plain(source.address().to_string()),
        plain(snapshot.map(|snapshot| snapshot.version.clone()).unwrap_or_default()),
        condition(source, state, theme),
        plain(rates(|series| *series == Series::ReceivedReadings)),
        plain(rates(|series| matches!(series, Series::GroupRows(..)))),
        plain(rates(|series| matches!(series, Series::TableRows(_)))),
        plain(source.cpu().map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default()),
        plain(resident.map(|resident| bytes(float(resident))).unwrap_or_default()),
    ]
}

/// Whether it answers, is ready, and was started anew.
fn condition(source: &Source, state: &State, theme: Theme) -> Cell {
    match source.presence() {
        Presence::Asked => ("asked".to_owned(), theme.faint()),
        Presence::Away(since, reason) => {
            let time = state.now().saturating_sub(*since).as_secs_f64();
            let figures = if source.snapshot().is_some() { ", its last figures are shown" } else { "" };
            (format!("! away for {}{figures}: {reason}", seconds(time)), theme.bad())
        }
        Presence::Here => {
            let ready = source.snapshot().map(|snapshot| snapshot.ready.clone()).unwrap_or_default();
            let anew = match source.restarts() {
                0 => String::new(),
                times => format!(", started anew: {times}"),
            };
            if ready.ok {
                (format!("ready{anew}"), theme.good())
            } else {
                let reason = ready.reason.unwrap_or_else(|| "it does not say why".to_owned());
                (format!("! not ready: {reason}{anew}"), theme.bad())
            }
        }
    }
}
