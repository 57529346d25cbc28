//! The way of a reading, from left to right, with what passes in a second.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget};

use super::Theme;
use super::grid::fit;
use crate::top::figures::{bytes, count, float, rate, seconds};
use crate::top::state::{Series, State};

/// From here stations stand side by side.
const BESIDE_WIDTH: u16 = 76;
/// Lines of a station with its frame.
const STATION_HEIGHT: u16 = 6;
const STATIONS: usize = 6;

/// A place that readings pass.
struct Station {
    name: &'static str,
    /// What matters most, e.g. a rate.
    main: String,
    facts: [String; 3],
}

/// Lines that the way takes on a screen of `width`.
pub(super) fn height(width: u16) -> u16 {
    if width >= BESIDE_WIDTH { STATION_HEIGHT } else { u16::try_from(STATIONS).unwrap_or(u16::MAX) }
}

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let stations = stations(state);
    if area.width < BESIDE_WIDTH {
        for (station, line) in stations.iter().zip(area.rows()) {
            below(station, theme).render(line, buffer);
        }
        return;
    }
    let places = Layout::horizontal([Constraint::Fill(1); STATIONS]).spacing(1).split(area);
    for (number, (station, place)) in stations.iter().zip(places.iter()).enumerate() {
        boxed(station, theme).render(*place, buffer);
        if number > 0 {
            let arrow = Rect::new(place.x.saturating_sub(1), place.y + 1, 1, 1);
            Span::styled(">", theme.title()).render(arrow.intersection(area), buffer);
        }
    }
}

fn boxed(station: &Station, theme: Theme) -> Paragraph<'static> {
    let mut lines = vec![Line::styled(station.main.clone(), theme.title())];
    lines.extend(station.facts.iter().cloned().map(Line::raw));
    Paragraph::new(lines).block(Block::bordered().title(station.name).border_style(theme.faint()))
}

fn below(station: &Station, theme: Theme) -> Line<'static> {
    let facts: Vec<_> = station.facts.iter().filter(|fact| !fact.is_empty()).cloned().collect();
    Line::from(vec![
        Span::raw(fit(station.name, 10, false)),
        Span::styled(fit(&station.main, 11, false), theme.title()),
        Span::raw(facts.join(", ")),
    ])
}

fn stations(state: &State) -> [Station; STATIONS] {
    let picture = state.picture();
    let a_second = |series: &Series| state.rate(series).map_or_else(|| "-".to_owned(), rate);
    let summed = |is: fn(&Series) -> bool| state.rate_of(is).map_or_else(|| "-".to_owned(), rate);
    let lag = |is: fn(&str) -> bool| format!("lag {}", seconds(picture.lag_seconds(is)));
    let p99 = |hop: &str| match state.delays().quantile(hop, 0.99) {
        Some(Ok(time)) => format!("p99 {}", seconds(time)),
        Some(Err(bound)) => format!("p99 >{}", seconds(bound)),
        None => String::new(),
    };
    let size = state.rate(&Series::AppendedBytes).map_or_else(|| "-".to_owned(), bytes);
    let of_sinks = |group: &str| group.starts_with("sink/");
    [
        Station {
            name: "devices",
            main: format!("{} conn", count(picture.connections)),
            facts: [
                format!("{} active", count(picture.active_devices)),
                format!("{} silent", count(picture.silent_devices)),
                format!("{} msg/s", a_second(&Series::ReceivedMessages)),
            ],
        },
        Station {
            name: "door",
            main: format!("{}/s", a_second(&Series::ReceivedReadings)),
            facts: [
                format!("{} ack/s", a_second(&Series::AcknowledgedReadings)),
                format!("{} unack", count(picture.unacknowledged_messages)),
                p99("acknowledge"),
            ],
        },
        Station {
            name: "streams",
            main: format!("{} rec/s", a_second(&Series::AppendedRecords)),
            facts: [format!("{size}/s"), bytes(float(picture.log_bytes)), p99("sync")],
        },
        Station {
            name: "rules",
            main: format!("{}/s", summed(|series| matches!(series, Series::GroupRows(group, _) if group == "rules"))),
            facts: [
                format!("{} hits/s", summed(|series| matches!(series, Series::Matches(_)))),
                lag(|group| group == "rules"),
                String::new(),
            ],
        },
        Station {
            name: "workflows",
            main: format!("{}/s", a_second(&Series::Firings)),
            facts: [format!("{} open", count(picture.open_runs)), lag(|group| group == "workflows"), p99("workflow")],
        },
        Station {
            name: "tables",
            main: format!("{}/s", summed(|series| matches!(series, Series::TableRows(_)))),
            facts: [format!("{} files", count(picture.files())), lag(of_sinks), p99("table/readings")],
        },
    ]
}
