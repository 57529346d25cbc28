//! One frame as plain text, for logs and scripts.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::state::State;
use super::view::{self, Theme};

/// What a screen of `width` times `height` cells shows of `state`, without keys; no blanks at the ends of lines and no empty
/// lines at the end.
pub(super) fn of(state: &State, (width, height): (u16, u16)) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    view::draw_once(state, Theme::new(false), area, &mut buffer);
    let text = text(&buffer);
    format!("{}\n", text.trim_end())
}

/// The characters of `buffer`, each line ended.
pub(super) fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.area.rows() {
        let mut line = String::new();
        let mut covered = 0;
        for cell in row.columns().filter_map(|place| buffer.cell((place.x, place.y))) {
            // A wide character covers the cell after it, too.
            if covered == 0 {
                line.push_str(cell.symbol());
                covered = Span::raw(cell.symbol()).width();
            }
            covered = covered.saturating_sub(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
