//! Aligned columns for a person.

/// Longest cell, in characters; what is longer is cut.
const CELL_CHARS: usize = 80;

/// `rows` under `titles`, each column as wide as its widest cell. Ends with a line break.
pub(crate) fn text<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let titles = titles.map(str::to_owned);
    let lines: Vec<[String; N]> =
        std::iter::once(&titles).chain(rows).map(|row| row.each_ref().map(|cell| fitted(cell))).collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One line of printable text: what devices send must not steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn fitted(cell: &str) -> String {
    let cell = printable(cell);
    match cell.char_indices().nth(CELL_CHARS) {
        Some((end, _)) => format!("{}…", cell.get(..end).unwrap_or_default()),
        None => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let shown = text(["id", "läuft"], &[row("workflow-1-2", "x"), row("a", "")]);
        assert_eq!(shown, "id            läuft\nworkflow-1-2  x\na\n");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let shown = text(["t"], &[["\u{1b}[2J\nrm".to_owned()], ["x".repeat(500)]]);
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 3, "{shown:?}");
        assert_eq!(shown.lines().last().unwrap().chars().count(), CELL_CHARS + 1);
    }
}
