//! A compiled rule file.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use datafusion_sql::sqlparser::tokenizer::Location;
use toml::Spanned;

use crate::error::{RuleError, RuleProblem};
use crate::expression::Predicate;
use crate::file::{RuleEntry, RuleFile, Severity};
use crate::limits;
use crate::position::{self, Source};
use crate::template::Template;

/// The rules of one file, compiled, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

impl RuleSet {
    /// Compiles the rules in `toml`, which came from `origin`: a path, or another name for error messages.
    ///
    /// # Errors
    /// [`RuleError::Invalid`] with the first mistake: not TOML, an unknown key, a duplicate id, an expression
    /// that is not valid or not boolean, an unknown column, function or place, or something over a limit of
    /// [`crate::limits`]. [`RuleError::System`] if there is no thread to compile on.
    pub fn parse(toml: &str, origin: &str) -> Result<Self, RuleError> {
        let compiled = std::thread::scope(|scope| {
            let compiler = std::thread::Builder::new().stack_size(limits::COMPILER_STACK_BYTES);
            let compiler = compiler.spawn_scoped(scope, || parse(Source { origin, text: toml }))?;
            Ok(compiler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        compiled.map_err(|source| RuleError::System { path: origin.into(), source })?.map_err(RuleError::Invalid)
    }

    /// Reads and compiles the file at `path`.
    ///
    /// # Errors
    /// [`RuleError::System`] if it cannot be read as UTF-8 text, else as [`RuleSet::parse`].
    pub fn load(path: &Path) -> Result<Self, RuleError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| RuleError::System { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// No rules: nothing ever fires.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The rules, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    id: String,
    when: String,
    severity: Severity,
    message: String,
    pub(crate) predicate: Predicate,
    pub(crate) template: Template,
}

impl Rule {
    /// Its unique name: 1 to 64 letters, digits, `_`, `-` or `.`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SQL boolean expression, as it was written.
    #[must_use]
    pub fn when(&self) -> &str {
        &self.when
    }

    /// How bad it is when the rule fires.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The text of its alerts, places not filled in.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

type Checked<T> = Result<T, Box<RuleProblem>>;

fn parse(source: Source<'_>) -> Checked<RuleSet> {
    if source.text.len() > limits::FILE_BYTES {
        let problem = format!("file has {} bytes, the limit is {}", source.text.len(), limits::FILE_BYTES);
        return Err(source.problem(0..0, None, problem));
    }
    let file: RuleFile = toml::from_str(source.text)
        .map_err(|error| source.problem(error.span().unwrap_or(0..0), None, error.message().to_owned()))?;
    if file.rule.len() > limits::RULES_PER_FILE {
        let problem = format!("file has {} rules, the limit is {}", file.rule.len(), limits::RULES_PER_FILE);
        return Err(source.problem(0..0, None, problem));
    }
    let mut ids = HashSet::new();
    let mut rules = Vec::with_capacity(file.rule.len());
    for entry in file.rule {
        check_id(source, &entry.id)?;
        if !ids.insert(entry.id.get_ref().clone()) {
            let problem = format!("the rule id `{}` occurs twice", entry.id.get_ref());
            return Err(source.problem(entry.id.span(), None, problem));
        }
        rules.push(compile(source, entry)?);
    }
    Ok(RuleSet { rules })
}

fn check_id(source: Source<'_>, id: &Spanned<String>) -> Checked<()> {
    let text = id.get_ref();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=limits::RULE_ID_BYTES).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(());
    }
    let limit = limits::RULE_ID_BYTES;
    let problem = format!("a rule id has 1 to {limit} letters, digits, `_`, `-` or `.`");
    Err(source.problem(id.span(), None, problem))
}

fn compile(source: Source<'_>, entry: RuleEntry) -> Checked<Rule> {
    let RuleEntry { id, when, severity, message } = entry;
    let id = id.into_inner();
    let predicate = Predicate::compile(when.get_ref()).map_err(|fault| {
        let byte = |at: Location| position::byte_at(when.get_ref(), at.line, at.column);
        let at = fault.at.filter(|at| at.start.line > 0).map(|at| byte(at.start)..byte(at.end));
        source.problem(located(source, &when, at), Some(&id), fault.problem)
    })?;
    let template = Template::parse(message.get_ref())
        .map_err(|(problem, at)| source.problem(located(source, &message, Some(at)), Some(&id), problem))?;
    Ok(Rule { id, when: when.into_inner(), severity, message: message.into_inner(), predicate, template })
}

/// The bytes of the file that hold the bytes `at` of `value`, or all of it.
fn located(source: Source<'_>, value: &Spanned<String>, at: Option<Range<usize>>) -> Range<usize> {
    at.map_or(value.span(), |at| source.inside(value.span(), &at))
}

#[cfg(test)]
mod tests;
