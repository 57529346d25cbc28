//! Files and directories of rules, from text to compiled rules.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_sql::sqlparser::tokenizer::Location;

use crate::author::{Author, Checked};
use crate::error::{RuleError, RuleProblem};
use crate::expression::{OfMessage, OfReading};
use crate::file::{RuleEntry, RuleFile, Text};
use crate::limits;
use crate::names::{self, Fault};
use crate::position::{self, Shown, Source};
use crate::rules::{Condition, Rule};
use crate::steps;
use crate::template::Template;

/// The rules in `toml`, see [`crate::RuleSet::parse`].
pub(crate) fn parse(toml: &str, origin: &str) -> Result<Vec<Rule>, RuleError> {
    let mut rules = Rules::default();
    rules.add(toml, origin)?;
    Ok(rules.all)
}

/// The rules at `path`, see [`crate::RuleSet::load`].
pub(crate) fn load(path: &Path) -> Result<Vec<Rule>, RuleError> {
    let mut rules = Rules::default();
    if path.is_dir() {
        for file in files(path)? {
            rules.add(&read(&file)?, &file.display().to_string())?;
        }
    } else {
        rules.add(&read(path)?, &path.display().to_string())?;
    }
    Ok(rules.all)
}

fn read(path: &Path) -> Result<String, RuleError> {
    let system = |source| RuleError::System { path: path.to_owned(), source };
    // Asked before it is read: somebody may have named a log.
    let length = fs::metadata(path).map_err(system)?.len();
    if length > limits::FILE_BYTES as u64 {
        return Err(RuleError::Invalid(too_long(&path.display().to_string(), length)));
    }
    fs::read_to_string(path).map_err(system)
}

fn too_long(origin: &str, bytes: u64) -> Box<RuleProblem> {
    let problem = format!("file has {bytes} bytes, the limit is {}", limits::FILE_BYTES);
    Source { origin, text: "" }.problem(0..0, None, problem, Shown::Line)
}

/// The rule files of a directory, in order of name.
fn files(directory: &Path) -> Result<Vec<PathBuf>, RuleError> {
    let system = |source| RuleError::System { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(system)? {
        let path = entry.map_err(system)?.path();
        // What editors leave beside a file begins with a full stop.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    if files.len() > limits::FILES {
        let problem = format!("directory has {} rule files, the limit is {}", files.len(), limits::FILES);
        let origin = directory.display().to_string();
        let problem = Source { origin: &origin, text: "" }.problem(0..0, None, problem, Shown::Line);
        return Err(RuleError::Invalid(problem));
    }
    files.sort_unstable();
    Ok(files)
}

/// The rules of all files so far.
#[derive(Default)]
struct Rules {
    all: Vec<Rule>,
    /// Index of the rule of each id.
    by_id: HashMap<String, usize>,
}

impl Rules {
    /// Compiles one more file. Planning recurses over expressions, so it has a stack of its own.
    fn add(&mut self, text: &str, origin: &str) -> Result<(), RuleError> {
        let compiled = std::thread::scope(|scope| {
            let compiler = std::thread::Builder::new().stack_size(limits::COMPILER_STACK_BYTES);
            let compiler = compiler.spawn_scoped(scope, || self.compile(Source { origin, text }))?;
            Ok(compiler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        compiled.map_err(|source| RuleError::System { path: origin.into(), source })?.map_err(RuleError::Invalid)
    }

    fn compile(&mut self, source: Source<'_>) -> Checked<()> {
        if source.text.len() > limits::FILE_BYTES {
            return Err(too_long(source.origin, source.text.len() as u64));
        }
        let file: RuleFile = toml::from_str(source.text).map_err(|error| not_a_rule_file(source, &error))?;
        let count = self.all.len() + file.rule.len();
        if count > limits::RULES {
            let problem = format!("there are {count} rules, the limit is {}", limits::RULES);
            return Err(source.problem(0..0, None, problem, Shown::Line));
        }
        let origin: Arc<str> = source.origin.into();
        for entry in file.rule {
            self.check_id(source, &entry.id)?;
            self.by_id.insert(entry.id.get_ref().clone(), self.all.len());
            self.all.push(rule(source, &origin, &entry)?);
        }
        Ok(())
    }

    fn check_id(&self, source: Source<'_>, id: &Text) -> Checked<()> {
        let text = id.get_ref();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !(1..=limits::RULE_ID_BYTES).contains(&text.len()) || !text.chars().all(allowed) {
            let limit = limits::RULE_ID_BYTES;
            let problem = format!("a rule id has 1 to {limit} letters, digits, `_`, `-` or `.`");
            return Err(source.problem(id.span(), None, problem, Shown::Line));
        }
        let Some(known) = self.by_id.get(text).and_then(|at| self.all.get(*at)) else { return Ok(()) };
        let problem = match known.origin() {
            same if same == source.origin => format!("the rule id `{text}` occurs twice"),
            other => format!("the rule id `{text}` occurs in {other} too"),
        };
        Err(source.problem(id.span(), None, problem, Shown::Line))
    }
}

fn not_a_rule_file(source: Source<'_>, error: &toml::de::Error) -> Box<RuleProblem> {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    if let Some((name, known)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        // Every second piece between backticks is a name.
        let hint = names::suggestion(name, known.split('`').skip(1).step_by(2));
        // The line may hold what belongs to a mistyped `secret`.
        return source.problem(span, None, format!("{message}{hint}"), Shown::Mark);
    }
    if source.may_hold_secret(span.start) {
        // `invalid type: string "..."` shows the value; what was expected comes behind it.
        let expected = message.rfind("expected ").and_then(|at| message.get(at..));
        return source.problem(span, None, expected.unwrap_or("not TOML").to_owned(), Shown::Nothing);
    }
    source.problem(span, None, message.to_owned(), Shown::Line)
}

fn rule(source: Source<'_>, origin: &Arc<str>, entry: &RuleEntry) -> Checked<Rule> {
    let author = Author { source, rule: entry.id.get_ref() };
    let version = match &entry.version {
        Some(version) => author.number("`version`", version, (1, i64::MAX))?,
        None => 1,
    };
    let (when, condition) = condition(author, entry)?;
    let template = Template::parse(entry.message.get_ref())
        .map_err(|(problem, at)| author.inside(&entry.message, Some(at), problem))?;
    let cooldown = entry.cooldown.as_ref();
    let cooldown = cooldown.map(|text| author.time(Some(text), limits::COOLDOWN, limits::COOLDOWN.0)).transpose()?;
    let (plan, plan_json) = steps::plan(author, entry)?;
    Ok(Rule {
        origin: origin.clone(),
        id: entry.id.get_ref().clone(),
        version,
        when,
        severity: entry.severity,
        message: entry.message.get_ref().clone(),
        cooldown,
        plan,
        plan_json,
        condition,
        template,
    })
}

fn condition(author: Author<'_>, entry: &RuleEntry) -> Checked<(String, Condition)> {
    let (text, compiled) = match (&entry.when, &entry.when_message) {
        (Some(when), None) => (when, OfReading::compile(when.get_ref()).map(Condition::Reading)),
        (None, Some(when)) => (when, OfMessage::compile(when.get_ref()).map(Condition::Message)),
        (Some(_), Some(when)) => {
            let problem = "a rule has `when` or `when_message`, not both; write two rules";
            return Err(author.problem(when.span(), problem));
        }
        (None, None) => return Err(author.problem(entry.id.span(), "a rule needs `when` or `when_message`")),
    };
    let condition = compiled.map_err(|fault| expression_problem(author, text, fault))?;
    Ok((text.get_ref().clone(), condition))
}

fn expression_problem(author: Author<'_>, text: &Text, fault: Fault) -> Box<RuleProblem> {
    let byte = |at: Location| position::byte_at(text.get_ref(), at.line, at.column);
    let at = fault.at.filter(|at| at.start.line > 0).map(|at| byte(at.start)..byte(at.end));
    author.inside(text, at, fault.problem)
}
