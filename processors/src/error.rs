//! Why rules cannot be used.

use std::fmt;
use std::path::PathBuf;

/// Why a rule file cannot be used. Nothing is evaluated by half a file.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The operating system refused the file, or the thread to compile it on: look at the path and its rights.
    #[error("cannot load rules {}: {source}", path.display())]
    System {
        /// The file, or what else the rules came from.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file has a mistake: its author must mend it.
    #[error(transparent)]
    Invalid(Box<RuleProblem>),
}

/// A mistake in a rule file and where it is. Displayed over several lines, with the line of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleProblem {
    /// The file, or what else the rules came from.
    pub origin: String,
    /// The rule, if the mistake is inside one whose id is known.
    pub rule: Option<String>,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in that line, in characters, from 1.
    pub column: usize,
    /// What is wrong, for a person.
    pub problem: String,
    /// The line, or the part of a long line that holds the mistake; empty where the line may hold a secret.
    pub excerpt: String,
    /// Where the mistake is in `excerpt`: characters before it, and its length in characters.
    pub mark: (usize, usize),
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.origin, self.line, self.column)?;
        if let Some(rule) = &self.rule {
            write!(f, "rule `{rule}`: ")?;
        }
        if self.excerpt.is_empty() {
            return f.write_str(&self.problem);
        }
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (before, length) = self.mark;
        write!(f, "{}\n{margin} |\n{number} | {}\n", self.problem, self.excerpt)?;
        write!(f, "{margin} | {}{}", " ".repeat(before), "^".repeat(length.max(1)))
    }
}
