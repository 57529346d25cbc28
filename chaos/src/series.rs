//! What was measured again and again in a scenario: all of it for programs, a table for people.

use std::fmt::Write;

use serde::Serialize;

/// Rows of a table for people: enough to see how it went.
const SHOWN: usize = 24;

/// Rows of figures under the same names.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Series {
    /// Which of the scenario.
    pub(crate) name: String,
    /// Names with units, one a column.
    pub(crate) columns: Vec<String>,
    /// As many figures each as there are columns.
    pub(crate) rows: Vec<Vec<f64>>,
}

impl Series {
    /// Appends a table with some of the rows, the first and the last among them, evenly apart.
    pub(crate) fn table(&self, scenario: &str, text: &mut String) {
        let Self { name, columns, rows } = self;
        let mut put = |words: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            writeln!(text, "{words}").ok();
        };
        put(format_args!("\n## {scenario}: {name}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len())));
        let last = rows.len().saturating_sub(1);
        let shown = rows.len().min(SHOWN);
        for number in 0..shown {
            let at = number * last / (shown - 1).max(1);
            let figures = rows.get(at).into_iter().flatten().map(|figure| format!("{figure:.1}"));
            put(format_args!("| {} |", figures.collect::<Vec<_>>().join(" | ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u32) -> Vec<String> {
        let series = Series {
            name: "load".to_owned(),
            columns: vec!["time, s".to_owned(), "lag".to_owned()],
            rows: (0..rows).map(|row| vec![f64::from(row), 0.25]).collect(),
        };
        let mut text = String::new();
        series.table("surge", &mut text);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_short_series_is_shown_whole() {
        let expected = ["", "## surge: load", "", "| time, s | lag |", "|---|---|", "| 0.0 | 0.2 |", "| 1.0 | 0.2 |"];
        assert_eq!(table(2), expected);
        assert_eq!(table(1).len(), 6);
        assert_eq!(table(0).len(), 5);
    }

    #[test]
    fn of_a_long_one_rows_evenly_apart_from_first_to_last() {
        let table = table(1_000);
        assert_eq!(table.len(), 5 + SHOWN);
        assert_eq!((&*table[5], &*table[28]), ("| 0.0 | 0.2 |", "| 999.0 | 0.2 |"));
    }
}
