//! A list with columns under one line of titles. Columns that do not fit are left out, the least important first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::Theme;

/// Least cells for the column that takes what is left.
const LEAST_REST: u16 = 12;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    /// Cells, without the blank before it; 0: all that is left.
    width: u16,
    right: bool,
    /// The highest is left out first, 0 never.
    rank: u8,
}

impl Column {
    /// A column of text that takes what is left; the list has one.
    pub(super) const fn rest(title: &'static str) -> Self {
        Self { title, width: 0, right: false, rank: 0 }
    }

    /// A column of text.
    pub(super) const fn text(title: &'static str, width: u16, rank: u8) -> Self {
        Self { title, width, right: false, rank }
    }

    /// A column of figures, to the right.
    pub(super) const fn figure(title: &'static str, width: u16, rank: u8) -> Self {
        Self { title, width, right: true, rank }
    }
}

/// What stands in a column.
pub(super) type Cell = (String, Style);

/// A cell without a style.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Style::new())
}

/// Draws `rows` from number `skip` on, a cell for each of `columns`. `title` stands over the first, with how many are shown
/// if not all are.
pub(super) fn draw(
    title: &str,
    columns: &[Column],
    rows: &[Vec<Cell>],
    skip: usize,
    (theme, area, buffer): (Theme, Rect, &mut Buffer),
) {
    let mut lines = area.rows();
    let Some(top) = lines.next() else { return };
    let room = usize::from(area.height) - 1;
    // A list that became shorter is shown to its end.
    let skip = skip.min(rows.len().saturating_sub(room));
    let shown = rows.len().saturating_sub(skip).min(room);
    let title = match (rows.len(), shown) {
        (0, _) => format!("{title}: none"),
        (all, shown) if shown < all && skip > 0 => format!("{title} ({} to {} of {all})", skip + 1, skip + shown),
        (all, shown) if shown < all => format!("{title} ({shown} of {all})"),
        _ => title.to_owned(),
    };
    let widths = widths(columns, area.width);
    heading(&title, columns, &widths, area.width, theme).render(top, buffer);
    for (row, line) in rows.iter().skip(skip).zip(lines) {
        let spans = spans(columns, &widths, row);
        Line::from(spans).render(line, buffer);
    }
}

/// The cells of `row`. A text may run over the cells after it where they are empty.
fn spans(columns: &[Column], widths: &[Option<u16>], row: &[Cell]) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let mut kept =
        columns.iter().zip(widths).zip(row).filter_map(|((column, width), cell)| Some((column, (*width)?, cell)));
    while let Some((column, mut width, (text, style))) = kept.next() {
        if kept.clone().all(|(_, _, (text, _))| text.is_empty()) {
            width += kept.by_ref().map(|(_, width, _)| width + 1).sum::<u16>() * u16::from(!column.right);
        }
        if !spans.is_empty() {
            spans.push(Span::raw(" "));
        }
        spans.push(Span::styled(fit(text, width, column.right), *style));
    }
    spans
}

/// `text` in exactly `width` cells: filled up with blanks, or cut, with a sign of it.
pub(super) fn fit(text: &str, width: u16, right: bool) -> String {
    let width = usize::from(width);
    let cut = cut(text, width);
    let blanks = " ".repeat(width.saturating_sub(cells(&cut)));
    if right { format!("{blanks}{cut}") } else { format!("{cut}{blanks}") }
}

/// `text` in at most `width` cells.
fn cut(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        cut.push(c);
        if cells(&cut) >= width {
            cut.pop();
            break;
        }
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Cells that `text` takes on a screen.
fn cells(text: &str) -> usize {
    Span::raw(text).width()
}

/// The width of each column, `None` of those left out.
fn widths(columns: &[Column], all: u16) -> Vec<Option<u16>> {
    let mut highest = u8::MAX;
    loop {
        let kept = || columns.iter().filter(|column| column.rank <= highest);
        let rests = if columns.iter().any(|column| column.width == 0) { LEAST_REST } else { 0 };
        let needed: u16 = kept().map(|column| column.width + 1).sum::<u16>() - 1 + rests;
        let next = kept().map(|column| column.rank).max().unwrap_or(0);
        if needed <= all || next == 0 {
            let left = (all + rests).saturating_sub(needed);
            let width = |column: &Column| if column.width == 0 { left } else { column.width };
            return columns.iter().map(|column| (column.rank <= highest).then(|| width(column))).collect();
        }
        highest = next - 1;
    }
}

/// Titles, each over its column, on a line.
fn heading(title: &str, columns: &[Column], widths: &[Option<u16>], all: u16, theme: Theme) -> Line<'static> {
    let title = cut(&format!("{title} "), usize::from(all));
    let mut line = vec!['─'; usize::from(all)];
    let mut from = 0;
    for (column, width) in columns.iter().zip(widths) {
        let Some(width) = width.map(usize::from) else { continue };
        let start = if column.right { (from + width).saturating_sub(cells(column.title)) } else { from };
        if !column.title.is_empty() && start > cells(&title) {
            write(&mut line, start.saturating_sub(1), &format!(" {} ", column.title));
        }
        from += width + 1;
    }
    let rest: String = line.iter().skip(cells(&title)).collect();
    Line::from(vec![Span::styled(title, theme.title()), Span::styled(rest, theme.faint())])
}

/// Writes `text` over `line` from `start` on, as far as that goes.
fn write(line: &mut [char], start: usize, text: &str) {
    for (place, c) in line.iter_mut().skip(start).zip(text.chars()) {
        *place = c;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::rest(""), Column::figure("rows", 8, 0), Column::text("note", 10, 2)];

    fn drawn(rows: &[(&str, &str, &str)], skip: usize, (width, height): (u16, u16)) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        let rows: Vec<_> = rows.iter().map(|(a, b, c)| vec![plain(*a), plain(*b), plain(*c)]).collect();
        draw("tables", &COLUMNS, &rows, skip, (Theme::new(true), area, &mut buffer));
        crate::top::frame::text(&buffer).lines().map(str::to_owned).collect()
    }

    #[test]
    fn columns_stand_under_their_titles() {
        let lines = drawn(&[("readings", "123", "x"), ("a table with a long name", "4", "y")], 0, (40, 4));
        assert_eq!(lines[0], format!("tables {} rows note {}", "─".repeat(17), "─".repeat(5)));
        assert_eq!(lines[1], "readings                  123 x");
        assert_eq!(lines[2], "a table with a long…        4 y");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_counted() {
        let rows = [("a", "1", "x"), ("b", "2", "y"), ("c", "3", "z")];
        let lines = drawn(&rows, 1, (24, 3));
        assert!(lines[0].starts_with("tables (2 to 3 of 3)"), "{lines:?}");
        assert_eq!(lines[1..], ["b                      2", "c                      3"]);
        assert_eq!(drawn(&rows, 99, (24, 3))[1..], lines[1..]);
        assert!(drawn(&rows, 0, (24, 1))[0].starts_with("tables (0 of 3)"));
        assert!(drawn(&[], 0, (24, 2))[0].starts_with("tables: none"));
        assert!(drawn(&rows, 0, (1, 2)).len() <= 2);
    }

    #[test]
    fn wide_characters_take_two_cells() {
        assert_eq!(fit("日本語", 6, false), "日本語");
        assert_eq!(fit("日本語", 5, false), "日本…");
        assert_eq!(fit("日本語", 4, true), " 日…");
        assert_eq!((fit("ab", 0, false), fit("ab", 1, false)), (String::new(), "…".to_owned()));
    }
}
