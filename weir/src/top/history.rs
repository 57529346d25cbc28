//! What a figure was, for sparklines.

use std::collections::VecDeque;

/// Values kept of a figure: as many as the widest sparkline shows.
pub(super) const VALUES: usize = 120;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The newest values of one figure, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History(VecDeque<f64>);

impl History {
    /// Adds the newest value.
    pub(super) fn push(&mut self, value: f64) {
        if self.0.len() == VALUES {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The newest `width` values as bars from zero to the highest of them; blank where there is none yet.
    pub(super) fn bars_above_zero(&self, width: usize) -> String {
        self.bars(width, Some(0.0))
    }

    /// The newest `width` values as bars from the lowest to the highest of them: for values that are far from zero.
    pub(super) fn bars_above_lowest(&self, width: usize) -> String {
        self.bars(width, None)
    }

    fn bars(&self, width: usize, bottom: Option<f64>) -> String {
        let shown = self.0.len().min(width);
        let values = || self.0.iter().skip(self.0.len() - shown).copied();
        let bottom = bottom.unwrap_or_else(|| values().fold(f64::INFINITY, f64::min));
        let top = values().fold(f64::NEG_INFINITY, f64::max);
        let mut text = " ".repeat(width - shown);
        text.extend(values().map(|value| bar(value, bottom, top)));
        text
    }
}

fn bar(value: f64, bottom: f64, top: f64) -> char {
    let share = (value - bottom) / (top - bottom);
    // 0/0 where all are the same, and values that no device should send, are the lowest bar.
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let highest = BARS.len() - 1;
    let step = (0..highest).filter(|step| share > (*step as f64 + 0.5) / highest as f64).count();
    BARS.get(step).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(values: &[f64]) -> History {
        let mut history = History::default();
        values.iter().for_each(|value| history.push(*value));
        history
    }

    #[test]
    fn the_newest_are_on_the_right() {
        let rising = history(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(rising.bars_above_zero(8), "▁▂▃▄▅▆▇█");
        assert_eq!(rising.bars_above_zero(10), "  ▁▂▃▄▅▆▇█");
        assert_eq!(rising.bars_above_zero(2), "▇█");
        assert_eq!((rising.bars_above_zero(0), history(&[]).bars_above_zero(3)), (String::new(), "   ".to_owned()));
    }

    #[test]
    fn what_is_constant_is_high_above_zero_and_low_among_itself() {
        let constant = history(&[20.0, 20.0]);
        assert_eq!((constant.bars_above_zero(2), constant.bars_above_lowest(2)), ("██".to_owned(), "▁▁".to_owned()));
        assert_eq!(history(&[0.0, 0.0]).bars_above_zero(2), "▁▁");
        assert_eq!(history(&[20.0, 21.0]).bars_above_lowest(2), "▁█");
        assert_eq!(history(&[f64::NAN, f64::INFINITY, 1.0]).bars_above_zero(3).chars().count(), 3);
    }

    #[test]
    fn a_history_is_bounded() {
        let mut history = History::default();
        for value in 0..10_000 {
            history.push(f64::from(value));
        }
        assert_eq!(history.0.len(), VALUES);
        assert_eq!(history.0.back(), Some(&9999.0));
    }
}
