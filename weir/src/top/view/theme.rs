//! Colours. They repeat what words and signs say, so that nothing is lost without them.

use ratatui::style::{Color, Modifier, Style};

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(in crate::top) struct Theme {
    coloured: bool,
}

impl Theme {
    pub(in crate::top) fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn chosen(self) -> Style {
        self.title().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.colour(Color::Green)
    }

    pub(super) fn warning(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    pub(super) fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Of sparklines.
    pub(super) fn bars(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// As bad as an alert says it is.
    pub(super) fn severity(self, severity: &str) -> Style {
        match severity {
            "critical" => self.bad(),
            "warning" => self.warning(),
            _ => Style::new(),
        }
    }

    fn colour(self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }
}
