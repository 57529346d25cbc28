//! What keys do and words mean.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget};

use super::Theme;

const LINES: [&str; 13] = [
    "q  Esc  Ctrl-C     quit",
    "Tab  right  left   next view, view before; 1 to 4: one of them",
    "up  down  PgUp …   scroll the list of the view",
    "p                  pause: the screen stands still",
    "other keys         leave this help",
    "",
    "rates are over the last interval, counts since a process started",
    "lag: how old what a group has not read yet is",
    "p99: 99 of 100 took at most that, in the last interval",
    "balance: received = stored + deduplicated + in flight",
    "min, mean and max are of the last full minute",
    "!  something to look at: docs/runbook.md",
    "files, rows, bytes: committed since the process started",
];

pub(super) fn draw(theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut lines = vec![Line::styled("help", theme.title())];
    lines.extend(LINES.into_iter().map(Line::raw));
    Paragraph::new(lines).render(area, buffer);
}
