//! What an expression may mention: columns and functions that exist, one reading or message, a bounded depth.
//!
//! Checked on the syntax tree, because it still knows where in the text each name stands.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectName, Query, Spanned, Visit, Visitor,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use telemetry::schema::reading;

use crate::functions::{self, Known};
use crate::limits;

/// A mistake, and where in the expression it is.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) problem: String,
    pub(crate) at: Option<Span>,
}

impl Fault {
    pub(crate) fn new(problem: impl Into<String>, at: impl Into<Option<Span>>) -> Self {
        Self { problem: problem.into(), at: at.into() }
    }
}

/// Columns of a reading that are those of its message too, as an expression over messages may name them.
pub(crate) const MESSAGE_COLUMNS: [usize; 6] =
    [reading::DEVICE_ID, reading::SITE, reading::TIME, reading::RECEIVED_AT, reading::BOOT, reading::SEQ];

/// Checks every name in an expression over one reading against `columns` and the functions of rules.
pub(crate) fn check_reading(expression: &Expr, columns: &[&str]) -> Result<(), Fault> {
    visit(expression, Checker { columns, sees: "reading", metrics: None, depth: 0 }).map(drop)
}

/// Checks every name in an expression over one message likewise. What is no column is a metric; they are returned in
/// order of name, at least one.
pub(crate) fn check_message(expression: &Expr, columns: &[&str]) -> Result<Vec<String>, Fault> {
    let metrics = visit(expression, Checker { columns, sees: "message", metrics: Some(BTreeSet::new()), depth: 0 })?;
    if metrics.is_empty() {
        return Err(Fault::new("the expression names no metric; a rule over messages needs one", None));
    }
    Ok(metrics.into_iter().collect())
}

fn visit(expression: &Expr, mut checker: Checker<'_>) -> Result<BTreeSet<String>, Fault> {
    match expression.visit(&mut checker) {
        ControlFlow::Continue(()) => Ok(checker.metrics.unwrap_or_default()),
        ControlFlow::Break(fault) => Err(fault),
    }
}

/// `; did you mean ...` for the candidate nearest to `name`, or the empty text if none is near.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let near = |candidate: &'a str| (strsim::damerau_levenshtein(name, candidate), candidate);
    let best = candidates.into_iter().map(near).min_by_key(|(distance, _)| *distance);
    match best {
        // A third of the name mistyped, two letters of a short one.
        Some((distance, nearest)) if distance <= (name.chars().count() / 3).max(2) => {
            format!("; did you mean `{nearest}`?")
        }
        _ => String::new(),
    }
}

struct Checker<'a> {
    columns: &'a [&'a str],
    /// What a rule of this kind sees one of.
    sees: &'static str,
    /// The metrics named so far, if other names than columns are metrics.
    metrics: Option<BTreeSet<String>>,
    depth: usize,
}

impl Visitor for Checker<'_> {
    type Break = Fault;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Fault> {
        let problem = format!("subqueries are refused: a rule sees one {} at a time", self.sees);
        ControlFlow::Break(Fault::new(problem, query.span()))
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Fault> {
        self.depth += 1;
        if self.depth > limits::EXPRESSION_DEPTH {
            return ControlFlow::Break(Fault::new(too_deep(limits::EXPRESSION_DEPTH), None));
        }
        let checked = match expression {
            Expr::Identifier(name) => self.check_name(name),
            Expr::CompoundIdentifier(names) => {
                let quotes =
                    if self.metrics.is_some() { "; a metric of that name stands in double quotes" } else { "" };
                let problem = format!("`{expression}`: columns of a {} have no prefix{quotes}", self.sees);
                Err(Fault::new(problem, names.first().map(|name| name.span)))
            }
            Expr::Function(function) => check_function(function, self.sees),
            _ => Ok(()),
        };
        match checked {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => ControlFlow::Break(fault),
        }
    }

    fn post_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<Fault> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Checker<'_> {
    fn check_name(&mut self, ident: &Ident) -> Result<(), Fault> {
        let name = normal(ident);
        if self.columns.contains(&name.as_str()) {
            return Ok(());
        }
        match &mut self.metrics {
            Some(metrics) => check_metric(metrics, name, ident),
            None => self.unknown_column(&name, ident),
        }
    }

    fn unknown_column(&self, name: &str, ident: &Ident) -> Result<(), Fault> {
        let hint = match (suggestion(name, self.columns.iter().copied()), ident.quote_style) {
            (hint, None) => hint,
            (hint, Some(_)) => format!("{hint} (text is written in single quotes: '{name}')"),
        };
        let known = self.columns.join(", ");
        Err(Fault::new(format!("unknown column `{name}`{hint}; the columns are {known}"), ident.span))
    }
}

/// Names of columns of a reading and its record that are none of a message.
const OF_READINGS: [&str; 6] = ["metric", "value", "value_bool", "value_text", "unit", "row"];

fn check_metric(metrics: &mut BTreeSet<String>, name: String, ident: &Ident) -> Result<(), Fault> {
    if ident.quote_style.is_none() && OF_READINGS.contains(&name.as_str()) {
        let problem = format!(
            "`{name}` is a column of one reading, and this rule is over messages; name the metrics themselves, as in \
             temperature > 80 (a metric called so is written \"{name}\")"
        );
        return Err(Fault::new(problem, ident.span));
    }
    let bytes = telemetry::limits::METRIC_BYTES;
    if name.is_empty() || name.len() > bytes {
        return Err(Fault::new(
            format!("the name of a metric has 1 to {bytes} bytes, this one {}", name.len()),
            ident.span,
        ));
    }
    metrics.insert(name);
    if metrics.len() > limits::METRICS_PER_RULE {
        let problem = format!("the expression names more than {} metrics", limits::METRICS_PER_RULE);
        return Err(Fault::new(problem, ident.span));
    }
    Ok(())
}

fn check_function(function: &Function, sees: &str) -> Result<(), Fault> {
    let Function { name, parameters, args, filter, null_treatment, over, within_group, .. } = function;
    let at = name.span();
    let lower = function_name(name);
    if over.is_some() {
        return Err(Fault::new(format!("window functions are refused: a rule sees one {sees} at a time"), at));
    }
    match functions::all().know(&lower) {
        Known::Function => {}
        Known::Refused => {
            let why = "a rule must give the same on a replay, so it may not depend on clock, chance or version, nor make \
                       text of any length; use the columns `time` or `received_at` for times";
            return Err(Fault::new(format!("function `{lower}` is refused: {why}"), at));
        }
        Known::OverRows => {
            let why = format!("aggregate and window functions are refused: a rule sees one {sees} at a time");
            return Err(Fault::new(format!("function `{lower}`: {why}"), at));
        }
        Known::Nothing => {
            let hint = suggestion(&lower, functions::all().names());
            return Err(Fault::new(format!("unknown function `{lower}`{hint}"), at));
        }
    }
    // The planner passes over these without a word.
    let plain_arguments = match args {
        FunctionArguments::None => true,
        FunctionArguments::Subquery(_) => false,
        FunctionArguments::List(list) => list.duplicate_treatment.is_none() && list.clauses.is_empty(),
    };
    let plain = plain_arguments
        && matches!(parameters, FunctionArguments::None)
        && filter.is_none()
        && null_treatment.is_none()
        && within_group.is_empty();
    if plain { Ok(()) } else { Err(Fault::new(format!("function `{lower}` takes plain arguments only"), at)) }
}

/// The message for an expression nested deeper than `limit`.
pub(crate) fn too_deep(limit: usize) -> String {
    format!("expression is nested too deeply, the limit is {limit} levels; split the rule, or use IN for lists")
}

fn function_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [part] => part.as_ident().map_or_else(|| name.to_string(), normal),
        _ => name.to_string(),
    }
}

/// A name as SQL means it: lower case unless quoted.
pub(crate) fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}
