//! What tells the author of a rule where the mistake is.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use crate::duration;
use crate::error::RuleProblem;
use crate::file::Text;
use crate::position::{Shown, Source};

/// What a checked part of a rule file is, or its first mistake.
pub(crate) type Checked<T> = Result<T, Box<RuleProblem>>;

/// The rule whose parts are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) rule: &'a str,
}

impl Author<'_> {
    /// The mistake in the bytes `span` of the file.
    pub(crate) fn problem(&self, span: Range<usize>, problem: impl Into<String>) -> Box<RuleProblem> {
        self.source.problem(span, Some(self.rule), problem.into(), Shown::Line)
    }

    /// The mistake in the bytes `at` of `text`, or in all of it.
    pub(crate) fn inside(&self, text: &Text, at: Option<Range<usize>>, problem: impl Into<String>) -> Box<RuleProblem> {
        let span = at.map_or(text.span(), |at| self.source.inside(text.span(), &at));
        self.problem(span, problem)
    }

    /// The same in a line that may hold secrets: only the bytes `span` are shown.
    pub(crate) fn mark_only(&self, span: Range<usize>, problem: impl Into<String>) -> Box<RuleProblem> {
        self.source.problem(span, Some(self.rule), problem.into(), Shown::Mark)
    }

    /// The same where the bytes `span` may be a secret: nothing of the file is shown.
    pub(crate) fn hidden(&self, span: Range<usize>, problem: impl Into<String>) -> Box<RuleProblem> {
        self.source.problem(span, Some(self.rule), problem.into(), Shown::Nothing)
    }

    /// Refuses a `what` longer than `limit` bytes.
    pub(crate) fn length(&self, what: &str, text: &Text, limit: usize) -> Checked<()> {
        match text.get_ref().len() {
            length if length <= limit => Ok(()),
            length => Err(self.problem(text.span(), format!("{what} has {length} bytes, the limit is {limit}"))),
        }
    }

    /// A time within `bounds`, or `usual` if there is none.
    pub(crate) fn time(&self, text: Option<&Text>, bounds: (Duration, Duration), usual: Duration) -> Checked<Duration> {
        let Some(text) = text else { return Ok(usual) };
        duration::parse(text.get_ref(), bounds).map_err(|problem| self.problem(text.span(), problem))
    }

    /// A whole number from `least` on.
    pub(crate) fn number(&self, what: &str, number: &Spanned<i64>, (least, most): (i64, i64)) -> Checked<i64> {
        let given = *number.get_ref();
        if (least..=most).contains(&given) {
            return Ok(given);
        }
        let expected = if most == i64::MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
        Err(self.problem(number.span(), format!("{what} is {given}, expected a whole number {expected}")))
    }
}
