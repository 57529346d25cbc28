//! Lists that several views show.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::Theme;
use super::grid::{self, Cell, Column, plain};
use crate::snapshot::Alert;
use crate::top::figures::{bytes, count, float, rate, seconds, time_of_day, value};
use crate::top::history::History;
use crate::top::state::{Series, State, Trace};

/// Cells of a sparkline beside figures.
const SPARK: u16 = 16;
/// A group that is farther behind has a sign.
const LONG_LAG_SECONDS: f64 = 10.0;

/// Groups of consumers and how far behind they are.
pub(super) fn groups(state: &State, skip: usize, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 7] = [
        Column::rest(""),
        Column::text("stream", 18, 3),
        Column::figure("read/s", 7, 2),
        Column::figure("lag", 7, 0),
        Column::figure("age", 8, 0),
        Column::text("lag over time", SPARK, 1),
        Column::figure("dup", 7, 4),
    ];
    let row = |((group, stream), reader): (&(String, String), &crate::top::state::Reader)| {
        let late = reader.lag_seconds > LONG_LAG_SECONDS;
        let style = if late { theme.warning() } else { Style::new() };
        let sign = if late { "! " } else { "" };
        let series = Series::GroupRows(group.clone(), stream.clone());
        vec![
            plain(group.clone()),
            plain(stream.clone()),
            plain(a_second(state, &series)),
            (count(reader.lag_records), style),
            (format!("{sign}{}", seconds(reader.lag_seconds)), style),
            spark(state, &Trace::Lag(group.clone(), stream.clone()), History::bars_above_zero, theme),
            plain(count(reader.deduplicated_rows)),
        ]
    };
    let rows: Vec<_> = state.picture().groups.iter().map(row).collect();
    grid::draw("groups", &COLUMNS, &rows, skip, (theme, area, buffer));
}

/// Tables and what is committed to them.
pub(super) fn tables(state: &State, skip: usize, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 8] = [
        Column::rest(""),
        Column::figure("rows/s", 7, 0),
        Column::text("over time", SPARK, 1),
        Column::figure("rows", 9, 0),
        Column::figure("waiting", 7, 3),
        Column::figure("files", 6, 2),
        Column::figure("rows/file", 9, 5),
        Column::figure("size", 10, 4),
    ];
    let row = |(name, table): (&String, &crate::top::state::Stored)| {
        let series = Series::TableRows(name.clone());
        let rows_a_file = table.rows.checked_div(table.files).map(count).unwrap_or_default();
        vec![
            plain(name.clone()),
            plain(a_second(state, &series)),
            spark(state, &Trace::Rate(series), History::bars_above_zero, theme),
            plain(count(table.rows)),
            plain(count(table.buffered_rows)),
            plain(count(table.files)),
            plain(rows_a_file),
            plain(bytes(float(table.bytes))),
        ]
    };
    let rows: Vec<_> = state.picture().tables.iter().map(row).collect();
    grid::draw("tables", &COLUMNS, &rows, skip, (theme, area, buffer));
}

/// Values by metric and site.
pub(super) fn fleet(state: &State, skip: usize, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 9] = [
        Column::rest(""),
        Column::text("site", 10, 0),
        Column::figure("/s", 7, 0),
        Column::text("over time", SPARK, 1),
        Column::figure("min", 9, 2),
        Column::figure("mean", 9, 0),
        Column::figure("max", 9, 2),
        Column::text("mean by minute", SPARK, 4),
        Column::figure("last", 8, 3),
    ];
    let now = float(u64::try_from(state.picture().time_ms).unwrap_or(0)) / 1e3;
    let number = |number: Option<f64>| plain(number.map(value).unwrap_or_default());
    let row = |((metric, site), values): (&(String, String), &crate::top::state::Values)| {
        let series = Series::Fleet(metric.clone(), site.clone());
        vec![
            plain(metric.clone()),
            plain(site.clone()),
            plain(a_second(state, &series)),
            spark(state, &Trace::Rate(series), History::bars_above_zero, theme),
            number(values.min),
            number(values.mean),
            number(values.max),
            spark(state, &Trace::Mean(metric.clone(), site.clone()), History::bars_above_lowest, theme),
            plain(values.last_seconds.map(|last| seconds((now - last).max(0.0))).unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = state.picture().fleet.iter().map(row).collect();
    grid::draw("metric", &COLUMNS, &rows, skip, (theme, area, buffer));
}

/// The newest alerts.
pub(super) fn alerts(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    const COLUMNS: [Column; 7] = [
        Column::text("", 8, 0),
        Column::text("severity", 8, 0),
        Column::text("rule", 16, 1),
        Column::text("device", 14, 2),
        Column::text("site", 10, 4),
        Column::figure("value", 9, 3),
        Column::rest("message"),
    ];
    let row = |alert: &Alert| {
        vec![
            plain(time_of_day(alert.time_ms)),
            (alert.severity.clone(), theme.severity(&alert.severity)),
            plain(alert.rule.clone()),
            plain(alert.device.clone()),
            plain(alert.site.clone().unwrap_or_default()),
            plain(alert.value.map(value).unwrap_or_default()),
            plain(alert.message.clone()),
        ]
    };
    let rows: Vec<_> = state.picture().alerts.iter().map(row).collect();
    grid::draw("alerts", &COLUMNS, &rows, 0, (theme, area, buffer));
}

/// What happens of `series` in a second, for a column.
pub(super) fn a_second(state: &State, series: &Series) -> String {
    state.rate(series).map_or_else(|| "-".to_owned(), rate)
}

fn spark(state: &State, trace: &Trace, draw: fn(&History, usize) -> String, theme: Theme) -> Cell {
    (state.history(trace).map(|history| draw(history, usize::from(SPARK))).unwrap_or_default(), theme.bars())
}
