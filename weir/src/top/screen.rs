//! The terminal, taken and given back.

use std::io::Write;

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::{Position, Rect};

use super::state::State;
use super::view::{self, Theme};

/// A terminal in raw mode that shows its other screen. However this ends, the terminal is as before: when the value is
/// dropped, and by a hook of ratatui's when anything panics.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If standard output is none, or refuses.
    pub(super) fn open() -> anyhow::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                ratatui::restore();
                Err(error).context("terminal")
            }
        }
    }

    /// Shows `state`; what is on the screen already is not sent again.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn draw(&mut self, state: &State, theme: Theme) -> anyhow::Result<()> {
        let drawn = self.terminal.draw(|frame| view::draw(state, theme, frame.area(), frame.buffer_mut()));
        drawn.map(|_| ()).context("terminal")
    }

    /// Sends everything again with the next frame. Not by ratatui's `clear`: that asks the terminal where its cursor is,
    /// and waits for an answer that the thread of keys would read.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        let size = self.terminal.size().context("terminal")?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size))).context("terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
        let mut out = std::io::stdout();
        if execute!(out, cursor::Show).and_then(|()| out.flush()).is_err() {
            tracing::debug!("the terminal is gone");
        }
    }
}
